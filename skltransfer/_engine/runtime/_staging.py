"""Memory that batches are put together in: locked, so that a device copies from it without a detour."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from skltransfer._engine.runtime._cudart import lock_pages


class Block:
    """A piece of memory that grows to the largest batch it has held.

    Parameters
    ----------
    lock : bool
        Whether to lock its pages.
    """

    def __init__(self, *, lock: bool) -> None:
        self._lock, self._bytes = lock, np.empty(0, np.uint8)

    def room(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Give an array to fill, in the place of the one before."""
        kind = np.dtype(dtype)
        size = math.prod(shape) * kind.itemsize
        if size > len(self._bytes):
            self._bytes = np.empty(size, np.uint8)
            if self._lock:
                lock_pages(self._bytes)
        return self._bytes[:size].view(kind).reshape(shape)


class Staging:
    """Blocks, as many as there are batches under way at one time.

    Parameters
    ----------
    lock : bool
        Whether to lock their pages.
    """

    def __init__(self, *, lock: bool) -> None:
        self._lock, self._free = lock, list[Block]()

    @contextmanager
    def lend(self) -> Iterator[Block]:
        """Lend a block to one batch."""
        block = self._take()
        try:
            yield block
        finally:
            self._free.append(block)

    def _take(self) -> Block:
        try:
            return self._free.pop()
        except IndexError:  # asked first, another thread could be faster
            return Block(lock=self._lock)
