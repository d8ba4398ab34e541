"""Rows that a folder cannot have, and that are not looked up there: that takes as long as a third of writing them."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence

from skltransfer._engine.cache._unkept import recipe_of

#: Seconds for which nothing new is assumed of other processes.
FRESH = 0.5
#: Keys that are remembered: those of a window of texts, many times.
MOST = 65_536


class Missing:
    """Keys whose rows nobody can have put. The cache's lock is held whenever it is used.

    They were looked up and not found, or this process has not put them and their recipe was new to the folder. Both
    hold until another process changes the folder, as far as the last claim saw; and what was missing when this process
    claimed it nobody else computes.
    """

    def __init__(self) -> None:
        self._absent: set[bytes] = set()
        self._ours: set[bytes] = set()
        #: Recipes that were new, and what was put of them.
        self._put: dict[bytes, set[bytes]] = {}
        self._version: object = None
        self._checked = -FRESH

    def possible(self, keys: Sequence[bytes]) -> Sequence[bytes]:
        """Return those of the keys, all of one recipe, whose rows may be there."""
        fresh = time.monotonic() - self._checked < FRESH
        if fresh and keys and (put := self._put.get(recipe_of(keys[0]))) is not None:
            return [key for key in keys if key in put]
        rest = [key for key in keys if key not in self._ours] if self._ours else keys
        return [key for key in rest if key not in self._absent] if fresh and self._absent else rest

    def note_absent(self, keys: Sequence[bytes]) -> None:
        """Note keys that were not found."""
        if len(self._absent) > MOST:
            self._absent.clear()
        self._absent.update(keys)

    def note_new(self, recipe: bytes) -> None:
        """Note that there is no row of a recipe."""
        self._put[recipe] = set()

    def note_put(self, keys: Collection[bytes], recipe: bytes) -> None:
        """Note that rows of a recipe were put."""
        if (put := self._put.get(recipe)) is not None:
            put.update(keys)
            if len(put) > MOST:
                del self._put[recipe]
        before = len(self._ours)
        self._ours.difference_update(keys)
        if self._absent and before - len(self._ours) < len(keys):  # others' rows, or such as nobody claimed
            self._absent.difference_update(keys)

    def note_claims(self, keys: set[bytes], version: object) -> None:
        """Note what this process has claimed, and a version that changes whenever others change the folder."""
        if version != self._version:
            self._version = version
            self._absent.clear()
            self._put.clear()
        self._checked = time.monotonic()
        if claimed := keys & self._absent:
            self._ours |= claimed
            self._absent -= claimed

    def note_release(self, keys: Collection[bytes]) -> None:
        """Note claims that ended without a row: others may put it now."""
        self._ours.difference_update(keys)
