"""Embeddings already computed: sample key to row, in memory or in a folder. The only room that writes rows.

A key is the fingerprint of a sample's content followed by the fingerprint of the recipe, so a row can never be stale:
another file content, layer or model is another key. Names and times of files play no part.

Who is about to compute rows claims them, so that others - threads of this process, workers of joblib - take other rows
meanwhile and find these later. A claim only saves work: whoever loses one computes the row again, and both are right.
"""

from skltransfer._engine.cache._care import Health, Info, clear, info, verify
from skltransfer._engine.cache._disk import DiskCache
from skltransfer._engine.cache._memory import OVERHEAD, Cache, CacheInfo, MemoryCache
from skltransfer._engine.cache._open import cache_info, memory, open_cache
from skltransfer._engine.cache._writer import FolderCache

__all__ = [
    "OVERHEAD",
    "Cache",
    "CacheInfo",
    "DiskCache",
    "FolderCache",
    "Health",
    "Info",
    "MemoryCache",
    "cache_info",
    "clear",
    "info",
    "memory",
    "open_cache",
    "verify",
]
