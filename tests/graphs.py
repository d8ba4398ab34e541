"""The fake engine: tiny ONNX graphs, built in memory, whose rows can be worked out by hand.

Every function gives an ``onnx.ModelProto``; `save` writes it beside a card and gives the path, which is what
``PretrainedEmbedder(model=...)`` and ``load_card`` take. Images are `SIDE` pixels high and wide unless said otherwise.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from skltransfer import load_card
from skltransfer._engine import hub
from skltransfer.cards import Card, ModelFile, card_path

SIDE = 8
#: Weights of the 1 x 1 convolution of `conv`: its maps are red, green, blue and their sum.
MIX = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]], np.float32)
#: Files whose reading would be a hole hold this.
CANARY = np.array([6.0, 6.0], np.float32)

node = helper.make_node


def model(
    nodes: Sequence[onnx.NodeProto],
    shape: Sequence[str | int | None],
    output: str,
    *,
    dtype: int = TensorProto.FLOAT,
    opset: int = 17,
    functions: Sequence[onnx.FunctionProto] = (),
    domains: Sequence[str] = (),
    **weights: np.ndarray,
) -> onnx.ModelProto:
    """Make a graph with the input ``x`` and one output, whose shape ONNX infers."""
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", dtype, shape)],
        [helper.make_tensor_value_info(output, dtype, None)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    opsets = [helper.make_opsetid(domain, 1) for domain in domains] + [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, functions=functions, ir_version=10 if functions else 8)


def save(
    graph: onnx.ModelProto,
    folder: Path,
    name: str = "tiny",
    *,
    files: Sequence[str] = (),
    pin: bool = True,
    **changes: Any,
) -> Path:
    """Write a graph and its card, and give the path of the graph.

    Parameters
    ----------
    graph : onnx.ModelProto
        Of this module.
    folder, name
        Where to: ``folder/NAME.onnx`` and ``folder/NAME.card.json``.
    files : sequence of str
        External data files, already in the folder, that the card lists and pins.
    pin : bool
        Whether to write a card at all; pinning here needs no child process, hence is fast.
    **changes
        As in ``load_card``; images are taken raw and squashed unless said otherwise.
    """
    path = folder / f"{name}.onnx"
    path.write_bytes(graph.SerializeToString())
    if pin:
        card_path(path).write_text(json.dumps(card(path, *files, **changes).to_dict()))
    return path


def card(path: Path, *files: str, **changes: Any) -> Card:
    """Make the pinned card of a graph on disk, completed from the graph in this process."""
    pinned = {role: _pinned(path.parent / role) for role in files}
    bare = Card(path.stem, "", {"model": _pinned(path), **pinned}, folder=path.parent)
    defaults = {"preset": "raw", "resize": "squash"} if _takes_images(path) else {}
    return load_card(bare, **{**defaults, **changes})


def _takes_images(path: Path) -> bool:
    graph = onnx.load(path, load_external_data=False).graph
    return len(graph.input[0].type.tensor_type.shape.dim) == 4


def _pinned(path: Path) -> ModelFile:
    return ModelFile(path.name, hub.sha256(path), path.stat().st_size)


def unpinned(card: Card) -> Card:
    """Forget the hashes of a card."""
    files = {role: dataclasses.replace(file, sha256=None) for role, file in card.files.items()}
    return dataclasses.replace(card, files=files)


# ---------------------------------------------------------------------------------------------------------------------
# Images


def channel_means(side: int | str = SIDE, layout: str = "NCHW", batch: int | str = "n", **kind: Any) -> onnx.ModelProto:
    """Layers: ``map``, the input; ``embedding``, the mean of each channel."""
    shape, axes = ([batch, 3, side, side], [2, 3]) if layout == "NCHW" else ([batch, side, side, 3], [1, 2])
    nodes = [node("Identity", ["x"], ["map"]), node("ReduceMean", ["map"], ["embedding"], axes=axes, keepdims=0)]
    return model(nodes, shape, "embedding", **kind)


def conv(side: int | str = SIDE, dtype: int = TensorProto.FLOAT, batch: int | str = "n") -> onnx.ModelProto:
    """Layers: ``map`` (4 maps, see `MIX`), ``embedding`` (their means), ``logits``, the output: twice the means."""
    kind = helper.tensor_dtype_to_np_dtype(dtype)
    nodes = [
        node("Conv", ["x", "mix"], ["map"]),
        node("GlobalAveragePool", ["map"], ["pooled"]),
        node("Flatten", ["pooled"], ["embedding"]),
        node("Mul", ["embedding", "two"], ["logits"]),
    ]
    weights = {"mix": MIX.reshape(4, 3, 1, 1).astype(kind), "two": np.array(2, kind)}
    return model(nodes, [batch, 3, side, side], "logits", dtype=dtype, **weights)


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
    """Write a backbone of images, `conv` unless told otherwise, whose embedding is the layer of that name."""
    return str(save(graph or conv(), folder, name, **{"layer": "embedding", **changes}))


def pictures(n: int, seed: int = 0) -> list[np.ndarray]:
    """Make n images of noise, different from each other, of the size the backbones take."""
    return list(np.random.default_rng(seed).integers(0, 256, (n, SIDE, SIDE, 3), dtype=np.uint8))


def means(images: Sequence[np.ndarray]) -> np.ndarray:
    """Compute the mean of each channel: the embeddings of `channel_means`, `mates` and `slow`."""
    return np.array([image.reshape(-1, 3).mean(axis=0) for image in images], np.float32)


def expected(images: Sequence[np.ndarray]) -> np.ndarray:
    """Compute the embeddings of `conv`: means of red, green, blue and their sum."""
    return means(images) @ MIX.T


# ---------------------------------------------------------------------------------------------------------------------
# Numbers


def save_numbers(folder: Path) -> str:
    """Write the backbone that doubles any number of numbers."""
    return str(save(doubled("features"), folder, "numbers"))


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


def statistics() -> onnx.ModelProto:
    """Mean, maximum and minimum of any number of features."""
    nodes = [node(f"Reduce{what}", ["x"], [what], axes=[1], keepdims=1) for what in ("Mean", "Max", "Min")]
    return model([*nodes, node("Concat", ["Mean", "Max", "Min"], ["rows"], axis=1)], ["n", "features"], "rows")


def doubled(features: int | str = 4, batch: int | str = "n", **kind: Any) -> onnx.ModelProto:
    """Twice the numbers: the plainest graph there is."""
    return model([node("Add", ["x", "x"], ["rows"])], [batch, features], "rows", **kind)


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


# ---------------------------------------------------------------------------------------------------------------------
# Refused


def custom_domain() -> onnx.ModelProto:
    """An operator nobody knows."""
    return model([node("Mystery", ["x"], ["rows"], domain="com.evil")], ["n", 4], "rows", domains=["com.evil"])


def engine_context() -> onnx.ModelProto:
    """A built-in operator that loads a compiled engine from a file."""
    context = node("EPContext", ["x"], ["rows"], domain="com.microsoft", embed_mode=0, ep_cache_context="engine.bin")
    return model([context], ["n", 4], "rows", domains=["com.microsoft"])


def doubling(times: int = 40, domain: str = "local", overload: str = "") -> onnx.ModelProto:
    """Functions of which each calls the one before twice: ``2 ** times`` nodes once expanded."""
    functions = [_function("f0", [node("Add", ["x", "x"], ["y"])], domain, overload)]
    for i in range(1, times + 1):
        calls = [
            node(f"f{i - 1}", ["x"], ["half"], domain=domain, overload=overload),
            node(f"f{i - 1}", ["half"], ["y"], domain=domain, overload=overload),
        ]
        functions.append(_function(f"f{i}", calls, domain, overload))
    top = node(f"f{times}", ["x"], ["rows"], domain=domain, overload=overload)
    return model([top], ["n", 4], "rows", functions=functions, domains=[domain] if domain else [])


def recursive() -> onnx.ModelProto:
    """A function that calls itself."""
    itself = _function("f", [node("f", ["x"], ["y"], domain="local")], "local")
    top = node("f", ["x"], ["rows"], domain="local")
    return model([top], ["n", 4], "rows", functions=[itself], domains=["local"])


def _function(name: str, nodes: Sequence[onnx.NodeProto], domain: str, overload: str = "") -> onnx.FunctionProto:
    opsets = [helper.make_opsetid("", 17), *([helper.make_opsetid(domain, 1)] if domain else [])]
    return helper.make_function(domain, name, ["x"], ["y"], nodes, opsets, overload=overload)


def nested(depth: int = 30) -> onnx.ModelProto:
    """If inside If inside If, each node in the branch of the one before."""
    body = helper.make_graph([node("Identity", ["x"], ["y0"])], "leaf", [], [_untyped("y0")])
    for i in range(1, depth + 1):
        branch = node("If", ["yes"], [f"y{i}"], then_branch=body, else_branch=body if i == 1 else _leaf(i))
        body = helper.make_graph([branch], f"level{i}", [], [_untyped(f"y{i}")])
    top = node("If", ["yes"], ["rows"], then_branch=body, else_branch=_leaf(depth + 1))
    return model([top], ["n", 4], "rows", yes=np.array(True))


def _leaf(i: int) -> onnx.GraphProto:
    return helper.make_graph([node("Identity", ["x"], [f"z{i}"])], f"leaf{i}", [], [_untyped(f"z{i}")])


def _untyped(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, None)


def endless() -> onnx.ModelProto:
    """A loop that opens quickly and does not end in this life."""
    body = helper.make_graph(
        [node("Identity", ["go"], ["on"]), node("Add", ["a", "tiny"], ["b"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            _untyped("a"),
        ],
        [helper.make_tensor_value_info("on", TensorProto.BOOL, []), _untyped("b")],
    )
    loop = node("Loop", ["times", "yes", "x"], ["rows"], body=body)
    tiny = np.array(1e-9, np.float32)
    graph = model([loop], ["n", 4], "rows", times=np.array(2**62), yes=np.array(True), tiny=tiny)
    graph.graph.output[0].CopyFrom(helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["n", 4]))
    return graph


def hungry(numbers: int = 10**11) -> onnx.ModelProto:
    """Asks for 400 GB while it runs; the length comes with the input, so that nothing is folded before."""
    nodes = [
        node("ReduceSum", ["x"], ["sum"], keepdims=0),
        node("Mul", ["sum", "zero"], ["nothing"]),
        node("Cast", ["nothing"], ["whole"], to=TensorProto.INT64),
        node("Add", ["whole", "length"], ["long"]),
        node("ConstantOfShape", ["long"], ["much"]),
        node("ReduceMax", ["much"], ["most"], keepdims=0),
        node("Add", ["x", "most"], ["rows"]),
    ]
    return model(nodes, ["n", 4], "rows", zero=np.array(0, np.float32), length=np.array([numbers]))


# ---------------------------------------------------------------------------------------------------------------------
# Weights outside the graph

#: Where a graph may keep a tensor.
PLACES = ("initializer", "constant", "if", "sparse", "function", "default", "function if", "training")


def outside(
    name: str, values: np.ndarray | None = None, *, more: Sequence[tuple[str, str]] = (), **keys: str
) -> onnx.TensorProto:
    """Make a tensor of two numbers, kept in the file `name`; `more` adds entries to its ``external_data``."""
    tensor = numpy_helper.from_array(CANARY if values is None else values, "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in [("location", name), *keys.items(), *more]:
        tensor.external_data.add(key=key, value=value)
    return tensor


def external(tensor: onnx.TensorProto, place: str = "initializer") -> onnx.ModelProto:
    """Two numbers times a tensor of two, which the graph keeps in one of `PLACES`."""
    make = {
        "initializer": _external_initializer,
        "constant": _external_constant,
        "if": _external_if,
        "sparse": _external_sparse,
        "function": _external_function,
        "default": _external_default,
        "function if": _external_function_if,
        "training": _external_training,
    }
    return make[place](tensor)


def _times(*before: onnx.NodeProto, **kind: Any) -> onnx.ModelProto:
    return model([*before, node("Mul", ["x", "w"], ["rows"])], ["n", 2], "rows", **kind)


def _external_initializer(tensor: onnx.TensorProto) -> onnx.ModelProto:
    graph = _times()
    graph.graph.initializer.append(tensor)
    return graph


def _external_constant(tensor: onnx.TensorProto) -> onnx.ModelProto:
    return _times(node("Constant", [], ["w"], value=tensor))


def _branches(tensor: onnx.TensorProto) -> dict[str, onnx.GraphProto]:
    inner = helper.make_graph([node("Identity", ["w"], ["out"])], "then", [], [_untyped("out")], [tensor])
    constant = helper.make_graph([node("Constant", [], ["out"], value=tensor)], "else", [], [_untyped("out")])
    return {"then_branch": inner, "else_branch": constant}


def _external_if(tensor: onnx.TensorProto) -> onnx.ModelProto:
    branch = node("If", ["yes"], ["v"], **_branches(tensor))
    return model([branch, node("Mul", ["x", "v"], ["rows"])], ["n", 2], "rows", yes=np.array(True))


def _external_sparse(tensor: onnx.TensorProto) -> onnx.ModelProto:
    graph = _times()
    indices = numpy_helper.from_array(np.array([0, 1]), "w_indices")
    graph.graph.sparse_initializer.append(onnx.SparseTensorProto(values=tensor, indices=indices, dims=[2]))
    return graph


def _external_function(tensor: onnx.TensorProto) -> onnx.ModelProto:
    return _calls_function([node("Constant", [], ["w"], value=tensor)])


def _external_function_if(tensor: onnx.TensorProto) -> onnx.ModelProto:
    yes = node("Constant", [], ["yes"], value=numpy_helper.from_array(np.array(True)))
    return _calls_function([yes, node("If", ["yes"], ["w"], **_branches(tensor))])


def _external_default(tensor: onnx.TensorProto) -> onnx.ModelProto:
    """The default of a function's attribute."""
    constant = node("Constant", [], ["w"])
    constant.attribute.append(
        onnx.AttributeProto(name="value", ref_attr_name="weight", type=onnx.AttributeProto.TENSOR)
    )
    graph = _calls_function([constant])
    graph.functions[0].attribute_proto.append(helper.make_attribute("weight", tensor))
    return graph


def _calls_function(nodes: Sequence[onnx.NodeProto]) -> onnx.ModelProto:
    times = _function("times", [*nodes, node("Mul", ["x", "w"], ["y"])], "local")
    call = node("times", ["x"], ["rows"], domain="local")
    return model([call], ["n", 2], "rows", functions=[times], domains=["local"])


def _external_training(tensor: onnx.TensorProto) -> onnx.ModelProto:
    """Weights of the part of a graph that only training uses."""
    graph = doubled(2)
    algorithm = helper.make_graph([node("Identity", ["w"], ["v"])], "training", [], [_untyped("v")], [tensor])
    graph.training_info.append(onnx.TrainingInfoProto(algorithm=algorithm))
    return graph
