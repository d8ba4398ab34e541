"""The folder of a cache: whose it is, what may lie in it, and how its database is opened.

Whoever can write to the folder can change rows, so a folder or file of another user, or one that others may write to,
is refused. The database has a rollback journal, not a write-ahead log: SQLite maps the index of the log into memory,
and a process that reads a mapped file dies when somebody shortens it.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import time
from pathlib import Path

from skltransfer.errors import CacheError

FILE = "rows.sqlite"
#: Files of a cache: the database, and what SQLite keeps beside it; 0.1 had a write-ahead log. In the order in which
#: they are removed: a journal without its database does no harm, a database without its journal may be torn.
FILES = tuple(FILE + ending for ending in ("-journal", "-wal", "-shm", ""))
#: Everything a database may hold, as SQLite records it.
TABLES = {
    "rows": "CREATE TABLE rows (id INTEGER PRIMARY KEY, key BLOB UNIQUE, record BLOB)",
    "claims": "CREATE TABLE claims (id BLOB UNIQUE, owner TEXT, recipe BLOB, samples BLOB, until REAL)",
    "counts": "CREATE TABLE counts (recipe BLOB UNIQUE, hits INTEGER, misses INTEGER)",
}
#: The claims of 0.1, which are dropped: they are those of processes that run.
OLD_CLAIMS = "CREATE TABLE claims (key BLOB UNIQUE, owner TEXT, until REAL)"
#: Adds to the rows of a recipe that were found in the folder, and to those that had to be computed.
COUNT = (
    "INSERT INTO counts (recipe, hits, misses) VALUES (?, ?, ?) "
    "ON CONFLICT (recipe) DO UPDATE SET hits = hits + excluded.hits, misses = misses + excluded.misses"
)
#: Indices that SQLite makes for UNIQUE; their SQL is NULL.
INDICES = {f"sqlite_autoindex_{table}_1" for table in TABLES}
#: Seconds to wait for another process that writes. A transaction takes milliseconds, so beyond this the other process
#: is stopped or holds the lock on purpose.
PATIENCE = 10.0
#: Longest record that is read, in bytes: a few million numbers. SQLite's own limit is a billion.
LONGEST = 2**28
#: Without checking the schema's functions, and without mapping the database: see the module's docstring.
#: ``synchronous`` is off because nothing here is worth waiting for the disk: a killed process loses nothing, and after
#: a power failure rows that are torn fail their checksum.
#: Pages of 16 KB, where the database is new: of 4 KB each would hold three rows and room for half of one.
#: ``cache_spill`` is off because others cannot read from the moment a transaction first writes to the file.
SETTINGS = (
    "PRAGMA page_size = 16384",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA cell_size_check = ON",
    "PRAGMA mmap_size = 0",
    "PRAGMA synchronous = OFF",
    "PRAGMA cache_spill = OFF",
)

#: Bytes of the journal that stay between transactions.
JOURNAL = 2**20

Place = tuple[int, int]


def place(folder: Path) -> Place | None:
    """Return device and inode of the database, or None if there is none."""
    try:
        status = os.lstat(folder / FILE)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def open_database(folder: Path, *, new: bool = False) -> sqlite3.Connection:
    """Open the database of a folder after checking both.

    Parameters
    ----------
    folder : Path
        It exists.
    new : bool
        Whether to create the database, or the tables it lacks.

    Raises
    ------
    CacheError
        If the folder or the database cannot be trusted.
    OSError, sqlite3.Error
        If it cannot be read.
    """
    check_folder(folder)
    if new:
        _create_file(folder / FILE)
    before, until = place(folder), time.monotonic() + PATIENCE
    while True:
        db = sqlite3.connect(folder / FILE, timeout=PATIENCE, check_same_thread=False, isolation_level=None)
        try:
            _prepare(db)
            if new:
                _create_tables(db)
            if place(folder) != before:
                raise CacheError(f"{str(folder / FILE)!r} was replaced while it was opened.")
        except sqlite3.OperationalError as err:
            db.close()
            # SQLite does not wait where two connections would wait for each other, see
            # https://sqlite.org/c3ref/busy_handler.html
            if getattr(err, "sqlite_errorcode", None) != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)
        except BaseException:
            db.close()
            raise
        else:
            return db


def close_database(db: sqlite3.Connection, *, is_there: bool = True) -> None:
    """Close a connection. The journal is removed, unless a transaction of another needs it.

    If the database is not there any more, a journal of its name is that of the one that took its place.
    """
    if is_there:
        with contextlib.suppress(sqlite3.Error):
            db.execute("PRAGMA busy_timeout = 0")
            if not is_mapped(db):
                db.execute("PRAGMA journal_mode = DELETE")
    db.close()


def _create_file(path: Path) -> None:
    """Create an empty database that only its owner can read; SQLite would let others read it."""
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def check_folder(folder: Path) -> None:
    """Refuse a folder, or a file of the cache in it, that somebody else owns or may write to, and what is not a file.

    Files that others may read are made private. Where the system has no owners, as on Windows, only the kind of the
    files is checked.

    Raises
    ------
    CacheError
        With what to type.
    """
    status = os.stat(folder)
    _check_owner(folder, status)
    if _is_writable_by_others(status):
        raise CacheError(
            f"other users may write to the folder {str(folder)!r}, and could change rows; choose a folder of your own, "
            f"or type: chmod go-w {str(folder)!r}"
        )
    for name in FILES:
        with contextlib.suppress(FileNotFoundError):
            _check_file(folder / name, reachable=bool(status.st_mode & 0o011))


def _check_file(path: Path, *, reachable: bool) -> None:
    """Check one file, which other users can reach if they may enter its folder."""
    status = os.lstat(path)
    if not stat.S_ISREG(status.st_mode):
        raise CacheError(f"{str(path)!r} is a link or another special file, not a file of rows; type: rm {str(path)!r}")
    _check_owner(path, status)
    if reachable and _is_writable_by_others(status):
        raise CacheError(
            f"other users may write to {str(path)!r}, and may have changed rows; type: skltransfer cache clear "
            f"{str(path.parent)!r}"
        )
    if os.name == "posix" and status.st_mode & 0o077:
        path.chmod(0o600)


def _check_owner(path: Path, status: os.stat_result) -> None:
    if os.name == "posix" and status.st_uid != os.geteuid():
        raise CacheError(
            f"{str(path)!r} belongs to user {status.st_uid}, and you are user {os.geteuid()}; choose a folder of your "
            f"own, or, if the rows can be trusted, type: sudo chown -R {os.geteuid()} {str(path)!r}"
        )


def _is_writable_by_others(status: os.stat_result) -> bool:
    return os.name == "posix" and bool(status.st_mode & 0o022)


def _prepare(db: sqlite3.Connection) -> None:
    """Set a new connection up, leave the write-ahead log, check the schema."""
    db.text_factory = lambda text: text.decode("utf8", "replace")  # an owner may be anything
    db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST)
    for setting in SETTINGS:
        db.execute(setting)
    _leave_log(db)
    # The journal is overwritten: to create and remove one takes as long as a fifth of the rows of a transaction.
    db.execute("PRAGMA journal_mode = PERSIST")
    db.execute(f"PRAGMA journal_size_limit = {JOURNAL}")
    check_schema(db)


def _create_tables(db: sqlite3.Connection) -> None:
    old = ("table", "claims", OLD_CLAIMS) in _schema(db)
    if old or len(_schema(db)) < len(TABLES) + len(INDICES):
        db.execute("BEGIN IMMEDIATE")
        if old:
            db.execute("DROP TABLE claims")
        for table in TABLES.values():
            db.execute(table.replace("TABLE", "TABLE IF NOT EXISTS", 1))
        db.execute("COMMIT")


def _leave_log(db: sqlite3.Connection) -> None:
    """Switch from the write-ahead log, which 0.1 used, to a rollback journal.

    In exclusive mode the log is read without its mapped index. The lock of this mode ends with the next statement
    after it.
    """
    db.execute("PRAGMA locking_mode = EXCLUSIVE")
    if is_mapped(db):
        db.execute("PRAGMA journal_mode = DELETE")
    db.execute("PRAGMA locking_mode = NORMAL")
    db.execute("SELECT count(*) FROM sqlite_master").fetchone()


def is_mapped(db: sqlite3.Connection) -> bool:
    """Return whether the database has a write-ahead log; another process may switch it on at any time."""
    return bool(db.execute("PRAGMA journal_mode").fetchone() == ("wal",))


def check_schema(db: sqlite3.Connection) -> None:
    """Refuse triggers, views, and other tables, columns and indices than ours.

    Raises
    ------
    CacheError
        With the name of the first.
    """
    for kind, name, sql in _schema(db):
        if (name, sql) == ("claims", OLD_CLAIMS):
            continue
        if (kind, sql) != ("table", TABLES.get(name)) and (kind, sql, name in INDICES) != ("index", None, True):
            raise CacheError(f"the database holds {kind} {name!r:.300}, which skltransfer did not write")


def _schema(db: sqlite3.Connection) -> list[tuple[str, str, str | None]]:
    return db.execute("SELECT type, name, sql FROM sqlite_master LIMIT 10").fetchall()
