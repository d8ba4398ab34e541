"""Bytes that are read ahead: counted while they are held, so that reading stops before memory is full of files."""

from __future__ import annotations

import threading
from typing import Any

#: Bytes of samples and files that may wait to be prepared. Photographs of 5 MB keep 50 workers busy with it.
MOST = 256 * 2**20
#: Smaller samples are not counted: the number of those in flight bounds them.
SMALL = 65_536


class Lease:
    """Bytes that are held; they are given back when nothing refers to this any more."""

    __slots__ = ("_budget", "_size")

    def __init__(self, budget: Budget, size: int) -> None:
        self._budget, self._size = budget, size
        budget.add(size)

    def __del__(self) -> None:
        self._budget.add(-self._size)


class Budget:
    """Bytes held by one call."""

    def __init__(self) -> None:
        self._held = 0
        #: Entered again by the same thread where the garbage collector ends a lease in the middle of `add`.
        self._lock = threading.RLock()

    def add(self, size: int) -> None:
        """Count bytes; negative ones were given back."""
        with self._lock:
            self._held += size

    @property
    def full(self) -> bool:
        """Whether no more should be read ahead."""
        return self._held >= MOST

    def lease(self, data: Any) -> Lease | None:
        """Count a sample that is in memory: bytes, a text or an array. Return what holds the count, or None."""
        size = len(data) if isinstance(data, (bytes, str)) else getattr(data, "nbytes", 0)
        return Lease(self, int(size)) if size >= SMALL else None
