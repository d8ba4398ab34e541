"""Claims in a folder: who computes which rows, so that others take other rows meanwhile.

All samples that are claimed at once are one record: a record for each would cost as much as its row.
"""

from __future__ import annotations

import os
import platform
import sqlite3
import time
from collections.abc import Collection, Sequence

from skltransfer._engine.cache._memory import LEASE
from skltransfer._engine.cache._unkept import SAMPLE, recipe_of

#: Seconds by which clocks of machines that share a folder may differ; a claim that ends later than any lease is no
#: claim of ours, and nobody waits for it.
SKEW = 60.0
#: Most samples in a record; a longer one is no claim of ours.
MOST = 65_536
#: Claims that ended, that no clock of ours has written, or that hold no samples.
STRANGE = (
    "DELETE FROM claims WHERE typeof(until) != 'real' OR until NOT BETWEEN ? AND ? "
    "OR typeof(samples) != 'blob' OR length(samples) > ?"
)


class Claims:
    """Claims of one connection. Every method is called within a transaction."""

    def __init__(self) -> None:
        #: Ids of claims, to the keys whose rows have not come.
        self._ours: dict[bytes, set[bytes]] = {}

    def enter(self, db: sqlite3.Connection, keys: Sequence[bytes]) -> set[bytes]:
        """Claim those of the keys, all of one recipe, that nobody has claimed, and return them."""
        _drop_dead(db)
        recipe, free = recipe_of(next(iter(keys), b"")), {*keys}
        for name, samples in db.execute("SELECT id, samples FROM claims WHERE recipe = ?", (recipe,)):
            free -= self._ours[name] if name in self._ours else _keys(samples, recipe)
        if free:
            self._ours[name := os.urandom(16)] = free.copy()
            db.execute("INSERT INTO claims VALUES (?, ?, ?, ?, ?)", (name, _owner(), recipe, _samples(free), _until()))
        return free

    def end(self, db: sqlite3.Connection, keys: Collection[bytes], *, come: bool) -> None:
        """End claims: all that a record claims have ended, or the others are told of those that will not come."""
        ending = len(keys)
        for name, left in [*self._ours.items()]:
            if not ending:
                return
            before = len(left)
            left.difference_update(keys)
            ending -= before - len(left)
            if not left:
                del self._ours[name]
                db.execute("DELETE FROM claims WHERE id = ?", (name,))
            elif not come and len(left) < before:
                db.execute("UPDATE claims SET samples = ? WHERE id = ?", (_samples(left), name))

    def renew(self, db: sqlite3.Connection) -> None:
        """Claim what is left for another lease."""
        db.executemany("UPDATE claims SET until = ? WHERE id = ?", [(_until(), name) for name in self._ours])


def _keys(samples: bytes, recipe: bytes) -> set[bytes]:
    return {samples[start : start + SAMPLE] + recipe for start in range(0, len(samples), SAMPLE)}


def _samples(keys: Collection[bytes]) -> bytes:
    return b"".join(key[:SAMPLE] for key in keys)


def _until() -> float:
    return time.time() + LEASE


def _drop_dead(db: sqlite3.Connection) -> None:
    """Drop the claims of processes that ended without a word, or have said nothing for too long."""
    owners = [owner for (owner,) in db.execute("SELECT DISTINCT owner FROM claims")]
    dead = [(owner,) for owner in owners if _is_dead(owner)]
    db.executemany("DELETE FROM claims WHERE owner IS ?", dead)
    now = time.time()
    db.execute(STRANGE, (now, now + LEASE + SKEW, MOST * SAMPLE))


def _owner() -> str:
    """Name this process among those that share a folder."""
    return f"{platform.node()} {os.getpid()}"


def _is_dead(owner: object) -> bool:
    """Return whether a process that ran on this machine has ended; what cannot be known is left to its lease."""
    host, _, number = str(owner).rpartition(" ")
    if os.name != "posix" or host != platform.node():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except (OSError, ValueError, OverflowError):
        return False
    return False
