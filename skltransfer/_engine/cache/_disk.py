"""Rows in a folder.

They lie in one SQLite file (write-ahead log, one transaction a batch), in records of the form of `_record`; a record
that does not hold is a miss and is computed again.
"""

from __future__ import annotations

import contextlib
import os
import platform
import sqlite3
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from skltransfer._engine import process
from skltransfer._engine.cache._memory import LEASE, Row
from skltransfer._engine.cache._record import decode, encode
from skltransfer.errors import CacheWarning, warn

#: Bound of a folder.
DISK_BYTES = 10 * 2**30
#: SQLite takes at most 32,766 values in one statement.
KEYS_PER_QUERY = 1000


class DiskCache:
    """Rows in a folder, shared by processes and sessions; beyond `limit` bytes the oldest go first.

    Parameters
    ----------
    folder : Path
        Made with mode 0700 if it does not exist.
    limit : int
        Bytes.
    """

    FILE = "rows.sqlite"

    def __init__(self, folder: Path, limit: int = DISK_BYTES) -> None:
        self.folder, self.limit = folder, limit
        self._lock = process.lock()
        self._warned = False
        self._db: sqlite3.Connection | None = None
        with self._lock, _Tolerant(self):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._db = sqlite3.connect(folder / self.FILE, timeout=30, check_same_thread=False, isolation_level=None)
            _write_ahead(self._db)
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.execute("CREATE TABLE IF NOT EXISTS rows (id INTEGER PRIMARY KEY, key BLOB UNIQUE, record BLOB)")
            self._db.execute("CREATE TABLE IF NOT EXISTS claims (key BLOB UNIQUE, owner TEXT, until REAL)")

    def close(self) -> None:
        """Close the connection; nothing is found or kept afterwards."""
        with self._lock:
            if self._db is not None:
                self._db.close()
            self._db = None

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Row]:
        """Return the rows that are known and whose checksum holds."""
        known: dict[bytes, Row] = {}
        with self._lock, _Tolerant(self):
            for start in range(0, len(keys) if self._db else 0, KEYS_PER_QUERY):
                part = keys[start : start + KEYS_PER_QUERY]
                query = f"SELECT key, record FROM rows WHERE key IN ({','.join('?' * len(part))})"
                for key, record in self._db.execute(query, part):  # type: ignore[union-attr]
                    if (row := decode(key, record)) is not None:
                        known[key] = row
        return known

    def put(self, rows: Mapping[bytes, Row]) -> None:
        """Keep rows, and end their claims: all of them or, if the process dies half-way, none."""
        if not rows:
            return
        records = [(key, encode(key, row)) for key, row in rows.items()]
        with self._lock, _Tolerant(self), self._transaction() as db:
            db.executemany("INSERT OR REPLACE INTO rows (key, record) VALUES (?, ?)", records)
            db.executemany("DELETE FROM claims WHERE key = ?", [(key,) for key in rows])
            db.execute("UPDATE claims SET until = ? WHERE owner = ?", (time.time() + LEASE, _owner()))
            self._shrink()

    def claim(self, keys: Sequence[bytes]) -> set[bytes]:
        """Return those of the keys that no other thread or process is computing."""
        with self._lock, _Tolerant(self), self._transaction() as db:
            self._drop_dead_claims(db)
            insert = "INSERT OR IGNORE INTO claims (key, owner, until) VALUES (?, ?, ?)"
            until, owner = time.time() + LEASE, _owner()
            return {key for key in keys if db.execute(insert, (key, owner, until)).rowcount}
        return set(keys)  # a cache that cannot be used keeps nobody waiting

    def release(self, keys: Collection[bytes]) -> None:
        """End claims whose rows will not come."""
        if keys:
            with self._lock, _Tolerant(self), self._transaction() as db:
                db.executemany("DELETE FROM claims WHERE key = ?", [(key,) for key in keys])

    @staticmethod
    def _drop_dead_claims(db: sqlite3.Connection) -> None:
        """Drop the claims of processes that ended without a word, or have said nothing for too long."""
        owners = [owner for (owner,) in db.execute("SELECT DISTINCT owner FROM claims")]
        dead = [(owner,) for owner in owners if _is_dead(owner)]
        db.executemany("DELETE FROM claims WHERE owner = ?", dead)
        db.execute("DELETE FROM claims WHERE until < ?", (time.time(),))

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Do all or nothing."""
        if self._db is None:
            raise sqlite3.OperationalError("it could not be opened")
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield self._db
            self._db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):  # where SQLite has rolled back by itself
                self._db.execute("ROLLBACK")
            raise

    def _shrink(self) -> None:
        """Drop the oldest tenth for as long as the file is larger than its limit."""
        oldest = "SELECT id FROM rows ORDER BY id LIMIT (SELECT 1 + count(*) / 10 FROM rows)"
        dropped = 1
        while dropped and self._used() > self.limit:
            dropped = self._db.execute(f"DELETE FROM rows WHERE id IN ({oldest})").rowcount  # type: ignore[union-attr]

    def _used(self) -> int:
        pages, free, size = (
            self._db.execute(f"PRAGMA {name}").fetchone()[0]  # type: ignore[union-attr]
            for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)


def _write_ahead(db: sqlite3.Connection, patience: float = 30.0) -> None:
    """Switch to the write-ahead log; try again for `patience` seconds where another process is doing the same.

    SQLite's own time-out does not wait here: two connections that both read the header and both want to write it
    would wait for each other, so it refuses one of them at once (https://sqlite.org/c3ref/busy_handler.html).
    """
    until = time.monotonic() + patience
    while True:
        try:
            db.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as err:
            if err.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)


def _owner() -> str:
    """Name this process among those that share a folder."""
    return f"{platform.node()} {os.getpid()}"


def _is_dead(owner: str) -> bool:
    """Return whether a process that ran on this machine has ended; what cannot be known is left to its lease."""
    host, _, process = owner.rpartition(" ")
    if os.name != "posix" or host != platform.node():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except (OSError, ValueError):
        return False
    return False


class _Tolerant:
    """Turns whatever the disk or SQLite refuse into one warning; the run then goes on without the cache."""

    def __init__(self, cache: DiskCache) -> None:
        self.cache = cache

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, trace: object) -> bool:
        if not isinstance(err, (sqlite3.Error, OSError)):
            return False
        if not self.cache._warned:
            self.cache._warned = True
            warn(
                f"The cache in {str(self.cache.folder)!r} cannot be used ({err}); rows are computed and not kept.",
                CacheWarning,
            )
        return True
