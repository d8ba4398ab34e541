"""Objects that hold or name the content of a file, as libraries hand them out; a row of `KINDS` for each kind."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from skltransfer._engine import process
from skltransfer._engine.sources._content import Content, read_open
from skltransfer._engine.sources._file import read_file
from skltransfer._engine.sources._remote import SECONDS
from skltransfer.errors import Unreadable, shorten

#: One of these, by its identity, is held while an open file is read: the same one may be several samples.
_reading = tuple(process.lock() for _ in range(64))


class Kind(NamedTuple):
    """One kind of objects that hold a file.

    Attributes
    ----------
    matches : callable
        Takes an object; returns whether it is of the kind.
    read : callable
        Takes such an object; returns its `Content`.
    name : callable
        Takes such an object; returns what it is called, or None.
    """

    matches: Callable[[Any], bool]
    read: Callable[[Any], Content]
    name: Callable[[Any], Any]


def read_held(sample: Any) -> Content | None:
    """Read the file that an object holds or names.

    Parameters
    ----------
    sample : object
        A dictionary with ``bytes`` or ``path``, as ``datasets`` of Hugging Face has them; an open binary file; an
        upload with ``file`` or ``stream``; a ``zipfile.Path``; a path of universal_pathlib; an ``OpenFile`` of fsspec.

    Returns
    -------
    Content or None
        None if it is none of these.

    Raises
    ------
    Unreadable
        If it is, and cannot be read.
    """
    kind = _kind(sample)
    if kind is None:
        return None
    try:
        return kind.read(sample)
    except Unreadable:
        raise
    except Exception as err:  # libraries of strangers
        raise Unreadable(f"cannot be read ({type(err).__name__}: {shorten(str(err))})") from err


def name_of(sample: Any) -> str | None:
    """Return what a file that an object holds is called; None if nothing says so."""
    kind = _kind(sample)
    name = kind.name(sample) if kind else None
    return name if isinstance(name, str) and name else None


def _kind(sample: Any) -> Kind | None:
    return next((kind for kind in KINDS if kind.matches(sample)), None)


# ---------------------------------------------------------------------------------------------------------------------


def _is_dictionary(sample: Any) -> bool:
    """Return whether an object is ``{"bytes": ..., "path": ...}``, or one of the two."""
    return isinstance(sample, Mapping) and 0 < len(sample) <= 2 and set(sample) <= {"bytes", "path"}


def _read_dictionary(sample: Mapping[str, Any]) -> Content:
    data, path = sample.get("bytes"), sample.get("path")
    if isinstance(data, (bytes, bytearray, memoryview)):
        return Content(bytes(data), name=path if isinstance(path, str) else None)
    if data is not None:
        raise Unreadable(f"its 'bytes' are {type(data).__name__}, not bytes")
    if path is None or path != path:  # NaN of pandas
        raise Unreadable("the sample is missing: neither its 'bytes' nor its 'path' is set")
    if not isinstance(path, (str, os.PathLike)):
        raise Unreadable(f"its 'path' is {type(path).__name__}, not a str")
    return read_file(path)


def _attribute(sample: Any, name: str) -> Any:
    """Return an attribute, or None: a property of an upload without a file may raise anything."""
    try:
        return getattr(sample, name, None)
    except Exception:  # noqa: BLE001 - strangers' code
        return None


def _has(*methods: str) -> Callable[[Any], bool]:
    """Return a check whether objects have methods; a class has them too and is no object of its kind."""
    return lambda sample: not isinstance(sample, type) and all(callable(_attribute(sample, name)) for name in methods)


def _uploaded(sample: Any) -> Any:
    """Return the file in an upload of Starlette, Django or Werkzeug, or of a named temporary file; else None."""
    inner = (_attribute(sample, name) for name in ("file", "stream"))
    return next((file for file in inner if _has("read", "seek")(file)), None)


def _read_upload(sample: Any) -> Content:
    return _read_open_file(_uploaded(sample))._replace(name=_file_name(sample))


def _file_name(sample: Any) -> str | None:
    """Return the name of a file or an upload; that of one opened by its descriptor is a number, and none."""
    names = (_attribute(sample, name) for name in ("filename", "name"))
    return next((name for name in names if isinstance(name, str)), None)


def _read_open_file(file: Any) -> Content:
    """Read an open file from its beginning, and leave it where it was: it may be read in another fold again."""
    with _reading[id(file) // 16 % len(_reading)]:
        if getattr(file, "closed", False):
            raise Unreadable("is a file that is closed; give its path or its bytes")
        if isinstance(file, io.TextIOBase):
            raise Unreadable("is a file opened as text; open it with mode 'rb'")
        _refuse_endless(file)
        place = file.tell()
        try:
            file.seek(0)
            return Content(read_open(file), name=_file_name(file))
        finally:
            file.seek(place)


def _refuse_endless(file: Any) -> None:
    """Refuse what can be read once only, or might never end: pipes, sockets, answers of servers."""
    if not _has("seek", "tell")(file) or (_has("seekable")(file) and file.seekable() is False):
        raise Unreadable("is a stream that can be read once only; give its bytes: stream.read()")
    if not isinstance(file, (io.BufferedIOBase, io.RawIOBase)):  # a spooled file goes to disk where it is asked
        return
    try:
        status = os.fstat(file.fileno())
    except (OSError, ValueError):  # in memory
        return
    if not stat.S_ISREG(status.st_mode):
        raise Unreadable("is not a regular file")


def _read_path(sample: Any) -> Content:
    """Read a path of another file system, or of an archive."""
    with sample.open("rb") as file:
        return Content(read_open(file, SECONDS), name=str(sample))


def _read_unopened(sample: Any) -> Content:
    with sample as file:
        return Content(read_open(file, SECONDS), name=sample.path)


def _is_unopened(sample: Any) -> bool:
    """Return whether an object is an ``OpenFile`` of fsspec, which opens when it is entered."""
    return type(sample).__name__ == "OpenFile" and _has("__enter__", "open")(sample)


#: From the plainest; the first that matches reads.
KINDS = (
    Kind(lambda sample: isinstance(sample, (str, os.PathLike)), read_file, os.fsdecode),
    Kind(_is_dictionary, _read_dictionary, lambda sample: sample.get("path")),
    Kind(lambda sample: _uploaded(sample) is not None, _read_upload, _file_name),
    Kind(_has("read"), _read_open_file, _file_name),
    Kind(_is_unopened, _read_unopened, lambda sample: sample.path),
    Kind(_has("open", "read_bytes"), _read_path, str),
)
