"""Another height and width than a graph was exported for, where it is convolutional up to the wanted layers."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from skltransfer._engine.graph._cut import cut
from skltransfer._engine.graph._facts import read
from skltransfer.cards import GraphInfo, InputSpec
from skltransfer.errors import CardError

if TYPE_CHECKING:
    import onnx

#: Operators that compute every place of a map alike, whatever its size.
# fmt: off
PLACEWISE = frozenset({
    "Abs", "Add", "AveragePool", "BatchNormalization", "Cast", "Celu", "Clip", "Concat", "Conv", "ConvTranspose",
    "DepthToSpace", "DequantizeLinear", "Div", "Dropout", "Elu", "Erf", "Exp", "Gelu", "GroupNormalization",
    "HardSigmoid", "HardSwish", "Identity", "InstanceNormalization", "LRN", "LeakyRelu", "Log", "LpPool", "Max",
    "MaxPool", "Min", "Mish", "Mul", "Neg", "PRelu", "Pow", "QuantizeLinear", "Reciprocal", "Relu", "Selu",
    "Sigmoid", "Softplus", "Softsign", "Sqrt", "Sub", "Sum", "Tanh", "Transpose", "Upsample", "Where",
})
# fmt: on
#: Operators whose output has no places any more.
GLOBAL = frozenset({"GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool", "Shape"})
#: Reductions, which are global where they reduce both axes of places.
REDUCTIONS = frozenset({"ReduceMean", "ReduceMax", "ReduceMin", "ReduceSum", "ReduceL2"})


def other_size(info: GraphInfo, spec: InputSpec) -> tuple[int, int] | None:
    """Return the (height, width) a specification asks for, if the graph was exported for another one."""
    wanted = spec.places
    if wanted is None or len(info.shape) != 4:
        return None
    fixed = info.shape[2:] if spec.layout == "NCHW" else info.shape[1:3]
    return wanted if any(n is not None and n != want for n, want in zip(fixed, wanted, strict=True)) else None


def resize_input(model: onnx.ModelProto, name: str, size: tuple[int, int], layout: str) -> None:
    """Change the height and width of a graph's input, in place.

    Parameters
    ----------
    model : onnx.ModelProto
        Cut at the wanted layers: what lies behind them does not count.
    name : str
        Of the input.
    size : (int, int)
        Height and width.
    layout : {"NCHW", "NHWC"}
        Of the input.

    Raises
    ------
    CardError
        If an operator on the way depends on the size the graph was exported with.
    """
    places = (2, 3) if layout == "NCHW" else (1, 2)
    value = next(value for value in model.graph.input if value.name == name)
    dims = value.type.tensor_type.shape.dim
    fixed = tuple(dims[axis].dim_value for axis in places)
    if reason := _obstacle(model, name):
        raise CardError(
            f"The graph takes images of {fixed}, input.size is {size}, and the size cannot be changed: {reason}."
        )
    for axis, length in zip(places, size, strict=True):
        dims[axis].dim_value = length
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    del model.graph.value_info[:]


def resized(model: onnx.ModelProto, spec: InputSpec, layers: Sequence[str]) -> GraphInfo:
    """Infer the shapes of layers of a graph at the size of a specification.

    Parameters
    ----------
    model : onnx.ModelProto
        The backbone, from `load`; changed in place.
    spec : InputSpec
        With the wanted size.
    layers : sequence of str
        Tensors whose shapes are inferred; what lies behind them need not fit the size.

    Returns
    -------
    GraphInfo
        Lists these layers only.

    Raises
    ------
    CardError
        If the size cannot be changed.
    """
    info = read(model)
    cut(model, layers)
    if (size := other_size(info, spec)) is not None:
        resize_input(model, info.input, size, spec.layout)
    found = read(model)
    return dataclasses.replace(info, shape=found.shape, layers={name: found.layers[name] for name in layers})


def _obstacle(model: onnx.ModelProto, name: str) -> str:
    """Describe the first node on the way of the places that depends on their number; empty if there is none."""
    tables = {tensor.name: tensor.dims for tensor in model.graph.initializer}
    placed = {name}
    for node in model.graph.node:
        if not placed.intersection(node.input) or _is_global(node, tables):
            continue
        if node.op_type not in PLACEWISE:
            return f"{node.op_type} {node.output[0]!r} depends on the number of places"
        constants = [i for i in node.input if i in tables and node.op_type not in ("Conv", "ConvTranspose")]
        if table := next((i for i in constants if sum(n > 1 for n in tables[i]) > 1), None):
            return f"{node.op_type} {node.output[0]!r} reads a table of fixed size, {table!r} {tuple(tables[table])}"
        placed.update(node.output)
    return ""


def _is_global(node: onnx.NodeProto, tables: Mapping[str, Sequence[int]]) -> bool:
    """Return whether a node reduces all places, so that its output has the same shape for every size."""
    if node.op_type in GLOBAL:
        return True
    if node.op_type not in REDUCTIONS:
        return False
    axes = [list(a.ints) for a in node.attribute if a.name == "axes"]
    if axes:
        return len(axes[0]) >= 2
    dims = tables.get(node.input[1]) if len(node.input) > 1 else None
    return dims is not None and math.prod(dims) >= 2
