"""Which cache is meant: one in memory per process, one connection per process and folder."""

from __future__ import annotations

import atexit
import os

import numpy as np

from skltransfer._engine import process
from skltransfer._engine.cache._memory import Cache, CacheInfo, MemoryCache
from skltransfer._engine.cache._writer import FolderCache

memory = MemoryCache()
#: Connections to folders. SQLite forbids sharing them with the child of a fork.
_disks: process.Table[str, FolderCache] = process.Table(survives_fork=False, close=FolderCache.close)
atexit.register(_disks.forget)


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
        return _disks.setdefault(str(folder), FolderCache(folder))


def cache_info() -> CacheInfo:
    """Count what the cache in memory of this process holds, and how often it was of use.

    Returns
    -------
    CacheInfo
        ``limit``, ``bytes``, ``spill_limit``, ``spilled``, ``rows``, ``hits`` and ``misses``. `set_config` sets the
        limits. For a folder type ``skltransfer cache info FOLDER``.

    Examples
    --------
    >>> import skltransfer
    >>> from skltransfer.datasets import load_emoji
    >>> skltransfer.reset()
    >>> for _ in range(2):
    ...     rows = skltransfer.PretrainedEmbedder().transform(load_emoji().images[:5])
    >>> info = skltransfer.cache_info()
    >>> info.rows, info.hits, info.misses
    (5, 5, 5)
    """
    return memory.info()
