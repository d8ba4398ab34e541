"""Rows that a full cache did not keep: counted, and warned of once per recipe, at the end of a call."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable

from skltransfer.errors import CacheWarning, warn

#: Bytes of a key that are the sample's; the rest names the recipe.
SAMPLE = 16


def recipe_of(key: bytes) -> bytes:
    """Return the part of a key that names the recipe."""
    return key[SAMPLE:]


class Unkept:
    """Counts rows that were not kept, by recipe; the cache's lock is held whenever it is changed."""

    def __init__(self) -> None:
        self._rows: Counter[bytes] = Counter()
        self._bytes: Counter[bytes] = Counter()
        self._said: set[bytes] = set()

    def add(self, recipe: bytes, size: int, rows: int = 1) -> None:
        """Count rows of so many bytes together."""
        self._rows[recipe] += rows
        self._bytes[recipe] += size

    def take(self, other: Unkept) -> None:
        """Add the counts of another."""
        self._rows += other._rows
        self._bytes += other._bytes

    def say(self, recipe: bytes, computed: int, reason: Callable[[int], str]) -> None:
        """Warn about a recipe, unless that was done before, and forget its counts.

        While an error is on its way to the user nothing is said.

        Parameters
        ----------
        recipe : bytes
            Of the call that ends.
        computed : int
            Rows it has computed.
        reason : callable
            Is given the bytes that were not kept; returns what is full and what to type.
        """
        rows, size = self._rows.pop(recipe, 0), self._bytes.pop(recipe, 0)
        if not rows or recipe in self._said or sys.exc_info()[0] is not None:
            return
        self._said.add(recipe)
        warn(
            f"{rows:,} of {max(rows, computed):,} new rows were not kept: {reason(size)} The others stay, and every "
            "further pass over these samples computes the missing rows again.",
            CacheWarning,
        )


def in_words(size: int) -> str:
    """Return a number of bytes as settings take it, rounded up: ``"512MiB"``, ``"3GiB"``."""
    for unit, length in (("GiB", 2**30), ("MiB", 2**20)):
        if size > 4 * length or (unit == "MiB" and size >= 2**16):
            return f"{-(-size // length)}{unit}"
    return f"{size}B"
