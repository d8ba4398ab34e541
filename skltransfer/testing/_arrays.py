"""A backbone of numbers: it doubles them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from skltransfer.testing._graph import make_graph

if TYPE_CHECKING:
    import onnx


def array_backbone(features: int | str = 4, batch: int | str = "n", *, opset: int = 17) -> onnx.ModelProto:
    """Build a backbone of numbers, the plainest graph there is: twice the numbers.

    Parameters
    ----------
    features : int or str
        How many numbers a sample has; a str leaves it free.
    batch : int or str
        Number of samples per run; a str leaves it free.
    opset : int
        Version of the operators of ONNX.

    Returns
    -------
    onnx.ModelProto
        With the input ``x`` and the output ``rows``, both float32 (batch, features).
    """
    from onnx import helper

    nodes = [helper.make_node("Add", ["x", "x"], ["rows"])]
    return make_graph(nodes, {"x": (np.float32, [batch, features])}, "rows", opset=opset)


def array_rows(X: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Compute by hand what `array_backbone` makes of numbers.

    Parameters
    ----------
    X : array-like of shape (n, features)
        The samples.

    Returns
    -------
    ndarray of float32, shape (n, features)
        Twice the numbers.
    """
    return 2 * np.asarray(X, np.float32)
