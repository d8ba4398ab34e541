"""One session per process, recipe and device: opened once, shared by all threads, the least used dropped first.

The table belongs to the process because an ONNX Runtime session can be neither pickled nor copied, and scikit-learn
does both to estimators all the time. With the sessions here, the pickle of an estimator is about 1 kB and a clone
costs microseconds.

A forked child must not use an inherited session, and must not drop it either: its destructor waits for threads that the
child does not have. So a child starts with an empty table, and keeps a reference to the old one.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from skltransfer._engine.runtime._device import Device
from skltransfer._engine.runtime._session import Session

#: Sessions kept open; the least recently used is dropped first.
MAX_SESSIONS = 8

_sessions: OrderedDict[tuple[str, str], Session] = OrderedDict()
_opening: dict[tuple[str, str], threading.Lock] = {}
_lock = threading.Lock()
_inherited: list[Any] = []


def session(key: str, device: Device, open_session: Callable[[], Session]) -> Session:
    """Return the session of a recipe on a device, opening it if this process has none.

    Parameters
    ----------
    key : str
        `Recipe.key`.
    device : Device
        Where it runs.
    open_session : callable
        Called only if needed, by one thread at a time.
    """
    name = (key, str(device))
    with _lock:
        if name in _sessions:
            _sessions.move_to_end(name)
            return _sessions[name]
        opening = _opening.setdefault(name, threading.Lock())
    with opening:
        with _lock:
            if name in _sessions:
                return _sessions[name]
        opened = open_session()
        with _lock:
            _sessions[name] = opened
            _opening.pop(name, None)
            while len(_sessions) > MAX_SESSIONS:
                _sessions.popitem(last=False)
        return opened


def clear() -> None:
    """Drop every session of this process; the memory of one is freed when its last run has ended."""
    with _lock:
        _sessions.clear()


def open_sessions() -> dict[tuple[str, str], Session]:
    """Return the open sessions by recipe key and device, the most recently used last."""
    with _lock:
        return dict(_sessions)


def _forget_after_fork() -> None:
    """Start a forked child with empty tables; the old ones stay referenced for ever."""
    global _sessions, _opening, _lock
    _inherited.append((_sessions, _opening, _lock))
    _sessions, _opening, _lock = OrderedDict(), {}, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
