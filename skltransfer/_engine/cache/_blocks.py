"""Rows in blocks: one array, or one piece of a spill file, for many rows of one recipe, shape and type.

The place of a row is one number, so that a row costs a key, a number and its share of a block, not an object.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from skltransfer._engine.cache._spill import SpillFile
from skltransfer._engine.cache._unkept import SAMPLE

Row = npt.NDArray[Any]

#: Bits of a place that count the slot within its block; the others are the block's number.
BITS = 16
SLOT = 2**BITS - 1
#: Bytes of a block. Larger ones are written to a file no faster.
BLOCK_BYTES = 2**20
#: Rows of the first block of a recipe; each one after it has twice as many, up to `BLOCK_BYTES`.
FIRST_ROWS = 16


class Block:
    """Rows of one shape and type, in memory first.

    Parameters
    ----------
    number : int
        Its own.
    like : ndarray
        Has the shape and type of the rows.
    capacity : int
        Rows it takes, at most `SLOT`.

    Attributes
    ----------
    count : int
        Rows it has.
    rows : ndarray or None
        The rows for readers, who cannot write to it; None once they are in a file.
    file : SpillFile or None
        Where they are then.
    """

    __slots__ = ("_dtype", "_samples", "_shape", "_space", "_start", "count", "file", "number", "rows")

    def __init__(self, number: int, like: Row, capacity: int) -> None:
        self.number = number
        self.count = 0
        #: What of each key is the sample's. A list of keys the garbage collector would walk through.
        self._samples = bytearray()
        self._shape, self._dtype = like.shape, like.dtype
        self._space: Row | None = np.empty((capacity, *like.shape), like.dtype)
        self.rows: Row | None = self._space.view()
        self.rows.flags.writeable = False
        self.file: SpillFile | None = None
        self._start = 0

    @property
    def row_bytes(self) -> int:
        """Bytes of a row."""
        return math.prod(self._shape) * self._dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of the rows it has; room that is not used yet is not resident."""
        return self.count * self.row_bytes

    @property
    def full(self) -> bool:
        """Whether no row can be added."""
        return self._space is None or self.count == len(self._space)

    def add(self, key: bytes, row: Row) -> int:
        """Copy a row, and return its place."""
        assert self._space is not None
        slot = self.count
        self._space[slot] = row
        self._samples += key[:SAMPLE]
        self.count += 1
        return self.number << BITS | slot

    def keys(self, recipe: bytes) -> Iterator[bytes]:
        """Yield the keys of the rows, which are of that recipe."""
        for start in range(0, len(self._samples), SAMPLE):
            yield bytes(self._samples[start : start + SAMPLE]) + recipe

    def spill(self, file: SpillFile) -> None:
        """Move the rows to a file.

        Raises
        ------
        OSError
            If they cannot be written; they stay in memory.
        """
        assert self._space is not None
        self._start = file.append(memoryview(self._space[: self.count].tobytes()))
        self.file, self._space, self.rows = file, None, None

    def read(self, slot: int, count: int) -> Row | None:
        """Read consecutive rows of the file; None if it cannot be read."""
        assert self.file is not None
        length = count * self.row_bytes
        try:
            data = self.file.read(self._start + slot * self.row_bytes, length)
        except OSError:
            return None
        return np.frombuffer(data, self._dtype).reshape(count, *self._shape) if len(data) == length else None


class Shelf:
    """The blocks of one recipe, in memory and in files, each in the order in which they came there."""

    def __init__(self) -> None:
        self.memory: dict[int, Block] = {}
        self.spilled: dict[int, Block] = {}
        self._file: SpillFile | None = None
        #: Shape and type to the block that takes the next row.
        self._open: dict[tuple[tuple[int, ...], np.dtype[Any]], Block] = {}

    def block_for(self, row: Row, number: int) -> Block:
        """Return the block that takes a row; a new one has the given number.

        Raises
        ------
        MemoryError
            If there is none for a new one.
        """
        kind = row.shape, row.dtype
        block = self._open.get(kind)
        if block is None or block.full or block.number not in self.memory:
            begun = FIRST_ROWS if block is None else 2 * block.count
            most = min(SLOT, BLOCK_BYTES // max(1, row.nbytes))
            block = self._open[kind] = self.memory[number] = Block(number, row, max(1, min(begun, most)))
        return block

    def oldest(self) -> Block | None:
        """Return the oldest block in memory that has rows."""
        return next((block for block in self.memory.values() if block.count), None)

    def spill(self, block: Block) -> None:
        """Move a block to a file.

        Raises
        ------
        OSError
            If it cannot be written; it stays in memory.
        """
        if self._file is None or not self._file.takes(block.nbytes):
            self._file = SpillFile()
        block.spill(self._file)
        self.spilled[block.number] = self.memory.pop(block.number)

    def pop_newest(self) -> list[Block]:
        """Remove what is to be evicted next: the newest block in memory, else all blocks of the newest file."""
        if self.memory:
            return [self.memory.popitem()[1]]
        if not self.spilled:
            return []
        self._file = next(reversed(self.spilled.values())).file
        evicted = [block for block in self.spilled.values() if block.file is self._file]
        self._file = None
        for block in evicted:
            del self.spilled[block.number]
        return evicted
