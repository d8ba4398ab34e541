"""Graphs that tell the shapes of their tensors when they are run, where inference cannot tell them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from skltransfer._engine.graph._cut import cut
from skltransfer.cards import Shape

if TYPE_CHECKING:
    import onnx

#: Begins the names of the tensors that hold shapes.
SHAPE_OF = "skltransfer_shape_of_"
#: Length of a first axis that varies, and is not that of the batch.
NOT_SAMPLES = -1


def shaped(model: onnx.ModelProto, names: Sequence[str]) -> onnx.ModelProto:
    """Cut a graph at tensors, and add the shape of each to its outputs.

    Parameters
    ----------
    model : onnx.ModelProto
        From `load`; changed in place.
    names : sequence of str
        Of the tensors. Shapes are outputs too, called `SHAPE_OF` and the name.
    """
    import onnx

    cut(model, names)
    for name in names:
        model.graph.node.append(onnx.helper.make_node("Shape", [name], [SHAPE_OF + name]))
        model.graph.output.append(onnx.helper.make_tensor_value_info(SHAPE_OF + name, onnx.TensorProto.INT64, None))
    return model


def shapes_of(
    names: Sequence[str], types: Mapping[str, str], runs: Sequence[tuple[int, Mapping[str, npt.NDArray[Any]]]]
) -> dict[str, tuple[str, Shape]]:
    """Compare the shapes that several runs have told.

    Parameters
    ----------
    names : sequence of str
        Tensors.
    types : mapping of str to str
        NumPy's name of their types.
    runs : sequence of (int, mapping)
        The batch size of each run, and the shape of every tensor in it.

    Returns
    -------
    dict of str to (str, tuple)
        Type and shape of each tensor that all runs have told; None for a length that differed, and `NOT_SAMPLES` for a
        first one that differed and was not that of the batch.
    """
    found = {}
    for name in names:
        each = [tuple(map(int, told[name])) for _, told in runs]
        if len({len(shape) for shape in each}) > 1:
            continue
        shape = [n[0] if len(set(n)) == 1 else None for n in zip(*each, strict=True)]
        if shape and shape[0] is None and any(own[0] != batch for own, (batch, _) in zip(each, runs, strict=True)):
            shape[0] = NOT_SAMPLES
        found[name] = types[name], tuple(shape)
    return found
