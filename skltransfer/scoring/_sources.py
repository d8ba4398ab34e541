"""The table of sources: which kind of file, folder or object is read by which class."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from skltransfer._engine import listing, process
from skltransfer.errors import FolderError, need, shorten
from skltransfer.scoring._archives import Folder, Tar, Zip
from skltransfer.scoring._files import File, find, is_address
from skltransfer.scoring._lines import Csv, Json, Texts
from skltransfer.scoring._source import Selection, Source
from skltransfer.scoring._tables import Arrow, Memory, Objects, Parquet


class Kind(NamedTuple):
    """A kind of file: how its name ends, and what reads it."""

    suffixes: tuple[str, ...]
    read: type[Source]


KINDS = (
    Kind((".parquet", ".pq"), Parquet),
    Kind((".arrow", ".feather", ".ipc"), Arrow),
    Kind((".csv", ".tsv", ".tab"), Csv),
    Kind((".jsonl", ".ndjson"), Json),
    Kind((".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz"), Tar),
    Kind((".zip",), Zip),
    Kind((".txt", ".lst"), Texts),
)
SUFFIXES = tuple(suffix for kind in KINDS for suffix in kind.suffixes)


def open_source(source: Any) -> Source:
    """Return what reads a source.

    Parameters
    ----------
    source : path, address, table, list or array
        A file, a pattern or a folder: of such files, or of images. Or rows in memory.

    Raises
    ------
    FolderError
        If it holds nothing that can be read.
    TypeError
        If it is none of these.
    """
    if isinstance(source, (str, os.PathLike)):
        return _of_files(os.fspath(source))
    return _of_memory(source)


def _of_files(name: str) -> Source:
    files = find(name, (*SUFFIXES, *listing.SUFFIXES))
    images = [file for file in files if file.path.lower().endswith(listing.SUFFIXES)]
    if images and not _is_table(files):
        folder = name if is_address(name) else os.path.abspath(process.expand(name))
        return Folder(images, _common(images) if _has_pattern(folder) or folder == images[0].path else folder)
    for kind in KINDS:
        if chosen := [file for file in files if file.path.lower().endswith(kind.suffixes)]:
            return kind.read(chosen)
    raise FolderError(f"{shorten(repr(name))} is of no known kind; known are {', '.join(SUFFIXES)}, and folders.")


def _is_table(files: list[File]) -> bool:
    """Return whether a folder is one of tables or archives beside which pictures lie: all but few files are."""
    return sum(file.path.lower().endswith(SUFFIXES) for file in files) > len(files) / 2


def _has_pattern(name: str) -> bool:
    return any(sign in name for sign in "*?[") and not os.path.exists(name)


def _common(files: list[File]) -> str:
    return os.path.commonpath([os.path.dirname(file.path) for file in files])


def _of_memory(data: Any) -> Source:
    if isinstance(data, np.ndarray):
        return Objects(data) if data.dtype.kind not in "OUS" or data.ndim != 1 else Objects(data.tolist())
    if isinstance(data, (list, tuple)):
        return Objects(list(data))
    pa = need("pyarrow", extra="score")
    if isinstance(data, pa.Table):
        return Memory(data)
    if hasattr(data, "to_arrow"):  # polars
        found = data.to_arrow()
        return Memory(found) if isinstance(found, pa.Table) else Objects(data.to_list())
    if hasattr(data, "iloc"):
        return _of_pandas(data, pa)
    raise TypeError(
        f"The source is a {type(data).__name__}; give a path, a pattern, an address, a frame, a list or an array."
    )


def _of_pandas(data: Any, pa: Any) -> Source:
    if not hasattr(data, "columns"):
        return Objects(data.tolist())
    try:
        return Memory(pa.Table.from_pandas(data, preserve_index=False))
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        if data.shape[1] == 1:
            return Objects(data.iloc[:, 0].tolist())
        return Objects(data)


def restored(facts: Mapping[str, Any], files: list[File], memory: Any) -> Source:
    """Return the source of a manifest, as a worker reads it.

    Parameters
    ----------
    facts : mapping
        The manifest.
    files : list of File
        The listing of the job.
    memory : callable
        Returns the table that was in the driver's memory.
    """
    kind, read = facts["source"]["kind"], dict(facts["read"])
    folder, column = read.pop("folder"), read.pop("column")
    classes: dict[str, type[Source]] = {one.read.kind: one.read for one in KINDS} | {Folder.kind: Folder}
    source = classes[kind](files, folder) if kind in classes else Memory(memory(), bare=column is None)
    source.selection = Selection(tuple(column) if isinstance(column, list) else column, **read)
    return source
