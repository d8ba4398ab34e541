"""Build an ONNX graph of a few nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import onnx


def make_graph(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, tuple[npt.DTypeLike, Sequence[str | int | None]]],
    output: str,
    *,
    dtype: npt.DTypeLike = np.float32,
    opset: int = 17,
    functions: Sequence[onnx.FunctionProto] = (),
    domains: Sequence[str] = (),
    **weights: npt.NDArray[Any],
) -> onnx.ModelProto:
    """Build a graph with one output, whose shape ONNX infers.

    Parameters
    ----------
    nodes : sequence of onnx.NodeProto
        From ``onnx.helper.make_node``, in the order in which they run. Every tensor they make is a layer.
    inputs : mapping of str to (dtype, shape)
        What the graph takes; a length of a shape is an int, or a str for one that is free, such as ``"n"``.
    output : str
        The tensor that is the output.
    dtype : dtype-like
        Of the output.
    opset : int
        Version of the operators of ONNX.
    functions : sequence of onnx.FunctionProto
        Functions of the graph.
    domains : sequence of str
        Further domains of operators, each in version 1.
    **weights : ndarray
        Tensors the nodes read, by name.

    Returns
    -------
    onnx.ModelProto
        In memory; `save_backbone` writes it.
    """
    from onnx import helper, numpy_helper

    def value(name: str, dtype: npt.DTypeLike, shape: Sequence[str | int | None] | None) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)

    graph = helper.make_graph(
        nodes,
        "tiny",
        [value(name, *kind) for name, kind in inputs.items()],
        [value(output, dtype, None)],
        [numpy_helper.from_array(tensor, name) for name, tensor in weights.items()],
    )
    opsets = [helper.make_opsetid(domain, 1) for domain in domains] + [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, functions=functions, ir_version=10 if functions else 8)
