"""Files of this machine, by path or by a string that stands for one: ``~/a.jpg``, ``file:///photos/a.jpg``."""

from __future__ import annotations

import os
import re
import stat

from skltransfer._engine import process
from skltransfer._engine.sources import _addresses, _remote
from skltransfer._engine.sources._content import MAX_BYTES, Content, too_long
from skltransfer.errors import Unreadable, shorten

#: An address of this machine; the rest is percent-encoded.
_FILE_URL = re.compile(r"file:(?://(?:localhost)?)?(/(?!/).*)", re.IGNORECASE | re.DOTALL)


def read_file(path: str | bytes | os.PathLike[str] | os.PathLike[bytes]) -> Content:
    """Read a regular file; a FIFO or a device could block for ever.

    A string that names no file is looked at a second time: it may begin with ``~``, be an address, or no name at all.

    Parameters
    ----------
    path : path
        Of the file; or, as str, an address.

    Raises
    ------
    Unreadable
        With what the string is, and what to do with it.
    """
    path = os.fspath(path)
    try:
        return _read(path)
    except ValueError as err:  # a NUL in the name
        raise Unreadable(f"not a file name ({err})") from err
    except OSError as err:
        named = os.fsdecode(path)
        if (local := _local(named)) is not None:
            return _read_named(local)
        if _remote.opens(named):
            return Content(_remote.fetch(named), named)
        raise Unreadable(_addresses.describe(named) or f"cannot be opened ({err.strerror})") from err


def _read_named(path: str) -> Content:
    """Read a file by the path that another string stands for."""
    try:
        return _read(path)
    except FileNotFoundError as err:
        raise Unreadable(f"stands for {shorten(repr(path))}, where there is no file") from err
    except OSError as err:
        raise Unreadable(f"stands for {shorten(repr(path))}, which cannot be opened ({err.strerror})") from err


def _local(name: str) -> str | None:
    """Return the path that ``~`` or an address of this machine stands for; None if it is neither."""
    if name.startswith("~") and (home := os.path.expanduser(name)) != name:
        return home
    if (url := _FILE_URL.fullmatch(name)) is None:
        return None
    encoded = re.sub(rb"%([0-9a-fA-F]{2})", lambda digits: bytes.fromhex(digits[1].decode()), os.fsencode(url[1]))
    if b"\0" in encoded:
        return None
    path = os.fsdecode(encoded)
    return path[1:] if os.name == "nt" else path  # /C:/photos


def _read(path: str | bytes) -> Content:
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        status = os.fstat(descriptor)
        _check_status(status)
        with os.fdopen(descriptor, "rb", buffering=0, closefd=False) as file:
            return Content(file.readall(), os.fsdecode(path), process.FileState.of(status))
    except OSError as err:
        raise Unreadable(f"cannot be read ({err.strerror})") from err
    finally:
        os.close(descriptor)


def _check_status(status: os.stat_result) -> None:
    """Refuse folders, devices and files that are too long."""
    if stat.S_ISDIR(status.st_mode):
        raise Unreadable("is a folder; give its files, such as sorted(Path(folder).glob('*.jpg'))")
    if not stat.S_ISREG(status.st_mode):
        raise Unreadable("is not a regular file")
    if status.st_size > MAX_BYTES:
        raise too_long(f"{status.st_size:,}")
