"""Changes of low rank: what is trained of a matrix is the product of two thin factors, added to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from skltransfer._engine import graph
from skltransfer.errors import TuningError, need

Weights = Mapping[str, npt.NDArray[np.float32]]
#: Columns of the left factor, and how much faster factors learn than the matrix would.
RANK, RATE = 8, 10.0
#: What is added to the name of a matrix for its factors.
LEFT, RIGHT = "~left", "~right"


def factors(names: Sequence[str], weights: Sequence[Any]) -> dict[str, Any]:
    """Return the factors of each matrix by name; their product is zero at the start.

    Raises
    ------
    TuningError
        If no weight is a matrix.
    """
    torch = need("torch", extra="torch")
    found = {}
    for name, weight in zip(names, weights, strict=True):
        if weight.ndim == 2:
            rows, columns = weight.shape
            found[name + LEFT] = torch.randn(rows, RANK) / RANK**0.5
            found[name + RIGHT] = torch.zeros(RANK, columns)
    if not found:
        raise TuningError("adapter='lora' is for matrices, as transformers have them; what is trained here has none.")
    return found


def added(matrices: Mapping[str, Any], tuned: Mapping[str, Any]) -> dict[str, Any]:
    """Return every matrix that has factors, with their product."""
    names = [name.removesuffix(LEFT) for name in tuned if name.endswith(LEFT)]
    return {name: matrices[name] + tuned[name + LEFT] @ tuned[name + RIGHT] for name in names}


def whole(tuned: Weights, parts: graph.Parts) -> dict[str, npt.NDArray[np.float32]]:
    """Return trained weights in full, as the graph takes them."""
    from onnx import numpy_helper

    matrices = {name: numpy_helper.to_array(proto) for name, proto in parts.constants.items() if name + LEFT in tuned}
    full = {name: value for name, value in tuned.items() if not name.endswith((LEFT, RIGHT))}
    return {**full, **added(matrices, tuned)}
