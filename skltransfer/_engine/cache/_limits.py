"""How many bytes caches may take: as it was set, else a share of what this machine has."""

from __future__ import annotations

import shutil
import tempfile
import time

from skltransfer._engine import process, settings

#: Share of the memory that this process may use. The result of a call, which lies beside it, is as large as the rows.
MEMORY_SHARE = 8
#: Share of the memory that is free: workers of joblib have a cache each, and each leaves the others half of the rest.
FREE_SHARE = 2
#: Share of the free space of the temporary folder.
SPILL_SHARE = 4
#: Bytes of a folder.
FOLDER_BYTES = 10 * 2**30
#: Seconds for which what the system said is taken for true: asking takes 0.1 ms, and a batch of rows is put in less.
FRESH = 1.0


class Shares:
    """Shares of memory and disk, looked up at most once a second."""

    def __init__(self) -> None:
        self._until, self._free, self._spill = 0.0, 0, 0

    def memory(self, held: int) -> int:
        """Return how many bytes may lie in memory, of which some are held already."""
        if (limit := settings.size("cache_memory")) is not None:
            return limit
        self._look()
        return min(_memory_limit() // MEMORY_SHARE, held + self._free // FREE_SHARE)

    def spill(self, held: int) -> int:
        """Return how many bytes may lie in the temporary folder, of which some are held already."""
        if (limit := settings.size("cache_spill")) is not None:
            return limit
        self._look()
        return held + self._spill // SPILL_SHARE

    def _look(self) -> None:
        """Look at what is free, if that was long ago."""
        if (now := time.monotonic()) < self._until:
            return
        free = process.free_memory()
        self._free = _memory_limit() if free is None else free
        self._spill = free_disk()
        self._until = now + FRESH


def free_disk() -> int:
    """Return the free bytes of the temporary folder; none if there is no such folder, or its files take memory."""
    try:
        folder = tempfile.gettempdir()
        return 0 if process.is_in_memory(folder) else shutil.disk_usage(folder).free
    except OSError:
        return 0


def folder() -> int:
    """Return how many bytes a folder may take."""
    limit = settings.size("cache_folder")
    return FOLDER_BYTES if limit is None else limit


@process.memo(1)
def _memory_limit() -> int:
    return process.memory_limit()
