"""One session per process, recipe and device: opened once, shared by all threads, the least used dropped first.

The table belongs to the process because an ONNX Runtime session can be neither pickled nor copied, and scikit-learn
does both to estimators all the time. With the sessions here, the pickle of an estimator is about 1 kB and a clone
costs microseconds.

A forked child must not use an inherited session, and must not drop it either: its destructor waits for threads that the
child does not have. So a child starts with an empty table, and keeps a reference to the old one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from skltransfer._engine import process
from skltransfer._engine.runtime._device import Device
from skltransfer._engine.runtime._session import Session

#: Part of the memory this process may use that open sessions may take; beyond it the least recently used are dropped.
#: A quarter leaves room for rows, samples and what is fitted on them.
SHARE = 4

_sessions: process.Table[tuple[str, str], Session] = process.Table(survives_fork=False)
#: Held while a session is opened: threads that want the same wait, those that want another do not.
_opening: process.Table[tuple[str, str], threading.Lock] = process.Table(survives_fork=False)


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
    if (found := _sessions.get_recent(name)) is not None:
        return found
    with _opening.lock:
        opening = _opening.setdefault(name, threading.Lock())
    with opening:
        if (found := _sessions.get_recent(name)) is not None:
            return found
        opened = open_session()
        _sessions.keep(name, opened)
        _opening.pop(name, None)
        _drop_unused(process.memory_limit() // SHARE)
        return opened


def _drop_unused(most: int) -> None:
    """Drop sessions, the least recently used first, while all take more than so many bytes; the last one stays."""
    with _sessions.lock:
        total = sum(session.bytes for session in _sessions.values())
        while total > most and len(_sessions) > 1:
            _, dropped = _sessions.popitem(last=False)
            total -= dropped.bytes


def clear() -> None:
    """Drop every session of this process; the memory of one is freed when its last run has ended."""
    _sessions.forget()


def open_sessions() -> dict[tuple[str, str], Session]:
    """Return the open sessions by recipe key and device, the most recently used last."""
    with _sessions.lock:
        return dict(_sessions)


def rows_run(key: str, device: Device) -> int | None:
    """Return the number of rows a session has run, or None if there is none open."""
    found = _sessions.get((key, str(device)))
    return None if found is None else found.rows_run
