"""Batches: which rows a step takes, and tensors inside tuples and dictionaries."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt


def steps_per_epoch(n_samples: int, batch_size: int) -> int:
    """Return the number of full batches of an epoch; one, if there are fewer samples than a batch holds."""
    return max(1, n_samples // batch_size)


def epoch_rows(step: int, n_samples: int, batch_size: int, seed: int) -> npt.NDArray[np.int64]:
    """Return the rows of a step; each epoch is a new permutation.

    A function of its arguments, so that a resumed run sees the rows that an uninterrupted one would see.

    Parameters
    ----------
    step : int
        From 0, counted through all epochs.
    n_samples, batch_size : int
        The rows that fill no batch at the end of an epoch are left out; they are others in each epoch.
    seed : int
        Seed of the permutations.

    Returns
    -------
    ndarray of shape (batch_size,)
        Sorted, so that a memory-mapped file is read from front to back.
    """
    epoch, place = divmod(step, steps_per_epoch(n_samples, batch_size))
    order = np.random.default_rng((seed, epoch)).permutation(n_samples)
    return np.sort(order[place * batch_size : (place + 1) * batch_size])


def step_seed(seed: int, step: int) -> int:
    """Return the seed of torch for one step; neighboring steps have unrelated ones."""
    return int(np.random.SeedSequence((seed, step)).generate_state(1)[0])


def map_tensors(function: Callable[[Any], Any], value: Any) -> Any:
    """Apply a function to each tensor in nested tuples, lists and dictionaries; return the same nesting."""
    if isinstance(value, Mapping):
        return {key: map_tensors(function, one) for key, one in value.items()}
    if isinstance(value, (tuple, list)):
        return type(value)([map_tensors(function, one) for one in value])
    return function(value) if hasattr(value, "is_floating_point") else value


def count_rows(value: Any) -> int:
    """Return the length of the first tensor in nested tuples, lists and dictionaries; 0 without any."""
    lengths: list[int] = []
    map_tensors(lambda tensor: lengths.append(len(tensor)), value)
    return lengths[0] if lengths else 0
