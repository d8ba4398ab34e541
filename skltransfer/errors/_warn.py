"""Warnings that point at the user's line, in whatever thread they come up."""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

#: Packages whose frames are not the user's: this one, and those that call it.
NOT_THE_USER = ("skltransfer", "sklearn", "joblib", "importlib")


def warn(message: str | Warning, category: type[Warning] = UserWarning) -> None:
    """Issue a warning that points at the user's line: the nearest one outside `NOT_THE_USER`.

    Parameters
    ----------
    message : str or Warning
        The message; a Warning has its own category.
    category : type of Warning
        One of this module, or FutureWarning for a deprecated name.
    """
    if (later := getattr(_of_this_thread, "deferred", None)) is not None:
        later.append((message, category))
        return
    level, frame = 2, sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in NOT_THE_USER:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


_of_this_thread = threading.local()


@contextmanager
def deferring(warned: list[tuple[str | Warning, type[Warning]]]) -> Iterator[None]:
    """Collect the arguments of this thread's calls of `warn`: a worker has no line of the user above it."""
    _of_this_thread.deferred = warned
    try:
        yield
    finally:
        del _of_this_thread.deferred
