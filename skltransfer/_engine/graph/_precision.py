"""Types of the tensors of a graph: float16 to float32, and names and types around quantization tools."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from skltransfer._engine.graph._editor import keep, replace
from skltransfer._engine.graph._facts import inferred
from skltransfer._engine.graph._read import bodies, tensors

if TYPE_CHECKING:
    import onnx


def float16_to_float32(model: onnx.ModelProto) -> None:
    """Convert every float16 tensor of a graph to float32, in place: weights, constants and casts."""
    from onnx import TensorProto, numpy_helper

    for tensor in tensors(model):
        if tensor.data_type == TensorProto.FLOAT16:
            wide = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(wide, tensor.name))
    for body in bodies(model):
        for value in (*getattr(body, "value_info", ()), *getattr(body, "input", ()), *getattr(body, "output", ())):
            if not isinstance(value, str) and value.type.tensor_type.elem_type == TensorProto.FLOAT16:
                value.type.tensor_type.elem_type = TensorProto.FLOAT
        for node in body.node:
            for attribute in node.attribute:
                if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT16:
                    attribute.i = TensorProto.FLOAT
    _remove_identity_casts(model)


def _remove_identity_casts(model: onnx.ModelProto) -> None:
    """Remove casts of weights to the type they have."""
    kinds = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    idle = {
        node.output[0]: node.input[0]
        for node in model.graph.node
        if node.op_type == "Cast" and kinds.get(node.input[0]) == node.attribute[0].i
    }
    outputs = {value.name for value in model.graph.output}
    keep(model.graph.node, lambda node: node.output[0] not in idle or node.output[0] in outputs)
    for body in bodies(model):
        for node in body.node:
            node.input[:] = [idle.get(name, name) for name in node.input]


def typed(model: onnx.ModelProto) -> onnx.ModelProto:
    """Record the inferred type and shape of every tensor, in place: after quantization some cannot be inferred."""
    known = inferred(model)
    del model.graph.value_info[:]
    model.graph.value_info.extend(known.graph.value_info)
    replace(model.graph.output, known.graph.output)
    return model


def with_old_names(model: onnx.ModelProto, names: Collection[str]) -> onnx.ModelProto:
    """Rename the tensors of a quantized graph, in place, so that a layer's name means what it meant before.

    The tool leaves the name ``x`` to the input of ``QuantizeLinear``. It also removes a ReLU before it, because
    rounding to a range that starts at zero has the same effect. So the values of the original ``x`` are the output of
    ``DequantizeLinear``, and the two names are swapped.
    """
    quantized = {node.input[0]: node.output[0] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    dequantized = {node.input[0]: node.output[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    outputs = {value.name for value in model.graph.output}
    new = {}
    for before, rounded in quantized.items():
        after = dequantized.get(rounded)
        if before in names and after is not None and not outputs & {before, after}:
            new.update({before: after, after: before})
    for node in model.graph.node:
        for side in (node.input, node.output):
            side[:] = [new.get(name, name) for name in side]
    for value in model.graph.value_info:
        value.name = new.get(value.name, value.name)
    return model
