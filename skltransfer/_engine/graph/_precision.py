"""The numbers of a graph in more bits or in fewer."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from skltransfer._engine.graph._editor import keep, replace
from skltransfer._engine.graph._read import bodies, inferred, tensors

if TYPE_CHECKING:
    import onnx


def float16_to_float32(model: onnx.ModelProto) -> None:
    """Turn every float16 tensor of a graph into float32, in place: weights, constants and casts."""
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
    _drop_idle_casts(model)


def _drop_idle_casts(model: onnx.ModelProto) -> None:
    """Leave out casts of weights to the type they have."""
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
    """Write down the type and shape of every tensor, in place: of some operators of 8 bits nobody can infer them."""
    known = inferred(model)
    del model.graph.value_info[:]
    model.graph.value_info.extend(known.graph.value_info)
    replace(model.graph.output, known.graph.output)
    return model


def with_old_names(model: onnx.ModelProto, names: Collection[str]) -> onnx.ModelProto:
    """Give tensors that were rounded the names they had before, in place.

    A tool that rounds ``x`` leaves that name to what goes into ``QuantizeLinear``, and drops activations before it,
    for rounding to a range from zero on does their work; what comes out of ``DequantizeLinear`` is what ``x`` was.
    """
    rounds = {node.input[0]: node.output[0] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    widens = {node.input[0]: node.output[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    outputs = {value.name for value in model.graph.output}
    new = {}
    for before, rounded in rounds.items():
        after = widens.get(rounded)
        if before in names and after is not None and not outputs & {before, after}:
            new.update({before: after, after: before})
    for node in model.graph.node:
        for side in (node.input, node.output):
            side[:] = [new.get(name, name) for name in side]
    for value in model.graph.value_info:
        value.name = new.get(value.name, value.name)
    return model
