"""Squeeze without axes: it would drop the batch axis of a single sample, and nobody could tell its shape."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skltransfer._engine.graph._editor import opset

if TYPE_CHECKING:
    import onnx

#: First operator set in which the axes are an input.
AXES_AS_INPUT = 13


def name_squeezed_axes(model: onnx.ModelProto) -> None:
    """Write into every Squeeze of a graph with a free batch which axes it drops: those of length one, in place.

    Parameters
    ----------
    model : onnx.ModelProto
        From a file. A Squeeze whose input has no known shape, or no free first axis, is left alone.
    """
    from onnx import numpy_helper

    from skltransfer._engine.graph._facts import dims, inferred

    for _ in range(sum(map(_is_open, model.graph.node))):  # the shape behind one is known once it has axes
        bare = inferred(model).graph
        known = {value.name: dims(value) for value in (*bare.value_info, *bare.input)}
        found = [(node, known.get(node.input[0])) for node in model.graph.node if _is_open(node)]
        if not (certain := [(node, shape) for node, shape in found if shape and isinstance(shape[0], str)]):
            return
        for node, shape in certain:
            axes = [axis for axis, length in enumerate(shape) if length == 1]
            if opset(model) < AXES_AS_INPUT:
                node.attribute.append(_ints("axes", axes))
                continue
            name = f"{node.output[0]}_skltransfer_axes"
            model.graph.initializer.append(numpy_helper.from_array(np.array(axes, np.int64), name))
            node.input[1:] = [name]


def _is_open(node: onnx.NodeProto) -> bool:
    return bool(
        node.op_type == "Squeeze"
        and not any(node.input[1:])
        and not any(attribute.name == "axes" for attribute in node.attribute)
    )


def _ints(name: str, values: list[int]) -> onnx.AttributeProto:
    from onnx import helper

    return helper.make_attribute(name, values, attr_type=7)
