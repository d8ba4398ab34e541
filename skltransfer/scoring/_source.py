"""`Source`: rows in order, cut into units; one kind is a class, and `_sources` has the table of them."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from skltransfer._engine import process
from skltransfer.errors import TableError, nearest, shorten
from skltransfer.scoring._files import File, is_address
from skltransfer.scoring._units import Block, Unit


@dataclass(frozen=True)
class Selection:
    """Part of a row that the pipeline is given.

    Attributes
    ----------
    column : str, tuple of str or None
        A column of samples, several for a frame, or None where rows have no columns.
    id : str or None
        Column that names the rows; None: their numbers, or the names of files.
    root : str or None
        Folder of relative paths; None where strings are no paths.
    """

    column: str | tuple[str, ...] | None = None
    id: str | None = None
    root: str | None = None

    @property
    def columns(self) -> list[str]:
        """Columns that have to be read."""
        chosen = [self.column] if isinstance(self.column, str) else list(self.column or ())
        return list(dict.fromkeys(chosen + ([self.id] if self.id is not None else [])))

    def located(self, samples: list[Any]) -> list[Any]:
        """Return samples with relative paths joined to the folder they start from."""
        if self.root is None:
            return samples
        root = self.root
        return [_joined(root, one) if isinstance(one, str) else one for one in samples]


def _joined(root: str, name: str) -> str:
    """Join a path to a folder; addresses, absolute paths and those from home stay, and so does an empty one."""
    if not name or is_address(name) or name.startswith("~"):
        return name
    return f"{root.rstrip('/')}/{name}" if is_address(root) else os.path.join(root, name)


class Source(ABC):
    """Rows in order.

    Parameters
    ----------
    files : list of File
        Where they lie; empty for data in memory.
    folder : str
        Where the files of a folder lie, whose rows are called by their paths from there.

    Attributes
    ----------
    selection : Selection
        What is wanted of each row; set before rows are read.
    """

    #: Name of the kind, for the manifest.
    kind: ClassVar[str]

    def __init__(self, files: Sequence[File] = (), folder: str = "") -> None:
        self.files, self.folder = list(files), folder
        self.selection = Selection()

    def columns(self) -> list[str] | None:
        """Return the names of the columns; None where rows are samples."""
        return None

    def home(self) -> str:
        """Return the folder from which relative paths start, unless the user names another."""
        return os.path.dirname(self.files[0].path) if self.files else ""

    @abstractmethod
    def units(self, size: int) -> list[Unit]:
        """Cut the rows into units of at most so many."""

    @abstractmethod
    def blocks(self, unit: Unit) -> Iterator[Block]:
        """Read the rows of a unit."""

    def digest(self) -> str:
        """Return what shows that data in memory changed; files have states."""
        return ""

    def row_ids(self, first: int, count: int) -> list[Any]:
        """Return the numbers of rows."""
        return list(range(first, first + count))


def select(
    source: Source, column: Any, id: str | None, root: str | os.PathLike[str] | None, *, frames: bool, paths: bool,
    expected: Sequence[str] | None = None,
) -> Selection:  # fmt: skip
    """Choose what the pipeline is given.

    Parameters
    ----------
    source : Source
        The rows.
    column, id, root
        As the user gave them.
    frames : bool
        Whether the pipeline may take several columns.
    paths : bool
        Whether strings are paths.
    expected : sequence of str, optional
        Columns the pipeline was fitted with.

    Raises
    ------
    TableError
        If there is no such column, or it is not known which one is meant.
    """
    start = (os.fspath(process.expand(root)) if root is not None else source.home()) if paths else None
    there = source.columns()
    if there is None:
        if id is not None:
            raise TableError(f"id={id!r} names a column, and the rows of this source have none; leave it out.")
        return Selection(column if column is None or isinstance(column, str) else tuple(column), None, start)
    chosen = _chosen(there, column, id, frames, expected)
    selection = Selection(chosen, id, start)
    for name in selection.columns:
        if name not in there:
            shown = shorten(", ".join(map(repr, there)))
            raise TableError(f"The source has no column {name!r}; it has {shown}.{nearest(name, there)}")
    return selection


def _chosen(
    there: list[str], column: Any, id: str | None, frames: bool, expected: Sequence[str] | None
) -> str | tuple[str, ...]:
    if column is not None:
        return column if isinstance(column, str) else tuple(column)
    rest = [name for name in there if name != id]
    if frames:
        return tuple(expected) if expected is not None and set(expected) <= set(there) else tuple(rest)
    if len(rest) != 1:
        shown = shorten(", ".join(map(repr, rest)))
        raise TableError(f"The source has {len(rest)} columns: {shown}. Name that of the samples: column=...")
    return rest[0]
