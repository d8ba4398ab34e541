"""Room in a full folder: which rows go for those of the running call.

First rows of other recipes, the oldest first; then those of the same recipe that an older session left and this one has
not found to be of use. Rows of this session stay: a scan larger than the folder finds the same part of its rows again.
"""

from __future__ import annotations

import sqlite3
import time
from collections import Counter

from skltransfer._engine import process
from skltransfer._engine.cache._unkept import SAMPLE

#: Part of the rows that may go which goes at a time, so that not every batch has to look for them.
TENTH = 10
#: Seconds for which a folder in which nothing was found that may go is not searched again.
REST = 60.0
#: The index of keys is read, which is a thirtieth of the rows.
ALL = "SELECT id, substr(CAST(key AS BLOB), ?) = ? FROM rows INDEXED BY sqlite_autoindex_rows_1"


class Session:
    """Rows of a folder that this process found there when it opened it, and which of them it has used since."""

    def __init__(self) -> None:
        self._place: object = None
        self._last = 0
        self._used = bytearray()
        self._rests_until: dict[bytes, float] = {}
        #: Rows found, by recipe, that are not yet counted in the folder.
        self._hits: Counter[bytes] = Counter()
        self._lock = process.lock()

    def begin(self, db: sqlite3.Connection, place: object) -> None:
        """Note which rows are older than this session, when the database at a place is first opened."""
        if place != self._place:
            self._place = place
            self._last = int(db.execute("SELECT max(id) FROM rows").fetchone()[0] or 0)
            # Ids are dense. A number that a stranger put there must not fill the memory: what is beyond is not noted.
            self._used = bytearray(min(self._last, 2**28) // 8 + 1)

    def note(self, number: int) -> None:
        """Note that a row was of use."""
        if 0 <= number >> 3 < len(self._used):
            self._used[number >> 3] |= 1 << (number & 7)

    def found(self, recipe: bytes, rows: int) -> None:
        """Count rows of a recipe that were found."""
        with self._lock:
            self._hits[recipe] += rows

    def take_hits(self) -> Counter[bytes]:
        """Return the counts of rows that were found, and begin anew."""
        with self._lock:
            hits, self._hits = self._hits, Counter()
            return hits

    def rests(self, recipe: bytes) -> bool:
        """Return whether it is known that no row may go for those of a recipe."""
        return time.monotonic() < self._rests_until.get(recipe, 0.0)

    def drop(self, db: sqlite3.Connection, recipe: bytes) -> int:
        """Drop a tenth of the rows that may go for those of a recipe; return how many went."""
        if self.rests(recipe):
            return 0
        others, older = [], []
        for number, same in db.execute(ALL, (SAMPLE + 1, recipe)):
            if not same:
                others.append(number)
            elif number <= self._last and not self._is_used(number):
                older.append(number)
        free = sorted(others) + sorted(older)
        if not free:
            self._rests_until[recipe] = time.monotonic() + REST
            return 0
        db.executemany("DELETE FROM rows WHERE id = ?", [(number,) for number in free[: 1 + len(free) // TENTH]])
        return 1 + len(free) // TENTH

    def _is_used(self, number: int) -> bool:
        return 0 <= number >> 3 < len(self._used) and bool(self._used[number >> 3] >> (number & 7) & 1)
