"""Choice of rows, and their weights: needed by every head."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn import get_config


def take(values: Any, good: npt.NDArray[np.bool_]) -> Any:
    """Return the good ones of rows, labels or weights, of the kind they are."""
    if good.all():
        return values
    chosen = np.flatnonzero(good)
    if hasattr(values, "iloc"):
        return values.iloc[chosen]
    if hasattr(values, "columns") or hasattr(values, "to_numpy"):  # polars
        return values[chosen.tolist()]
    return (values if hasattr(values, "shape") else np.asarray(values))[chosen]


def weight_of(estimator: Any) -> str:
    """Return what `fit` calls the weights: a pipeline hands them to the step that is named, or that requests them."""
    steps = getattr(estimator, "steps", None)
    if not steps or get_config()["enable_metadata_routing"]:
        return "sample_weight"
    return f"{steps[-1][0]}__sample_weight"


def weights_by_task(weights: Any, tasks: Iterable[Any]) -> dict[Any, Any]:
    """Return the weights of each task: the same for all, or those of a dict or frame; without its name, none.

    Raises
    ------
    ValueError
        If weights are named by an unknown task.
    """
    tasks = list(tasks)
    if weights is None:
        return {}
    if not isinstance(weights, Mapping) and not hasattr(weights, "columns"):
        return dict.fromkeys(tasks, weights)
    names = list(weights) if isinstance(weights, Mapping) else list(weights.columns)
    if wrong := [name for name in names if name not in tasks]:
        raise ValueError(f"sample_weight has the tasks {wrong}, and y has {tasks}.")
    return {name: weights[name] for name in names}
