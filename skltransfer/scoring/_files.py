"""Files of a source: found by path, pattern, folder or address, opened, and the state by which a change shows."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from skltransfer._engine import listing, process
from skltransfer.errors import FolderError, need, shorten


@dataclass(frozen=True)
class File:
    """A file, and what shows that it changed.

    Attributes
    ----------
    path : str
        Path or address.
    size : int
        Bytes.
    version : str
        Modification time in nanoseconds; of an address its ETag or what else its store says.
    """

    path: str
    size: int
    version: str


def is_address(name: str) -> bool:
    """Return whether a name is opened by fsspec."""
    return "://" in name


def find(source: str, suffixes: Sequence[str]) -> list[File]:
    """Find the files of a source, sorted by name.

    Parameters
    ----------
    source : str
        A file, a folder, a pattern such as ``shards/*.tar``, or an address of one of them.
    suffixes : sequence of str
        How files in a folder end that are wanted.

    Raises
    ------
    FolderError
        If there is none.
    """
    found = _find_remote(source) if is_address(source) else _find_local(source)
    if len(found) == 1 and os.path.basename(found[0].path) == os.path.basename(source):
        return found
    wanted = [file for file in found if file.path.lower().endswith(tuple(suffixes))]
    if not wanted:
        raise FolderError(f"{shorten(repr(source))} holds no file that ends in {', '.join(suffixes)}.")
    return wanted


def _find_local(source: str) -> list[File]:
    path = os.path.abspath(process.expand(source))  # workers stand elsewhere
    if os.path.isdir(path):
        return [_state(name) for name in listing.list_files(path)]
    if os.path.isfile(path):
        return [_state(path)]
    names = sorted(name for name in glob.glob(path, recursive=True) if os.path.isfile(name))
    if not names:
        raise FolderError(f"{shorten(repr(source))} is no file, no folder, and no pattern that matches files.")
    return [_state(name) for name in names]


def _state(path: str) -> File:
    status = os.stat(path)
    return File(path, status.st_size, str(status.st_mtime_ns))


#: What stores call that which changes with a file, the surest first.
VERSIONS = ("ETag", "etag", "md5Hash", "checksum", "LastModified", "mtime", "last_modified", "created")


def _find_remote(source: str) -> list[File]:
    fs, path = need("fsspec.core", extra="remote").url_to_fs(source)
    protocol = source.partition("://")[0]
    try:
        list_files = fs.glob if any(sign in path for sign in "*?[") else fs.find
        found = list_files(path, detail=True)
    except OSError as err:
        raise FolderError(f"{shorten(repr(source))} cannot be listed ({shorten(str(err))}).") from err
    if not found:
        raise FolderError(f"{shorten(repr(source))} is no file, no folder, and no pattern that matches files.")
    return [
        File(_address(protocol, name), int(info.get("size") or 0), _version(info))
        for name, info in sorted(found.items())
        if info.get("type") != "directory"
    ]


def _address(protocol: str, name: str) -> str:
    return name if is_address(name) else f"{protocol}://{name}"


def _version(info: dict[str, Any]) -> str:
    return next((str(info[name]) for name in VERSIONS if info.get(name)), "")


def open_binary(path: str) -> BinaryIO:
    """Open a file or an address for reading."""
    if is_address(path):
        opened: BinaryIO = need("fsspec", extra="remote").open(path, "rb").open()
        return opened
    return open(path, "rb")
