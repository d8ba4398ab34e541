"""Maintenance of a folder of rows: count, verify, clear."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from skltransfer._engine.cache import _folder, _limits
from skltransfer._engine.cache._disk import REFUSALS
from skltransfer._engine.cache._record import decode
from skltransfer._engine.cache._unkept import recipe_of
from skltransfer.errors import CacheError

KEYS = "SELECT CAST(key AS BLOB) FROM rows"
#: Whatever somebody else put there counts as a number.
COUNTS = "SELECT total(CAST(hits AS INTEGER)), total(CAST(misses AS INTEGER)) FROM counts"


class Info(NamedTuple):
    """Contents of a folder.

    Attributes
    ----------
    rows : int
        Number of rows.
    bytes, limit : int
        Size of its files, and the size beyond which rows go or are not kept.
    recipes : dict of str to int
        Rows of each recipe (backbone, layers, pooling, input), by its key, the largest first.
    hits, misses : int
        Rows that were found in it, and rows that had to be computed, since it was created.
    """

    rows: int
    bytes: int
    limit: int
    recipes: dict[str, int]
    hits: int
    misses: int


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
        recipes = Counter(recipe_of(key or b"").decode("ascii", "replace") for (key,) in db.execute(KEYS))
        counted = db.execute("SELECT 1 FROM sqlite_master WHERE name = 'counts'").fetchone()
        hits, misses = db.execute(COUNTS).fetchone() if counted else (0, 0)
    size = sum(_sizes(folder).values())
    return Info(recipes.total(), size, _limits.folder(), dict(recipes.most_common()), int(hits), int(misses))


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
            if key is None or decode(key, record) is None:
                broken.append((number,))
            else:
                intact += 1
        db.execute("BEGIN IMMEDIATE")
        db.executemany("DELETE FROM rows WHERE id = ?", broken)
        db.execute("COMMIT")
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
        Bytes that were freed; none if the folder holds no cache.
    """
    sizes = _sizes(folder)
    for file in sizes:
        file.unlink(missing_ok=True)
    return sum(sizes.values())


def _sizes(folder: Path) -> dict[Path, int]:
    """Return the files of a cache that are there, with their sizes in bytes; links are not followed."""
    files = [folder / name for name in _folder.FILES if os.path.lexists(folder / name)]
    return {file: file.lstat().st_size for file in files}


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[sqlite3.Connection]:
    """Open the database of a folder, which is not made if it is not there."""
    if not os.path.lexists(folder / _folder.FILE):
        raise CacheError(f"{str(folder)!r} holds no cache: it has no file {_folder.FILE!r}.")
    with contextlib.ExitStack() as stack:
        try:
            db = _folder.open_database(folder)
            stack.callback(_folder.close_database, db)
            yield db
        except REFUSALS as err:
            raise CacheError(
                f"The cache in {str(folder)!r} cannot be read ({err}). If it is damaged, do away with it: "
                f"skltransfer cache clear {str(folder)!r}"
            ) from err
