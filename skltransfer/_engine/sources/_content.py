"""`Content`, the bytes of one file and where they came from; reading them within limits of size and time."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from skltransfer._engine import process
from skltransfer.errors import Unreadable

#: A longer file is no photograph.
MAX_BYTES = 256 * 2**20
#: Bytes that are asked for at a time, so that a slow source is noticed.
PART = 2**20


class Content(NamedTuple):
    """Content of one file.

    Attributes
    ----------
    data : bytes
        All of it.
    path : str or None
        Path or address where it can be read again.
    state : FileState or None
        State of that file when it was read; None unless it lies on this machine.
    name : str or None
        What to call it in a message where it has no path.
    """

    data: bytes
    path: str | None = None
    state: process.FileState | None = None
    name: str | None = None


def too_long(size: str) -> Unreadable:
    """Return the refusal of a file that is too long."""
    return Unreadable(f"has {size} bytes, more than the {MAX_BYTES:,} an image may have")


def read_open(file: Any, seconds: float | None = None) -> bytes:
    """Read an open binary file from where it is to its end.

    Parameters
    ----------
    file : object
        Has ``read(size)``.
    seconds : float, optional
        Time after which nothing more is asked for.

    Raises
    ------
    Unreadable
        If it is opened as text, too long or too slow.
    """
    parts, size, start = [], 0, time.monotonic()
    while part := file.read(PART):
        if not isinstance(part, bytes):
            kind = "text" if isinstance(part, str) else type(part).__name__
            raise Unreadable(f"its read() returns {kind}, not bytes; open it with mode 'rb'")
        parts.append(part)
        size += len(part)
        if size > MAX_BYTES:
            raise too_long(f"at least {size:,}")
        if seconds is not None and time.monotonic() - start > seconds:
            raise Unreadable(f"takes longer to read than {seconds:.0f} s; copy it to this machine first")
    return b"".join(parts)
