"""Registered locks, tables and memos: one hook after a fork, one reset."""

from __future__ import annotations

import functools
import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeVar

K = TypeVar("K")
V = TypeVar("V")
F = TypeVar("F", bound=Callable[..., Any])

_locks: weakref.WeakSet[Any] = weakref.WeakSet()
_tables: weakref.WeakSet[Table[Any, Any]] = weakref.WeakSet()
_memos: list[Any] = []
#: Other objects, with methods ``before_fork`` (not all), ``after_fork`` and ``reset``.
_others: weakref.WeakSet[Any] = weakref.WeakSet()
#: Memos that a forked child starts anew.
_forgetful: list[Any] = []
#: Values of the parent that a forked child must neither use nor drop: their destructors wait for threads it lacks.
_inherited: list[Any] = []


def lock() -> threading.Lock:
    """Return a lock that is open in the child of a fork, whoever held it in the parent."""
    made = threading.Lock()
    _locks.add(made)
    return made


class Table(OrderedDict[K, V]):
    """A table of the process, the entry used last at its end; `get_recent` and `keep` may be called by any thread.

    Parameters
    ----------
    most : int, optional
        Entries kept; beyond, the one unused for longest goes.
    survives_fork : bool
        Whether a forked child keeps the entries. If not, they stay referenced there and are never used.
    close : callable, optional
        Called with each value by `reset`.
    """

    def __init__(
        self, most: int | None = None, *, survives_fork: bool = True, close: Callable[[V], object] | None = None
    ) -> None:
        super().__init__()
        self.most, self.survives_fork, self.close = most, survives_fork, close
        self.lock = lock()
        _tables.add(self)

    __hash__ = object.__hash__  # type: ignore[assignment]  # by identity, for the registry

    def get_recent(self, key: K) -> V | None:
        """Return a value and mark it as used, or None."""
        with self.lock:
            if key in self:
                self.move_to_end(key)
            return self.get(key)

    def keep(self, key: K, value: V) -> None:
        """Add a value; drop those unused for longest beyond `most`."""
        with self.lock:
            self[key] = value
            self.move_to_end(key)
            while self.most is not None and len(self) > self.most:
                self.popitem(last=False)

    def forget(self) -> None:
        """Close and drop every value."""
        with self.lock:
            for value in self.values() if self.close else ():
                self.close(value)  # type: ignore[misc]  # `close` is a function of the caller, no method
            self.clear()


def memo(most: int | None = 64, *, survives_fork: bool = True) -> Callable[[F], F]:
    """Return a decorator like ``functools.lru_cache`` whose results `reset` forgets.

    Parameters
    ----------
    most : int or None
        Results kept.
    survives_fork : bool
        Whether a forked child keeps them.
    """

    def decorate(function: F) -> F:
        cached = functools.lru_cache(most)(function)
        _memos.append(cached)
        if not survives_fork:
            _forgetful.append(cached)
        return cached  # type: ignore[return-value]  # called as the function is, and more

    return decorate


def register(owner: Any) -> None:
    """Add an object whose methods ``after_fork`` and ``reset`` are called then; it is not kept alive.

    If it has a method ``before_fork``, that is called in the parent.
    """
    _others.add(owner)


def is_registered(value: object) -> bool:
    """Return whether a lock, table or memo belongs to the registry."""
    return any(value is one for group in (_locks, _tables, _memos, _others) for one in group)


def reset() -> None:
    """Close every session and forget what this process keeps: cached rows in memory, digests, cards, tokenizers.

    Rows in folders stay. Estimators go on working; the next call opens the backbone again.

    Examples
    --------
    >>> import skltransfer
    >>> skltransfer.reset()
    """
    for table in list(_tables):
        table.forget()
    for owner in list(_others):
        owner.reset()
    for cached in _memos:
        cached.cache_clear()


def _before_fork() -> None:
    """In the parent: finish what the child could not."""
    for owner in list(_others):
        if hasattr(owner, "before_fork"):
            owner.before_fork()


def _after_fork() -> None:
    """In a child: open every lock, set aside what cannot be shared."""
    for one in list(_locks):
        one._at_fork_reinit()  # as the standard library does for its own locks (concurrent/futures/thread.py)
    for table in list(_tables):
        if not table.survives_fork:
            _inherited.append(list(table.values()))
            table.clear()
    for owner in list(_others):
        owner.after_fork()
    for cached in _forgetful:
        cached.cache_clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_child=_after_fork)
