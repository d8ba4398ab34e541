"""Where a job writes: a folder or a bucket, in which a name is either whole or absent.

In a folder a file is written under a temporary name, flushed, and renamed; stores of objects do that by themselves.
"""

from __future__ import annotations

import os
import platform
import re
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from skltransfer._engine import process
from skltransfer.errors import JobError, UnfinishedError, need, shorten
from skltransfer.scoring._files import is_address

#: A temporary file: its name, the machine and the process that wrote it.
TEMPORARY = re.compile(r"\.(?P<name>.+)\.(?P<host>[^.]*)\.(?P<pid>\d+)\.[0-9a-f]{8}\.tmp")


class Sink(Protocol):
    """A place with names.

    Attributes
    ----------
    path : str
        As the user gave it.
    """

    path: str

    def write(self, name: str, data: bytes) -> None:
        """Write a file, whole or not at all, replacing one of that name."""

    def touch(self, name: str) -> None:
        """Create an empty file, which needs not survive a loss of power."""

    def exists(self, name: str) -> bool:
        """Return whether there is such a file."""

    def read(self, name: str) -> bytes:
        """Read a file; FileNotFoundError if there is none."""

    def names(self, folder: str = "") -> set[str]:
        """Return the names of the files and folders in the sink or in a folder of it."""

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""

    def clear(self) -> None:
        """Remove temporary files of processes of this machine that are no more."""

    def local(self, folder: str) -> Path | None:
        """Return the path of a folder of it, if it is on a file system."""


def open_sink(path: str | os.PathLike[str]) -> Sink:
    """Return the sink of a path or an address."""
    name = os.fspath(path)
    return RemoteSink(name) if is_address(name) else LocalSink(os.fspath(process.expand(name)))


class LocalSink:
    """A folder.

    Parameters
    ----------
    path : str
        Its path; it is created where something is written first.
    """

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)
        if os.path.exists(self.path) and not os.path.isdir(self.path):
            raise JobError(f"{shorten(repr(self.path))} is a file; parts are written to a folder: name another.")

    def write(self, name: str, data: bytes) -> None:
        """Write a temporary file, flush it to disk, rename it, and flush the folder."""
        try:
            self._replace(os.path.join(self.path, name), data)
        except OSError as err:
            raise _cannot_write(name, self.path, err.strerror or str(err)) from err

    def _replace(self, target: str, data: bytes) -> None:
        folder, last = os.path.split(target)
        os.makedirs(folder, exist_ok=True)
        temporary = os.path.join(folder, f".{last}.{_host()}.{os.getpid()}.{uuid.uuid4().hex[:8]}.tmp")
        try:
            with open(temporary, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
        _flush_folder(folder)

    def touch(self, name: str) -> None:
        """Create an empty file, without waiting for the disk."""
        path = os.path.join(self.path, name)
        try:
            try:
                os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
            except FileNotFoundError:
                os.makedirs(os.path.dirname(path), exist_ok=True)
                os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
        except OSError as err:
            raise _cannot_write(name, self.path, err.strerror or str(err)) from err

    def exists(self, name: str) -> bool:
        """Return whether there is such a file."""
        return os.path.exists(os.path.join(self.path, name))

    def read(self, name: str) -> bytes:
        """Read a file."""
        return Path(self.path, name).read_bytes()

    def names(self, folder: str = "") -> set[str]:
        """Return names, temporary ones left out."""
        try:
            found = os.listdir(os.path.join(self.path, folder))
        except FileNotFoundError:
            return set()
        return {name for name in found if not TEMPORARY.fullmatch(name)}

    def remove(self, name: str) -> None:
        """Remove a file."""
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(self.path, name))

    def clear(self) -> None:
        """Remove what dead processes of this machine left; another driver may be writing its own."""
        for folder, _, names in os.walk(self.path):
            for name in names:
                found = TEMPORARY.fullmatch(name)
                if found and found["host"] == _host() and not _lives(int(found["pid"])):
                    with suppress(FileNotFoundError):
                        os.unlink(os.path.join(folder, name))

    def local(self, folder: str) -> Path:
        """Return the path of a folder."""
        return Path(self.path, folder)


def _cannot_write(name: str, path: str, reason: str) -> UnfinishedError:
    return UnfinishedError(
        f"{name} cannot be written to {shorten(repr(path))} ({shorten(reason)}). What is there is whole; make room or "
        "allow it, and run the same again to go on."
    )


def _host() -> str:
    return re.sub(r"[^\w-]", "-", platform.node())


def _lives(pid: int) -> bool:
    """Return whether there is such a process; where it cannot be asked without ending it, there is."""
    if os.name == "nt":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


def _flush_folder(folder: str) -> None:
    """Write the names of a folder to disk, where the system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class RemoteSink:
    """A prefix of a store that fsspec opens; an object is there when all of it was sent.

    Parameters
    ----------
    path : str
        Its address.
    """

    def __init__(self, path: str) -> None:
        self.path = path.rstrip("/")
        self._fs: Any
        self._fs, self._root = need("fsspec.core", extra="remote").url_to_fs(self.path)

    def write(self, name: str, data: bytes) -> None:
        """Send an object."""
        try:
            self._fs.makedirs(os.path.dirname(f"{self._root}/{name}"), exist_ok=True)
            self._fs.pipe_file(f"{self._root}/{name}", data)
        except Exception as err:  # each store has its own
            raise _cannot_write(name, self.path, f"{type(err).__name__}: {err}") from err

    def touch(self, name: str) -> None:
        """Send an empty object."""
        self.write(name, b"")

    def exists(self, name: str) -> bool:
        """Return whether there is such an object."""
        self._fs.invalidate_cache()
        return bool(self._fs.exists(f"{self._root}/{name}"))

    def read(self, name: str) -> bytes:
        """Fetch an object."""
        return bytes(self._fs.cat_file(f"{self._root}/{name}"))

    def names(self, folder: str = "") -> set[str]:
        """Return names."""
        place = f"{self._root}/{folder}".rstrip("/")
        self._fs.invalidate_cache()
        try:
            found = self._fs.ls(place, detail=False)
        except FileNotFoundError:
            return set()
        return {str(name).rstrip("/").rpartition("/")[2] for name in found}

    def remove(self, name: str) -> None:
        """Remove an object."""
        with suppress(FileNotFoundError):
            self._fs.rm_file(f"{self._root}/{name}")

    def clear(self) -> None:
        """Do nothing: there are no temporary names."""

    def local(self, folder: str) -> None:
        """Return None."""
