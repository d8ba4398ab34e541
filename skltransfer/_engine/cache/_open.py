"""Which cache is meant: one in memory per process, one connection per process and folder."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import numpy as np

from skltransfer._engine.cache._disk import DiskCache
from skltransfer._engine.cache._memory import Cache, MemoryCache

memory = MemoryCache()
_disks: dict[str, DiskCache] = {}
_lock = threading.Lock()
_inherited: list[object] = []


def user_folder() -> Path:
    """Give the folder ``cache=True`` stands for: ``skltransfer`` in the user's cache folder."""
    home = {"win32": "~/AppData/Local", "darwin": "~/Library/Caches"}.get(sys.platform, "~/.cache")
    return Path(os.environ.get("XDG_CACHE_HOME") or home).expanduser() / "skltransfer"


def open_cache(where: str | os.PathLike[str] | bool | None) -> Cache | None:
    """Open what the parameter ``cache`` names.

    Parameters
    ----------
    where : "memory", path of a folder, True or None
        ``"memory"`` is one cache for the whole process, True the folder `user_folder`.

    Returns
    -------
    Cache or None
    """
    if isinstance(where, np.bool_):
        where = bool(where)
    if where is None or where is False:
        return None
    if where == "memory":
        return memory
    folder = user_folder() if where is True else Path(where).expanduser().resolve()
    with _lock:
        if str(folder) not in _disks:
            _disks[str(folder)] = DiskCache(folder)
        return _disks[str(folder)]


def _forget_after_fork() -> None:
    """In a child: rows in memory stay, connections and locks are made anew (SQLite forbids sharing them)."""
    global _disks, _lock
    _inherited.append((_disks, _lock))
    _disks, _lock = {}, threading.Lock()
    memory.forget_threads()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
