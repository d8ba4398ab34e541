"""The end of a graph: layers pooled to rows, put side by side, scaled; or left as maps and sequences."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np

from skltransfer._engine.graph._editor import OUTPUT, Editor, replace
from skltransfer.cards import Axes, Recipe, Shape
from skltransfer.errors import LayerError

#: Power of generalized-mean pooling, and the least value of an activation in it.
GEM_POWER = 3.0
GEM_FLOOR = 1e-6
#: Least norm that rows are divided by, so that rows of zeros stay zero.
NORM_FLOOR = 1e-12

# ---------------------------------------------------------------------------------------------------------------------
# Shapes


def row_shape(shape: Shape, pool: str, axes: Axes) -> Shape:
    """Compute the shape of a layer's row.

    Parameters
    ----------
    shape : tuple of int or None
        The layer's shape after the batch axis.
    pool : str
        As in `cards.Recipe`.
    axes : tuple of int
        Axes that pooling reduces, the batch axis being 0.

    Returns
    -------
    tuple of int or None
        One axis, or with ``pool="none"`` the channels and places of a map, the tokens and channels of a sequence. None
        for a length that the graph does not say.
    """
    if len(shape) == 0:
        return (1,)
    if len(shape) == 1:
        return shape
    if pool == "flatten":
        return (None if None in shape else int(np.prod([n for n in shape if n is not None])),)
    if pool == "none":
        return tuple(shape[axis - 1] for axis in _kept_order(len(shape) + 1, axes)[1:])
    width = shape[_channel_axis(len(shape) + 1, axes) - 1]
    return (width * len(shared_pools(shape)) if pool == "shared" and width is not None else width,)


def joined_shape(parts: Sequence[Shape]) -> tuple[int, ...] | None:
    """Compute the shape of rows side by side; None if a length is unknown."""
    channels = 0 if len(parts[0]) != 2 else 1
    lengths = [*parts[0]]
    lengths[channels] = None if any(p[channels] is None for p in parts) else sum(p[channels] or 0 for p in parts)
    return None if None in lengths else tuple(n for n in lengths if n is not None)


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


def _channel_axis(rank: int, axes: Axes) -> int:
    """Return the axis that is neither the batch nor reduced."""
    (channel,) = set(range(1, rank)) - set(axes)
    return channel


def _kept_order(rank: int, axes: Axes) -> list[int]:
    """Return the order of axes of a map or sequence that is kept: channels first in maps, last in sequences."""
    channel = _channel_axis(rank, axes)
    return [0, *axes, channel] if rank == 3 else [0, channel, *axes]


# ---------------------------------------------------------------------------------------------------------------------
# Refusals


def check_pool(pool: str, layer: str, shape: Shape, *, padded: bool) -> None:
    """Refuse a pooling that a layer cannot have.

    Parameters
    ----------
    pool : str
        As in `cards.Recipe`.
    layer : str
        Its name.
    shape : tuple of int or None
        Its shape after the batch axis.
    padded : bool
        Whether samples are padded to the longest of their batch.

    Raises
    ------
    LayerError
        With the shape, and a pooling that fits.
    """
    if pool in ("cls", "last") and len(shape) not in (0, 1, 2):
        which = {"cls": "first", "last": "last"}[pool]
        raise LayerError(
            f"pool={pool!r} takes the {which} token of a sequence; layer {layer!r} has the shape {('n', *shape)}. Use "
            "pool='mean' or 'max'."
        )
    if pool == "flatten" and padded and len(shape) > 1:
        raise LayerError("pool='flatten' would give rows of different lengths for texts; pass pool='mean' or 'max'.")
    if pool == "none" and padded and len(shape) > 2:
        raise LayerError(f"pool='none' keeps (tokens, channels) of texts; layer {layer!r} has the shape {shape}.")


def check_same_places(layers: Sequence[str], shapes: Sequence[Shape], axes: Sequence[Axes]) -> None:
    """Refuse maps of different sizes side by side.

    Raises
    ------
    LayerError
        With the shapes.
    """
    places = {tuple(shape[axis - 1] for axis in reduced) for shape, reduced in zip(shapes, axes, strict=True)}
    if len(places) > 1 or len({len(shape) for shape in shapes}) > 1:
        listed = ", ".join(f"{name} {shape}" for name, shape in zip(layers, shapes, strict=True))
        raise LayerError(f"pool='none' puts layers of the same height and width side by side, not {listed}.")


# ---------------------------------------------------------------------------------------------------------------------
# Nodes


def append_pooling(editor: Editor, recipe: Recipe, shapes: Sequence[Shape], bare: Collection[str] = ()) -> None:
    """Pool every layer, put the rows side by side, scale them.

    Parameters
    ----------
    editor : Editor
        Of the graph, cut at the layers.
    recipe : Recipe
        Its layers, pool, axes and normalize.
    shapes : sequence
        Of the layers, after the batch axis.
    bare : collection of str
        Layers that have none: rows of a single sample.
    """
    from onnx import TensorProto, helper

    flat = {
        name: editor.add("Reshape", name, editor.const(np.array([1, -1]))) for name in recipe.layers if name in bare
    }
    rows = [
        _pooled(editor, flat.get(name, name), shape, recipe.pool, axes)
        for name, shape, axes in zip(recipe.layers, shapes, recipe.axes, strict=True)
    ]
    rank = max(len(shape) for shape in shapes) + 1 if recipe.pool == "none" else 2
    channels = 2 if rank == 3 else 1
    row = rows[0] if len(rows) == 1 else editor.add("Concat", *rows, axis=channels)
    if recipe.normalize:
        norm = editor.reduce("ReduceL2", row, [channels], keepdims=True)
        row = editor.add("Div", row, editor.add("Max", norm, editor.const(np.array(NORM_FLOOR, np.float32))))
    editor.add("Identity", row, output=OUTPUT)
    shape = [editor.batch, *[None] * (max(rank, 2) - 1)]
    replace(editor.graph.output, [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, shape)])


def _pooled(editor: Editor, layer: str, shape: Shape, pool: str, axes: Axes) -> str:
    """Add the nodes that turn one layer into float32 (n, ...)."""
    tensor = editor.cast(layer, "float32")
    if len(shape) == 0:
        return editor.add("Reshape", tensor, editor.const(np.array([-1, 1])))
    if axes == (2,) and pool != "flatten":  # a sequence with channels before its places, as Conv makes it
        tensor, shape, axes = editor.add("Transpose", tensor, perm=[0, 2, 1]), shape[::-1], (1,)
    return tensor if len(shape) == 1 else POOLINGS[pool](editor, tensor, shape, axes)


def _mean(editor: Editor, tensor: str, shape: Shape, axes: Axes) -> str:
    """Mean over places or tokens, padding left out."""
    if editor.mask is None or len(shape) != 2:
        return editor.reduce("ReduceMean", tensor, axes)
    count = editor.add("MatMul", editor.row(editor.mask), editor.column(editor.mask))
    least = editor.add("Max", editor.flat(count), editor.const(np.array(1, np.float32)))
    return editor.add("Div", _weighted_sum(editor, editor.mask, tensor), least)


def _weighted_sum(editor: Editor, weights: str, tensor: str) -> str:
    """Sum (n, tokens, d) over tokens with weights (n, tokens)."""
    return editor.flat(editor.add("MatMul", editor.row(weights), tensor))


def _max(editor: Editor, tensor: str, shape: Shape, axes: Axes) -> str:
    """Maximum over places or tokens, padding left out."""
    if editor.mask is not None and len(shape) == 2:
        lowest = editor.const(np.array(np.finfo(np.float32).min, np.float32))
        real = editor.add("Greater", editor.column(editor.mask), editor.const(np.array(0, np.float32)))
        tensor = editor.add("Where", real, tensor, lowest)
    return editor.reduce("ReduceMax", tensor, axes)


def _gem(editor: Editor, tensor: str, shape: Shape, axes: Axes) -> str:
    """Generalized mean: the cube root of the mean of cubes, negative values cut."""
    power, root = (editor.const(np.array(p, np.float32)) for p in (GEM_POWER, 1 / GEM_POWER))
    positive = editor.add("Max", tensor, editor.const(np.array(GEM_FLOOR, np.float32)))
    return editor.add("Pow", _mean(editor, editor.add("Pow", positive, power), shape, axes), root)


def _cls(editor: Editor, tensor: str, shape: Shape, axes: Axes) -> str:
    """First token of a sequence."""
    return editor.add("Gather", tensor, editor.const(np.array(0)), axis=1)


def _last(editor: Editor, tensor: str, shape: Shape, axes: Axes) -> str:
    """Last token of a sequence that is no padding."""
    if editor.mask is None:
        return editor.add("Gather", tensor, editor.const(np.array(-1)), axis=1)
    position = editor.add("CumSum", editor.mask, editor.const(np.array(1)))
    count = editor.reduce("ReduceMax", position, [1], keepdims=True)
    ends = editor.cast(editor.add("Equal", position, count), "float32")
    return _weighted_sum(editor, editor.add("Mul", ends, editor.mask), tensor)


def _flatten(editor: Editor, tensor: str, shape: Shape, axes: Axes) -> str:
    """Everything, which must be the same number for every sample."""
    return editor.add("Flatten", tensor, axis=1)


def _none(editor: Editor, tensor: str, shape: Shape, axes: Axes) -> str:
    """Map (n, channels, places...) or sequence (n, tokens, channels), as it is."""
    order = _kept_order(len(shape) + 1, axes)
    return tensor if order == sorted(order) else editor.add("Transpose", tensor, perm=order)


def _shared(editor: Editor, tensor: str, shape: Shape, axes: Axes) -> str:
    """Several poolings side by side."""
    rows = [POOLINGS[pool](editor, tensor, shape, axes) for pool in shared_pools(shape)]
    return editor.add("Concat", *rows, axis=1)


POOLINGS: dict[str, Callable[[Editor, str, Shape, Axes], str]] = {
    "mean": _mean,
    "max": _max,
    "cls": _cls,
    "last": _last,
    "gem": _gem,
    "flatten": _flatten,
    "none": _none,
    "shared": _shared,
}
