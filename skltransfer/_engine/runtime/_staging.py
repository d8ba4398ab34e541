"""Memory in which batches are collated: pinned, so that a device copies from it directly."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from skltransfer._engine.runtime._cudart import lock_pages


class Block:
    """A block of memory that grows to the largest batch it has held.

    Parameters
    ----------
    lock : bool
        Whether to pin it.
    """

    def __init__(self, *, lock: bool) -> None:
        self._lock, self._bytes = lock, np.empty(0, np.uint8)

    def room(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Return an array to fill; it overwrites the one before."""
        kind = np.dtype(dtype)
        size = math.prod(shape) * kind.itemsize
        if size > len(self._bytes):
            self._bytes = np.empty(size, np.uint8)
            if self._lock:
                lock_pages(self._bytes)
        return self._bytes[:size].view(kind).reshape(shape)


class Staging:
    """Blocks, as many as there are batches in flight at a time.

    Parameters
    ----------
    lock : bool
        Whether to pin them.
    """

    def __init__(self, *, lock: bool) -> None:
        self._lock, self._free = lock, list[Block]()

    @contextmanager
    def lend(self) -> Iterator[Block]:
        """Lend a block to one batch."""
        block = self._pop()
        try:
            yield block
        finally:
            self._free.append(block)

    def _pop(self) -> Block:
        try:
            return self._free.pop()
        except IndexError:  # checking first would race with other threads
            return Block(lock=self._lock)
