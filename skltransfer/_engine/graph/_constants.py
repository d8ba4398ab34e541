"""Inputs that hold no samples: fixed by the card, or filled to try a graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from skltransfer._engine.graph._editor import INPUT, Editor
from skltransfer.cards import GraphInfo, InputInfo
from skltransfer.errors import CardError

if TYPE_CHECKING:
    import onnx


def model_inputs(model: onnx.ModelProto) -> list[str]:
    """Return the names of the inputs of a graph that are no weights."""
    fixed = {tensor.name for tensor in model.graph.initializer}
    return [value.name for value in model.graph.input if value.name not in fixed]


def fix_inputs(
    editor: Editor, inputs: Mapping[str, InputInfo], constants: Mapping[str, Any], samples: GraphInfo
) -> None:
    """Feed inputs with the constants of a card, stretched along the batch where they have such an axis.

    Parameters
    ----------
    editor : Editor
        Of the graph, cut at the layers.
    inputs : mapping of str to InputInfo
        The inputs that are left.
    constants : mapping of str to number or nested tuples of numbers
        Values by the name of the input.
    samples : GraphInfo
        With the input that holds samples.

    Raises
    ------
    CardError
        If a value does not fit the type or the shape of its input.
    """
    for name in constants.keys() & inputs.keys():
        value = _value(name, constants[name], inputs[name])
        shape = [_target(n, axis, inputs[name], samples) for axis, n in enumerate(inputs[name].shape)]
        _feed(editor, name, value, shape)


def _value(name: str, value: Any, info: InputInfo) -> npt.NDArray[Any]:
    """Return a constant in the type of its input, unchanged by the conversion."""
    misfit = CardError(f"constants[{name!r}] is {value!r}, and the graph's input is {info.dtype} {info.shape}.")
    try:
        given = np.array(value)
        cast = given.astype(info.dtype)
        np.broadcast_to(cast, tuple(n or 1 for n in info.shape))
    except (ValueError, TypeError, OverflowError) as err:
        raise misfit from err
    if given.dtype.kind not in "biuf" or not (cast.dtype.kind == "f" or (cast == given).all()):
        raise misfit
    return cast


def _target(length: int | None, axis: int, info: InputInfo, samples: GraphInfo) -> int | None:
    """Return the length of an axis of a fixed input; None for that of the batch, one for other free axes.

    Where axes have no names, the first free one is that of the batch: the states of a recurrent network have it second.
    """
    if length is not None:
        return length
    batch = samples.names[0]
    is_batch = info.names[axis] == batch if batch and any(info.names) else axis == info.shape.index(None)
    return None if is_batch else 1


def _feed(editor: Editor, name: str, value: npt.NDArray[Any], shape: Sequence[int | None]) -> None:
    """Add the nodes that make the input: a constant, stretched to its shape."""
    if None not in shape:
        editor.initialize(name, np.broadcast_to(value, [n or 1 for n in shape]).copy())
        return
    sizes = editor.add("Shape", INPUT, front=True)
    batch = editor.add("Gather", sizes, editor.const(np.array([0])), axis=0, front=True)
    parts = [batch if n is None else editor.const(np.array([n])) for n in shape]
    target = editor.add("Concat", *parts, axis=0, front=True)
    editor.add("Expand", editor.const(value), target, output=name, front=True)


def filled(model: onnx.ModelProto, info: GraphInfo, lengths: Sequence[int]) -> onnx.ModelProto:
    """Set further inputs of a backbone, such as a mask, to ones, so that it takes a single array.

    Parameters
    ----------
    model : onnx.ModelProto
        From `load`; changed in place.
    info : GraphInfo
        From `read`.
    lengths : sequence of int
        Shape of the array that it will be run with.
    """
    from onnx import numpy_helper

    for name in info.inputs.keys() - {info.input}:
        model.graph.initializer.append(numpy_helper.from_array(beside(info, name, lengths), name))
    return model


def beside(info: GraphInfo, name: str, lengths: Sequence[int]) -> npt.NDArray[Any]:
    """Return ones for an input, of the shape it has where the samples have certain lengths."""
    one, main = info.inputs[name], info.inputs[info.input]
    by_name = {symbol: n for symbol, n in zip(main.names, lengths, strict=True) if symbol}
    same = len(one.shape) == len(main.shape)
    shape = [
        n or by_name.get(symbol) or (lengths[axis] if same or axis == 0 else 1)
        for axis, (n, symbol) in enumerate(zip(one.shape, one.names, strict=True))
    ]
    return np.ones(shape, one.dtype or "float32")
