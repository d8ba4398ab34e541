"""The tags of a TIFF file, read without a decoder."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

WIDTH, HEIGHT, BITS, COMPRESSION, SAMPLES = 256, 257, 258, 259, 277
#: Places and lengths of the strips or of the tiles.
OFFSETS, COUNTS = (273, 324), (279, 325)
#: Bytes of a value by its type, and the letter that `struct` has for whole numbers.
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}
_LETTERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q"}


class Directory:
    """Tags of the first picture of a TIFF file.

    Parameters
    ----------
    data : bytes
        The file.

    Attributes
    ----------
    data : bytes
        The file.
    tags : dict of int to (int, int, int)
        Type, number of values and their place, of the tags that the caller has put here from `entries`.
    """

    def __init__(self, data: bytes) -> None:
        self.data, self._order = data, "<" if data[:2] == b"II" else ">"
        self.tags: dict[int, tuple[int, int, int]] = {}

    def entries(self) -> Iterator[tuple[int, int, int, int]]:
        """Yield tag, type, number of values and their place, for each entry.

        Raises
        ------
        struct.error
            If the file ends before.
        """
        data, order = self.data, self._order
        big = data[2:4] in (b"+\0", b"\0+")
        entry, number, inside = ("HHQQ", "Q", 8) if big else ("HHII", "H", 4)
        (at,) = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
        (entries,) = struct.unpack_from(order + number, data, at)
        at += struct.calcsize(order + number)
        size = struct.calcsize(order + entry)
        for start in range(at, at + entries * size, size):
            tag, kind, count, place = struct.unpack_from(order + entry, data, start)
            fits = count * SIZES.get(kind, 1) <= inside
            yield tag, kind, count, start + (12 if big else 8) if fits else place

    def values(self, tag: int, default: int = 0) -> tuple[int, ...]:
        """Return the whole numbers of a tag."""
        if tag not in self.tags:
            return (default,)
        kind, count, place = self.tags[tag]
        return struct.unpack_from(f"{self._order}{count}{_LETTERS.get(kind, 'B')}", self.data, place)

    def value(self, tag: int, default: int = 0) -> int:
        """Return the first number of a tag."""
        return self.values(tag, default)[0]

    def first(self, tags: Sequence[int]) -> tuple[int, ...]:
        """Return the whole numbers of the first of several tags that the file has."""
        return next((self.values(tag) for tag in tags if tag in self.tags), ())
