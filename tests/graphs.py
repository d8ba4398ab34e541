"""Tiny graphs of our own suite, beside those of `skltransfer.testing`: rows that depend on mates, heavy, slow, ..."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper

from skltransfer.testing import SIDE, array_backbone, image_backbone, image_rows, make_graph, save_backbone

node = helper.make_node


def model(
    nodes: Sequence[onnx.NodeProto], shape: Sequence[str | int | None], output: str, *, dtype: int = 1, **choices: Any
) -> onnx.ModelProto:
    """Build a graph with the input ``x`` and one output, both of one of ONNX's types, float32 unless told otherwise."""
    kind = helper.tensor_dtype_to_np_dtype(dtype)
    return make_graph(nodes, {"x": (kind, shape)}, output, dtype=kind, **choices)


# ---------------------------------------------------------------------------------------------------------------------
# Images


def channel_means(side: int | str = SIDE, layout: str = "NCHW", batch: int | str = "n", **kind: Any) -> onnx.ModelProto:
    """Layers: ``map``, the input; ``embedding``, the mean of each channel."""
    shape, axes = ([batch, 3, side, side], [2, 3]) if layout == "NCHW" else ([batch, side, side, 3], [1, 2])
    nodes = [node("Identity", ["x"], ["map"]), node("ReduceMean", ["map"], ["embedding"], axes=axes, keepdims=0)]
    return model(nodes, shape, "embedding", **kind)


def deep(depth: int = 8, width: int = 16) -> onnx.ModelProto:
    """Random convolutions one after the other; layers ``act_1`` ... are what comes out of each after ``Relu``."""
    random, nodes, weights, into = np.random.default_rng(0), [], {}, "x"
    for i in range(1, depth + 1):
        channels = 3 if i == 1 else width
        kernel = random.normal(0, np.sqrt(2 / (9 * channels)), (width, channels, 3, 3)) / (128 if i == 1 else 1)
        weights |= {f"kernel_{i}": kernel.astype(np.float32), f"bias_{i}": random.normal(size=width).astype(np.float32)}
        nodes.append(node("Conv", [into, f"kernel_{i}", f"bias_{i}"], [f"conv_{i}"], pads=[1, 1, 1, 1]))
        nodes.append(node("Relu", [f"conv_{i}"], [into := f"act_{i}"]))
    nodes += [node("GlobalAveragePool", [into], ["pooled"]), node("Flatten", ["pooled"], ["embedding"])]
    return model(nodes, ["n", 3, SIDE, SIDE], "embedding", **weights)


def raw_pixels(side: int = SIDE, layout: str = "NCHW") -> onnx.ModelProto:
    """Give the input back, flattened: what the preparation made of the pixels."""
    shape = ["n", 3, side, side] if layout == "NCHW" else ["n", side, side, 3]
    return model([node("Identity", ["x"], ["map"]), node("Flatten", ["map"], ["embedding"])], shape, "embedding")


def with_table() -> onnx.ModelProto:
    """Add a table of positions, of the size the graph was made for; layer ``embedding``: the means of its maps."""
    table = np.arange(3 * SIDE * SIDE, dtype=np.float32).reshape(1, 3, SIDE, SIDE)
    nodes = [
        node("Add", ["x", "table"], ["placed"]),
        node("ReduceMean", ["placed"], ["embedding"], axes=[2, 3], keepdims=0),
    ]
    return model(nodes, ["n", 3, SIDE, SIDE], "embedding", table=table)


def mates(batch: int | str = "n") -> onnx.ModelProto:
    """Twice the channel means less those of the whole batch: rows depend on their batch mates. Alone, the means."""
    nodes = [
        node("ReduceMean", ["x"], ["means"], axes=[2, 3], keepdims=0),
        node("ReduceMean", ["means"], ["mates"], axes=[0], keepdims=1),
        node("Add", ["means", "means"], ["twice"]),
        node("Sub", ["twice", "mates"], ["embedding"]),
    ]
    return model(nodes, [batch, 3, SIDE, SIDE], "embedding")


def slow(rounds: int = 1000) -> onnx.ModelProto:
    """Channel means after many rounds of work that change nothing: multiplications by a unit matrix."""
    nodes = [node("MatMul", ["x", "tiled"], ["m0"])]
    nodes += [node("MatMul", [f"m{i}", "unit"], [f"m{i + 1}"]) for i in range(rounds)]
    nodes += [node("ReduceMean", [f"m{rounds}"], ["embedding"], axes=[2, 3], keepdims=0)]
    weights = {"tiled": np.tile(np.eye(SIDE), 64).astype(np.float32), "unit": np.eye(64 * SIDE, dtype=np.float32)}
    return model(nodes, ["n", 3, SIDE, SIDE], "embedding", **weights)


def save_images(folder: Path, graph: onnx.ModelProto | None = None, name: str = "tiny", **changes: Any) -> str:
    """Write a backbone of images, `image_backbone` unless told otherwise, whose embedding is the layer of that name."""
    return str(save_backbone(graph or image_backbone(), folder, name, **{"layer": "embedding", **changes}))


def means(images: Sequence[np.ndarray]) -> np.ndarray:
    """Compute the mean of each channel: the embeddings of `channel_means`, `mates` and `slow`."""
    return image_rows(images)[:, :3]  # the fourth is their sum


# ---------------------------------------------------------------------------------------------------------------------
# Numbers


def save_numbers(folder: Path) -> str:
    """Write the backbone that doubles any number of numbers."""
    return str(save_backbone(array_backbone("features"), folder, "numbers"))


def tokens() -> onnx.ModelProto:
    """Two numbers to a sequence of three tokens of width two, ``x``, ``2x`` and ``3x``: the layer ``tokens``."""
    nodes = [node("Unsqueeze", ["x", "axis"], ["column"]), node("Mul", ["column", "times"], ["tokens"])]
    times = np.array([1, 2, 3], np.float32).reshape(1, 3, 1)
    return model(nodes, ["n", 2], "tokens", axis=np.array([1]), times=times)


def products(k: int = 40, n: int = 48, depth: int = 3) -> onnx.ModelProto:
    """Numbers times random matrices, with a hyperbolic tangent after each: layers ``act_1`` ..."""
    random, nodes, weights, into = np.random.default_rng(0), [], {}, "x"
    for i in range(1, depth + 1):
        weights[f"matrix_{i}"] = random.normal(0, 0.2, (k if i == 1 else n, n)).astype(np.float32)
        nodes.append(node("MatMul", [into, f"matrix_{i}"], [f"product_{i}"]))
        nodes.append(node("Tanh", [f"product_{i}"], [into := f"act_{i}"]))
    return model(nodes, ["n", k], into, **weights)


def normalized_sum(columns: int = 8) -> onnx.ModelProto:
    """Build what transformers end their blocks with: a sum of two branches and its normalization."""
    nodes = [
        node("Relu", ["x"], ["branch"]),
        node("Sigmoid", ["x"], ["other"]),
        node("Add", ["branch", "other"], ["sum"]),
        node("LayerNormalization", ["sum", "scale", "shift"], ["normalized"], axis=-1),
        node("Relu", ["normalized"], ["embedding"]),
    ]
    weights = {"scale": np.ones(columns, np.float32), "shift": np.zeros(columns, np.float32)}
    return model(nodes, ["n", 5, columns], "embedding", **weights)


def statistics() -> onnx.ModelProto:
    """Mean, maximum and minimum of any number of features."""
    nodes = [node(f"Reduce{what}", ["x"], [what], axes=[1], keepdims=1) for what in ("Mean", "Max", "Min")]
    return model([*nodes, node("Concat", ["Mean", "Max", "Min"], ["rows"], axis=1)], ["n", "features"], "rows")


def heavy(megabytes: int = 64) -> onnx.ModelProto:
    """Four numbers, and weights that change nothing: their product with them is taken away from itself."""
    large = np.random.default_rng(0).standard_normal((4, megabytes * 2**16), np.float32)
    nodes = [
        node("MatMul", ["x", "large"], ["wide"]),
        node("ReduceMax", ["wide"], ["most"], axes=[1]),
        node("Sub", ["most", "most"], ["nothing"]),
        node("Add", ["x", "nothing"], ["rows"]),
    ]
    return model(nodes, ["n", 4], "rows", large=large)


def vector() -> onnx.ModelProto:
    """One number per sample, without an axis: the sum of two."""
    return model([node("ReduceSum", ["x", "axis"], ["rows"], keepdims=0)], ["n", 2], "rows", axis=np.array([1]))


def frozen(kind: str = "sound", batch: int = 1) -> onnx.ModelProto:
    """Twice four numbers, exported for one batch size.

    Kinds: ``sound``, a reshape repeats the batch size; ``values``, the same in a Constant node of integers; ``fails``,
    a reshape to one dimension, which a larger batch does not fit; ``mixes``, the mean over the batch is subtracted and
    added in a way that only one sample undoes; ``sums``, rows are added up.
    """
    shape = np.array([batch, 2, 2])
    flat = {"back": np.array([batch, 4])}
    forms: dict[str, tuple[list[onnx.NodeProto], dict[str, np.ndarray]]] = {
        "sound": ([node("Reshape", ["y", "square"], ["z"]), node("Reshape", ["z", "back"], ["rows"])], flat),
        "values": (
            [
                node("Constant", [], ["square"], value_ints=shape.tolist()),
                node("Reshape", ["y", "square"], ["z"]),
                node("Reshape", ["z", "back"], ["rows"]),
            ],
            flat,
        ),
        "fails": (
            [node("Reshape", ["y", "line"], ["z"]), node("Reshape", ["z", "back"], ["rows"])],
            {"line": np.array([4 * batch]), **flat},
        ),
        "mixes": (
            [
                node("ReduceMean", ["y"], ["mean"], axes=[0], keepdims=1),
                node("Add", ["mean", "mean"], ["two"]),
                node("Sub", ["two", "y"], ["rows"]),
            ],
            {},
        ),
        "sums": ([node("ReduceSum", ["y", "axis"], ["rows"], keepdims=1)], {"axis": np.array([0])}),
    }
    nodes, weights = forms[kind]
    weights |= {"square": shape} if kind == "sound" else {}
    return model([node("Add", ["x", "x"], ["y"]), *nodes], [batch, 4], "rows", **weights)


def quantized() -> onnx.ModelProto:
    """The numbers to 8 bits and back, in steps that depend on the whole batch: a row depends on its batch mates."""
    nodes = [
        node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"]),
        node("DequantizeLinear", ["q", "scale", "zero"], ["rows"]),
    ]
    return model(nodes, ["n", "features"], "rows")


def random_rows() -> onnx.ModelProto:
    """Noise: other rows at every run."""
    nodes = [node("RandomNormalLike", ["x"], ["noise"]), node("Add", ["x", "noise"], ["rows"])]
    return model(nodes, ["n", 4], "rows")


def not_finite() -> onnx.ModelProto:
    """The logarithm of a negative number: NaN in every row."""
    nodes = [node("Abs", ["x"], ["a"]), node("Neg", ["a"], ["b"]), node("Sub", ["b", "one"], ["c"])]
    return model([*nodes, node("Log", ["c"], ["rows"])], ["n", 4], "rows", one=np.array(1, np.float32))


def constant() -> onnx.ModelProto:
    """Ones, whatever the sample."""
    nodes = [node("Mul", ["x", "zero"], ["nothing"]), node("Add", ["nothing", "one"], ["rows"])]
    return model(nodes, ["n", 4], "rows", zero=np.array(0, np.float32), one=np.array(1, np.float32))
