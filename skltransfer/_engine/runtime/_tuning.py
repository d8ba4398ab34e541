"""Search for the batch size of a graph on a device: doubled for as long as that is faster and fits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

#: A batch twice as large must be faster by this factor, sample by sample, to be worth its memory.
MIN_SPEEDUP = 1.05
#: Number of sizes that are tried, each twice the one before.
SIZES = 5
#: Seconds of a run after which no larger size is tried.
MAX_SECONDS = 0.25


def best_batch_size(
    samples: npt.NDArray[Any],
    run: Callable[[npt.NDArray[Any]], object],
    most: Callable[[], int],
    clock: Callable[[], float],
    free: Callable[[], int | None],
) -> int:
    """Return the largest batch size that is worth its memory.

    Parameters
    ----------
    samples : ndarray of shape (n, ...)
        A batch of the smallest size; larger ones repeat it.
    run : callable
        Runs a batch, in several pieces where it does not fit.
    most : callable
        Returns the largest size that fits, as far as it is known.
    clock : callable
        Returns the time in seconds.
    free : callable
        Returns the free bytes of the device, or None.
    """
    best, fastest, took = len(samples), 0.0, 0
    for size in (len(samples) << doublings for doublings in range(SIZES)):
        before = free()
        if before is not None and before < 4 * took:
            break  # twice the samples take twice the memory, and two batches are in flight at a time
        larger = np.resize(samples, (size, *samples.shape[1:]))
        run(larger)  # the first run of a shape allocates and is slower than the others
        took = (before or 0) - (free() or 0)
        start = clock()
        run(larger)
        seconds = max(clock() - start, 1e-9)
        if most() < size or size / seconds < MIN_SPEEDUP * fastest:
            return min(best, most())
        best, fastest = size, size / seconds
        if seconds > MAX_SECONDS:
            break
    return best
