"""Transformers of rows that are a few operators of ONNX, without `ai.onnx.ml`: a row of the table each.

They are added here, and not by skl2onnx, because its nodes for them need `ai.onnx.ml`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from skltransfer.export._graph import Graph, Rows

#: Adds the nodes of a fitted transformer.
Emitter = Callable[[Graph, Any, Rows], Rows]


def moved(graph: Graph, rows: Rows, offset: npt.ArrayLike | None, factor: npt.ArrayLike | None) -> Rows:
    """Add ``(rows - offset) * factor``, number by number; None leaves a part out."""
    tensor = rows.tensor
    if offset is not None:
        tensor = graph.add("Sub", tensor, graph.const(offset))
    if factor is not None:
        tensor = graph.add("Mul", tensor, graph.const(factor))
    return Rows(tensor, rows.width)


def multiplied(graph: Graph, rows: Rows, matrix: npt.NDArray[Any], shift: npt.ArrayLike | None = None) -> Rows:
    """Add ``rows @ matrix + shift``."""
    terms = () if shift is None else (graph.const(shift),)
    return Rows(graph.add("Gemm", rows.tensor, graph.const(matrix), *terms), matrix.shape[1])


def _standard(graph: Graph, scaler: Any, rows: Rows) -> Rows:
    factor = None if scaler.scale_ is None else 1 / scaler.scale_
    return moved(graph, rows, scaler.mean_ if scaler.with_mean else None, factor)


def _robust(graph: Graph, scaler: Any, rows: Rows) -> Rows:
    return moved(graph, rows, scaler.center_, None if scaler.scale_ is None else 1 / scaler.scale_)


def _min_max(graph: Graph, scaler: Any, rows: Rows) -> Rows:
    scaled = moved(graph, rows, -scaler.min_ / scaler.scale_, scaler.scale_)
    if not scaler.clip:
        return scaled
    low, high = (graph.const(np.float32(limit)) for limit in scaler.feature_range)
    return Rows(graph.add("Clip", scaled.tensor, low, high), rows.width)


def _max_abs(graph: Graph, scaler: Any, rows: Rows) -> Rows:
    return moved(graph, rows, None, 1 / scaler.scale_)


#: Operators that compute the norms of rows, by scikit-learn's names of norms.
NORMS = {"l1": ("Abs", "ReduceSum"), "l2": ("Mul", "ReduceSum"), "max": ("Abs", "ReduceMax")}


def _normalizer(graph: Graph, scaler: Any, rows: Rows) -> Rows:
    """Divide rows by their norms; rows of zeros stay."""
    op, reduce = NORMS[scaler.norm]
    powers = graph.add(op, rows.tensor, *((rows.tensor,) if op == "Mul" else ()))
    # Reductions take their axes as an input from different versions on: ReduceSum from 13, ReduceMax from 18.
    as_input = reduce == "ReduceSum" or graph.opset >= 18
    if as_input:
        norms = graph.add(reduce, powers, graph.const([1], np.int64), keepdims=1)
    else:
        norms = graph.add(reduce, powers, axes=[1], keepdims=1)
    norms = graph.add("Sqrt", norms) if scaler.norm == "l2" else norms
    zero = graph.add("Equal", norms, graph.const(np.float32(0)))
    return Rows(graph.add("Div", rows.tensor, graph.add("Where", zero, graph.const(np.float32(1)), norms)), rows.width)


def _pca(graph: Graph, pca: Any, rows: Rows) -> Rows:
    matrix = pca.components_.T
    if pca.whiten:
        scale = np.sqrt(pca.explained_variance_)
        matrix = matrix / np.maximum(scale, np.finfo(scale.dtype).eps)
    return multiplied(graph, moved(graph, rows, pca.mean_, None), matrix)


def _svd(graph: Graph, svd: Any, rows: Rows) -> Rows:
    return multiplied(graph, rows, svd.components_.T)


def select(graph: Graph, rows: Rows, indices: npt.ArrayLike) -> Rows:
    """Add a choice of columns."""
    chosen = np.asarray(indices, np.int64)
    return Rows(graph.add("Gather", rows.tensor, graph.const(chosen, np.int64), axis=1), len(chosen))


def _selector(graph: Graph, selector: Any, rows: Rows) -> Rows:
    return select(graph, rows, selector.get_support(indices=True))


def joined(graph: Graph, parts: list[Rows]) -> Rows:
    """Add the concatenation of columns."""
    if len(parts) == 1:
        return parts[0]
    return Rows(graph.add("Concat", *(part.tensor for part in parts), axis=1), sum(part.width for part in parts))


#: Emitters by the name of the class.
TRANSFORMERS: dict[str, Emitter] = {
    "IncrementalPCA": _pca,
    "MaxAbsScaler": _max_abs,
    "MinMaxScaler": _min_max,
    "Normalizer": _normalizer,
    "PCA": _pca,
    "RobustScaler": _robust,
    "StandardScaler": _standard,
    "TruncatedSVD": _svd,
    **dict.fromkeys(
        (
            "GenericUnivariateSelect",
            "RFE",
            "RFECV",
            "SelectFdr",
            "SelectFpr",
            "SelectFromModel",
            "SelectFwe",
            "SelectKBest",
            "SelectPercentile",
            "SequentialFeatureSelector",
            "VarianceThreshold",
        ),
        _selector,
    ),
}
