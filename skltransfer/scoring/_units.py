"""Units of work: ranges of rows, each of which becomes one part; data only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

#: Rows read, and handed to the line, at a time: what of a unit lies in memory before it is embedded.
BLOCK = 256


@dataclass(frozen=True)
class Unit:
    """A range of rows of one file.

    Attributes
    ----------
    number : int
        Position among the units.
    file : int
        Position of the file in the listing; 0 where the listing itself is the source.
    first, rows : int
        First row in the file, and how many.
    start : int
        First row, counted over all files.
    begin, end : int
        Bytes of the file that hold the rows, where that is known.
    """

    number: int
    file: int
    first: int
    rows: int
    start: int
    begin: int = 0
    end: int = 0


class Block(NamedTuple):
    """Consecutive rows that were read: what they are called, and what the pipeline is given."""

    ids: list[Any]
    X: Any


def numbered(units: Iterable[Unit]) -> list[Unit]:
    """Set the numbers and the starts of units that are in order."""
    found, start = [], 0
    for number, unit in enumerate(units):
        found.append(replace(unit, number=number, start=start))
        start += unit.rows
    return found


def cut(file: int, groups: Iterable[int], size: int) -> Iterator[Unit]:
    """Cut groups of rows of a file into units: small groups come together, none but a large one is divided.

    Parameters
    ----------
    file : int
        Position in the listing.
    groups : iterable of int
        Rows of each group.
    size : int
        Most rows of a unit.
    """
    first = held = 0
    for rows in groups:
        if held and held + rows > size:
            yield Unit(0, file, first, held, 0)
            first, held = first + held, 0
        held += rows
        while held >= size:
            yield Unit(0, file, first, size, 0)
            first, held = first + size, held - size
    if held:
        yield Unit(0, file, first, held, 0)


def sliced(blocks: Iterable[Block], first: int, last: int) -> Iterator[Block]:
    """Yield the rows from `first` to before `last`, counted from the first block."""
    place = 0
    for ids, X in blocks:
        begin, end = max(first - place, 0), min(last - place, len(ids))
        if begin < end:
            yield Block(ids[begin:end], X.iloc[begin:end] if hasattr(X, "iloc") else X[begin:end])
        place += len(ids)
