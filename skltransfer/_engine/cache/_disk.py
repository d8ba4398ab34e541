"""Rows in a folder.

They lie in one SQLite file (one transaction a batch), in records of the form of `_record`; a record that does not hold
is a miss and is computed again. `_folder` opens it.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TypeVar

from skltransfer._engine import process
from skltransfer._engine.cache import _folder, _limits
from skltransfer._engine.cache._blocks import Row
from skltransfer._engine.cache._claims import Claims
from skltransfer._engine.cache._record import decode, encode
from skltransfer._engine.cache._room import Session
from skltransfer._engine.cache._unkept import Unkept, in_words, recipe_of
from skltransfer.errors import CacheError, CacheWarning, warn

T = TypeVar("T")

#: SQLite takes at most 32,766 values in one statement.
KEYS_PER_QUERY = 1000
#: Seconds a folder is left alone after it could not be opened or was locked: each try may wait for `PATIENCE`.
REST = 60.0
#: Errors of a disk, of SQLite (whose messages quote damaged files, whatever bytes these hold) and of `_folder`.
REFUSALS = (sqlite3.Error, OSError, CacheError, MemoryError, UnicodeDecodeError)
#: Rows put in one statement, between two looks at how large the file has become. Python's lock is taken after every
#: statement, and the workers hold it, too.
SLICE = 128


class DiskCache:
    """Rows in a folder, shared by processes and sessions; beyond `limit` bytes others go first, see `_room`.

    Whatever the disk, SQLite or `_folder` refuse is one warning; the run then goes on without the cache. A database
    that another process removed or replaced is opened, or made, again.

    Parameters
    ----------
    folder : Path
        Made with mode 0700 if it does not exist.
    limit : int, optional
        Bytes; default: as set.
    session : Session, optional
        Shared by connections of one process to the folder.
    say : callable, optional
        Called with a message and a category instead of `warn`.
    """

    FILE = _folder.FILE
    claims_ahead = 0

    def __init__(
        self,
        folder: Path,
        limit: int | None = None,
        session: Session | None = None,
        say: Callable[[str, type[Warning]], object] = warn,
    ) -> None:
        self.folder, self.limit = folder, limit
        self._session, self._say = session or Session(), say
        self._unkept, self._claims = Unkept(), Claims()
        #: Changes with the file, and with every transaction of other connections than this, as far as `claim` has seen.
        self.version: object = None
        self._lock = process.lock()
        self._warned = self._closed = False
        self._rests_until = 0.0
        self._db: sqlite3.Connection | None = None
        self._place: _folder.Place | None = None
        self._schema = 0
        self._use(lambda db: None, None)

    def close(self) -> None:
        """Close the connection; nothing is found or kept afterwards."""
        with self._lock:
            self._disconnect()
            self._closed = True

    def __del__(self) -> None:
        """Close the connection, or Python warns of it, from 3.13 on."""
        if (db := self.__dict__.get("_db")) is not None:
            db.close()

    @property
    def rests(self) -> bool:
        """Whether the folder is left alone: nothing is found, whatever it holds."""
        return self._closed or time.monotonic() < self._rests_until

    def holds(self, recipe: bytes) -> bool:
        """Return whether there may be rows of a recipe; so it is where the folder cannot be read."""
        return self._use(lambda db: _was_put(db, recipe), otherwise=True)

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Row]:
        """Return the rows that are known and whose checksum holds."""
        known: dict[bytes, Row] = {}

        def look_up(db: sqlite3.Connection) -> None:
            if not keys or not _was_put(db, recipe_of(keys[0])):
                return
            for start in range(0, len(keys), KEYS_PER_QUERY):
                part = keys[start : start + KEYS_PER_QUERY]
                query = f"SELECT id, key, record FROM rows WHERE key IN ({_marks(part)})"
                for number, key, record in db.execute(query, part):
                    if (row := decode(key, record)) is not None:
                        known[key] = row
                        self._session.note(number)

        self._use(look_up, None)
        if known:
            self._session.found(recipe_of(next(iter(known))), len(known))
        return known

    def put(self, rows: Mapping[bytes, Row]) -> None:
        """Keep rows, and end their claims: all of them or, if the process dies half-way, none."""
        if rows:
            self.write(recipe_of(next(iter(rows))), {key: encode(key, row) for key, row in rows.items()})

    def write(self, recipe: bytes, records: Mapping[bytes, bytes]) -> None:
        """Keep records of rows of a recipe, as `put` does."""
        limit = _limits.folder() if self.limit is None else self.limit
        items = [*records.items()]

        def insert(db: sqlite3.Connection) -> Unkept:
            unkept = Unkept()
            with self._transaction(db):
                for start in range(0, len(items), SLICE):
                    self._insert(db, recipe, items[start : start + SLICE], limit, unkept)
                self._claims.end(db, records.keys(), come=True)
                self._claims.renew(db)
                self._count(db, {recipe: len(records)})
            return unkept

        self._unkept.take(self._use(insert, Unkept()))

    def claim(self, keys: Sequence[bytes]) -> set[bytes]:
        """Return those of the keys that no other thread or process is computing."""

        def enter(db: sqlite3.Connection) -> set[bytes]:
            with self._transaction(db):
                free = self._claims.enter(db, keys)
                self.version = self._place, db.execute("PRAGMA data_version").fetchone()
                return free

        return self._use(enter, set(keys))  # a cache that cannot be used keeps nobody waiting

    def release(self, keys: Collection[bytes]) -> None:
        """End claims whose rows will not come."""

        def end(db: sqlite3.Connection) -> None:
            with self._transaction(db):
                self._claims.end(db, keys, come=False)

        if keys:
            self._use(end, None)

    def count(self) -> None:
        """Add the rows that were found to the counts of the folder."""

        def add(db: sqlite3.Connection) -> None:
            with self._transaction(db):
                self._count(db, {})

        self._use(add, None)

    def end_call(self, recipe: bytes, computed: int) -> None:
        """Warn if rows of a recipe could not be kept, once."""
        self._unkept.say(recipe, computed, self._why_full)

    def _why_full(self, missing: int) -> str:
        """Return what is full and what to type, for rows of so many bytes that were not kept."""
        limit = _limits.folder() if self.limit is None else self.limit
        # A page of the database that a row does not fill stays empty.
        return (
            f"the folder {str(self.folder)!r} has reached its {in_words(limit)}, and all rows in it are of this "
            f"session. To keep them all, type skltransfer.set_config(cache_folder={in_words(limit + 2 * missing)!r})."
        )

    # -----------------------------------------------------------------------------------------------------------------
    # The connection

    def _use(self, action: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        """Run an action on the database; where it cannot be, warn once and return `otherwise`."""
        with self._lock:
            if self.rests:
                return otherwise
            for again in (True, False):
                try:
                    return action(self._connected())
                except REFUSALS as err:
                    if not (again and self._is_moved()):
                        self._give_up(err)
                        return otherwise
        return otherwise

    def _connected(self) -> sqlite3.Connection:
        """Return the connection, opened anew if the database is another file by now, or has a write-ahead log."""
        if self._db is None or self._is_moved() or _folder.is_mapped(self._db):
            self._disconnect()
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._db = _folder.open_database(self.folder, new=True)
            self._place = _folder.place(self.folder)
            self._schema = _schema_version(self._db)
            self._session.begin(self._db, self._place)
        return self._db

    def _disconnect(self) -> None:
        if self._db is not None:
            _folder.close_database(self._db, is_there=not self._is_moved())
        self._db = None

    def _is_moved(self) -> bool:
        """Return whether the database was removed or replaced: rows put into the old one would be lost."""
        return self._db is not None and _folder.place(self.folder) != self._place

    def _give_up(self, err: BaseException) -> None:
        """Warn once; leave a folder alone for a while if it was locked or could not be opened."""
        if self._db is None or getattr(err, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
            self._rests_until = time.monotonic() + REST
        if not self._warned:
            self._warned = True
            self._say(
                f"The cache in {str(self.folder)!r} cannot be used ({err}); rows are computed and not kept.",
                CacheWarning,
            )

    @contextlib.contextmanager
    def _transaction(self, db: sqlite3.Connection) -> Iterator[None]:
        """Do all or nothing, in a database whose tables are those that were checked."""
        db.execute("BEGIN IMMEDIATE")
        try:
            if _schema_version(db) != self._schema:
                _folder.check_schema(db)
                self._schema = _schema_version(db)
            yield
            db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):  # where SQLite has rolled back by itself
                db.execute("ROLLBACK")
            raise

    def _insert(
        self, db: sqlite3.Connection, recipe: bytes, records: list[tuple[bytes, bytes]], limit: int, unkept: Unkept
    ) -> None:
        """Insert rows of a recipe, or count them as not kept if no others may go for them."""
        size = sum(len(record) for _, record in records)
        if not (self._session.rests(recipe) and _used(db) + size > limit):
            places = ",".join(["(?, ?)"] * len(records))
            db.execute(f"INSERT OR REPLACE INTO rows (key, record) VALUES {places}", [*chain.from_iterable(records)])
            if self._shrink(db, recipe, limit):
                return
            db.executemany("DELETE FROM rows WHERE key = ?", [(key,) for key, _ in records])
        unkept.add(recipe, size, len(records))

    def _shrink(self, db: sqlite3.Connection, recipe: bytes, limit: int) -> bool:
        """Drop rows that may go for those of a recipe while the file is too large; return whether it is not."""
        while (large := _used(db) > limit) and self._session.drop(db, recipe):
            pass
        return not large

    def _count(self, db: sqlite3.Connection, misses: dict[bytes, int]) -> None:
        """Add what was found and what had to be computed to the counts of the folder."""
        hits = self._session.take_hits()
        counts = [(recipe, hits[recipe], misses.get(recipe, 0)) for recipe in hits.keys() | misses.keys()]
        db.executemany(_folder.COUNT, counts)


def _marks(values: Sequence[object]) -> str:
    """Return a question mark for each value of a statement."""
    return ",".join("?" * len(values))


def _was_put(db: sqlite3.Connection, recipe: bytes) -> bool:
    return db.execute("SELECT 1 FROM counts WHERE recipe = ?", (recipe,)).fetchone() is not None


def _schema_version(db: sqlite3.Connection) -> int:
    """Return a number that changes with every table, trigger or view."""
    return int(db.execute("PRAGMA schema_version").fetchone()[0])


def _used(db: sqlite3.Connection) -> int:
    pages, free, size = (
        db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)
