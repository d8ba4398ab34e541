"""The end of a graph: pooling of layers, concatenation, normalization."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from skltransfer._engine.graph._editor import OUTPUT, Editor, replace
from skltransfer._engine.graph._read import Shape
from skltransfer.errors import LayerError

#: Power of generalized-mean pooling, and the least value of an activation in it.
GEM_POWER = 3.0
GEM_FLOOR = 1e-6
#: Least norm that rows are divided by, so that rows of zeros stay zero.
NORM_FLOOR = 1e-12


def pooled_width(shape: Shape, pool: str, layout: str) -> int | None:
    """Return the number of columns of a pooled layer.

    Parameters
    ----------
    shape : tuple of int or None
        Shape of the layer, without the batch axis.
    pool, layout : str
        As in `cards.Recipe` and `cards.ImageSpec`.

    Returns
    -------
    int or None
        None if the graph leaves it open.
    """
    if len(shape) == 0:
        return 1
    if pool == "flatten":
        return None if None in shape else int(np.prod([n for n in shape if n is not None]))
    width = shape[0] if _channels_first(shape, layout) else shape[-1]
    if pool == "shared" and width is not None:
        return width * len(shared_pools(shape))
    return width


def shared_pools(shape: Shape) -> tuple[str, ...]:
    """Return the poolings that ``pool="shared"`` concatenates for a layer: the cheap ones.

    Parameters
    ----------
    shape : tuple of int or None
        Shape of the layer, without the batch axis.

    Returns
    -------
    tuple of str
        One empty name for a layer that needs no pooling.
    """
    return ("",) if len(shape) < 2 else ("mean", "max", "cls") if len(shape) == 2 else ("mean", "max")


def _channels_first(shape: Shape, layout: str) -> bool:
    return len(shape) >= 3 and layout == "NCHW"


def _pooled_axes(shape: Shape, layout: str) -> list[int]:
    """Return the axes to pool, counted with the batch axis: those of a map, or that of tokens."""
    rank = len(shape) + 1
    return list(range(2, rank)) if _channels_first(shape, layout) else list(range(1, rank - 1))


def append_pooling(
    editor: Editor, layers: Sequence[tuple[str, Shape]], pool: str, normalize: bool, layout: str
) -> None:
    """Add the nodes that pool every layer, concatenate the columns, and normalize the rows."""
    from onnx import TensorProto, helper

    rows = [_pooled(editor, name, shape, pool, layout) for name, shape in layers]
    row = rows[0] if len(rows) == 1 else editor.add("Concat", *rows, axis=1)
    if normalize:
        norm = editor.reduce("ReduceL2", row, [1], keepdims=True)
        row = editor.add("Div", row, editor.add("Max", norm, editor.const(np.array(NORM_FLOOR, np.float32))))
    editor.add("Identity", row, output=OUTPUT)
    replace(editor.graph.output, [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [editor.batch, None])])


def _pooled(editor: Editor, layer: str, shape: Shape, pool: str, layout: str) -> str:
    """Pool a layer to float32 (n, columns)."""
    from onnx import TensorProto

    tensor = editor.add("Cast", layer, to=TensorProto.FLOAT)
    if len(shape) == 0:
        return editor.add("Reshape", tensor, editor.const(np.array([-1, 1])))
    return tensor if len(shape) == 1 else POOLINGS[pool](editor, tensor, shape, layout)


def _mean(editor: Editor, tensor: str, shape: Shape, layout: str) -> str:
    """Mean over a map or over tokens, without padding."""
    if editor.mask is None or len(shape) != 2:
        return editor.reduce("ReduceMean", tensor, _pooled_axes(shape, layout))
    count = editor.add("MatMul", editor.row(editor.mask), editor.column(editor.mask))
    least = editor.add("Max", editor.flat(count), editor.const(np.array(1, np.float32)))
    return editor.add("Div", _weighted_sum(editor, editor.mask, tensor), least)


def _weighted_sum(editor: Editor, weights: str, tensor: str) -> str:
    """Sum (n, tokens, d) over tokens with weights (n, tokens)."""
    return editor.flat(editor.add("MatMul", editor.row(weights), tensor))


def _max(editor: Editor, tensor: str, shape: Shape, layout: str) -> str:
    """Maximum over a map or over tokens, without padding."""
    if editor.mask is not None and len(shape) == 2:
        lowest = editor.const(np.array(np.finfo(np.float32).min, np.float32))
        real = editor.add("Greater", editor.column(editor.mask), editor.const(np.array(0, np.float32)))
        tensor = editor.add("Where", real, tensor, lowest)
    return editor.reduce("ReduceMax", tensor, _pooled_axes(shape, layout))


def _gem(editor: Editor, tensor: str, shape: Shape, layout: str) -> str:
    """Generalized mean: the cube root of the mean of cubes of the positive parts."""
    power, root = (editor.const(np.array(p, np.float32)) for p in (GEM_POWER, 1 / GEM_POWER))
    positive = editor.add("Max", tensor, editor.const(np.array(GEM_FLOOR, np.float32)))
    return editor.add("Pow", _mean(editor, editor.add("Pow", positive, power), shape, layout), root)


def _cls(editor: Editor, tensor: str, shape: Shape, layout: str) -> str:
    """First token of a sequence."""
    _check_sequence("cls", shape)
    return editor.add("Gather", tensor, editor.const(np.array(0)), axis=1)


def _last(editor: Editor, tensor: str, shape: Shape, layout: str) -> str:
    """Last token of a sequence that is not padding."""
    _check_sequence("last", shape)
    if editor.mask is None:
        return editor.add("Gather", tensor, editor.const(np.array(-1)), axis=1)
    position = editor.add("CumSum", editor.mask, editor.const(np.array(1)))
    count = editor.reduce("ReduceMax", position, [1], keepdims=True)
    ends = editor.add("Cast", editor.add("Equal", position, count), to=1)
    return _weighted_sum(editor, editor.add("Mul", ends, editor.mask), tensor)


def _flatten(editor: Editor, tensor: str, shape: Shape, layout: str) -> str:
    """All numbers of a sample, whose count must be the same for every sample."""
    if editor.mask is not None:
        raise LayerError("pool='flatten' would give rows of different lengths for texts; pass pool='mean' or 'max'.")
    return editor.add("Flatten", tensor, axis=1)


def _shared(editor: Editor, tensor: str, shape: Shape, layout: str) -> str:
    """Several poolings, concatenated."""
    rows = [POOLINGS[pool](editor, tensor, shape, layout) for pool in shared_pools(shape)]
    return editor.add("Concat", *rows, axis=1)


def _check_sequence(pool: str, shape: Shape) -> None:
    if len(shape) != 2:
        which = {"cls": "first", "last": "last"}[pool]
        raise LayerError(
            f"pool={pool!r} takes the {which} token of a sequence (n, tokens, columns); this layer has the shape "
            f"{('n', *shape)}. Pass pool='mean' or 'max'."
        )


POOLINGS: dict[str, Callable[[Editor, str, Shape, str], str]] = {
    "mean": _mean,
    "max": _max,
    "cls": _cls,
    "last": _last,
    "gem": _gem,
    "flatten": _flatten,
    "shared": _shared,
}
