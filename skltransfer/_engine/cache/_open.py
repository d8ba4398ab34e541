"""Which cache is meant: one in memory per process, one connection per process and folder."""

from __future__ import annotations

import os

import numpy as np

from skltransfer._engine import process
from skltransfer._engine.cache._disk import DiskCache
from skltransfer._engine.cache._memory import Cache, MemoryCache

memory = MemoryCache()
#: Connections to folders. SQLite forbids sharing them with the child of a fork.
_disks: process.Table[str, DiskCache] = process.Table(survives_fork=False, close=DiskCache.close)


def open_cache(where: str | os.PathLike[str] | bool | None) -> Cache | None:
    """Open what the parameter ``cache`` names.

    Parameters
    ----------
    where : "memory", path of a folder, True or None
        ``"memory"`` is one cache for the whole process, True the folder `process.user_folder`.

    Returns
    -------
    Cache or None
    """
    if where == "memory":
        return memory
    if isinstance(where, np.bool_):
        where = bool(where)
    if where is None or where is False:
        return None
    folder = process.user_folder() if where is True else process.expand(where).resolve()
    if (found := _disks.get_recent(str(folder))) is not None:
        return found
    with _disks.lock:
        return _disks.setdefault(str(folder), DiskCache(folder))
