"""Maintenance of a folder of rows: count, verify, clear."""

from __future__ import annotations

import contextlib
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from skltransfer._engine.cache._disk import DISK_BYTES, DiskCache
from skltransfer._engine.cache._record import decode
from skltransfer.errors import CacheError

#: Bytes of a key that are the sample's; the rest names the recipe.
SAMPLE = 16
#: Files of a cache: the database, and what SQLite keeps beside it while it is open.
FILES = tuple(DiskCache.FILE + ending for ending in ("", "-wal", "-shm"))

KEYS = "SELECT CAST(key AS BLOB) FROM rows"


class Info(NamedTuple):
    """Contents of a folder.

    Attributes
    ----------
    rows : int
        Number of rows.
    bytes, limit : int
        Size of its files, and the size beyond which the oldest rows go.
    recipes : dict of str to int
        Rows of each recipe (backbone, layers, pooling, input), by its key, the largest first.
    """

    rows: int
    bytes: int
    limit: int
    recipes: dict[str, int]


class Health(NamedTuple):
    """Result of a check.

    Attributes
    ----------
    intact, broken : int
        Rows whose checksum holds, and rows that were dropped because it does not.
    """

    intact: int
    broken: int


def info(folder: Path) -> Info:
    """Count what a folder holds.

    Parameters
    ----------
    folder : Path
        As given to ``PretrainedEmbedder(cache=...)``.

    Raises
    ------
    CacheError
        If it is no cache, or too damaged to be read.
    """
    with _opened(folder) as db:
        recipes = Counter(key[SAMPLE:].decode("ascii", "replace") for (key,) in db.execute(KEYS))
    size = sum((folder / name).stat().st_size for name in FILES if (folder / name).exists())
    return Info(recipes.total(), size, DISK_BYTES, dict(recipes.most_common()))


def verify(folder: Path) -> Health:
    """Check every row of a folder against its checksum, and drop what does not hold: it will be computed again.

    Parameters
    ----------
    folder : Path
        As given to ``PretrainedEmbedder(cache=...)``.

    Raises
    ------
    CacheError
        If it is no cache, or the database as a whole is damaged.
    """
    with _opened(folder) as db:
        ((found,),) = db.execute("PRAGMA quick_check(1)")
        if found != "ok":
            raise sqlite3.DatabaseError(found)
        records = db.execute("SELECT id, CAST(key AS BLOB), record FROM rows")
        broken, intact = [], 0
        for number, key, record in records:
            if decode(key, record) is None:
                broken.append((number,))
            else:
                intact += 1
        with db:
            db.executemany("DELETE FROM rows WHERE id = ?", broken)
    return Health(intact, len(broken))


def clear(folder: Path) -> int:
    """Remove the rows of a folder, whatever state they are in, and nothing else in it.

    Parameters
    ----------
    folder : Path
        As given to ``PretrainedEmbedder(cache=...)``.

    Returns
    -------
    int
        Bytes that were freed.

    Raises
    ------
    CacheError
        If it is no cache.
    """
    _check(folder)
    files = [folder / name for name in FILES if (folder / name).exists()]
    size = sum(file.stat().st_size for file in files)
    for file in files:
        file.unlink(missing_ok=True)
    return size


def _check(folder: Path) -> None:
    if not (folder / DiskCache.FILE).is_file():
        raise CacheError(f"{str(folder)!r} holds no cache: it has no file {DiskCache.FILE!r}.")


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[sqlite3.Connection]:
    """Open the database of a folder, which is not made if it is not there."""
    _check(folder)
    db = sqlite3.connect(folder / DiskCache.FILE, timeout=30)
    try:
        yield db
    except sqlite3.Error as err:
        raise CacheError(
            f"The cache in {str(folder)!r} cannot be read ({err}). If it is damaged, do away with it: "
            f"skltransfer cache clear {str(folder)!r}"
        ) from err
    finally:
        db.close()
