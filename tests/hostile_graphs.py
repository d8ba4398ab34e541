"""Graphs that mean harm, or that nobody can run: operators nobody knows, endless loops, weights in other files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from skltransfer.testing import array_backbone
from tests.graphs import model, node

#: Files whose reading would be a hole hold this.
CANARY = np.array([6.0, 6.0], np.float32)
#: Where a graph may keep a tensor.
PLACES = ("initializer", "constant", "if", "sparse", "function", "default", "function if", "training")


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
    graph = array_backbone(2)
    algorithm = helper.make_graph([node("Identity", ["w"], ["v"])], "training", [], [_untyped("v")], [tensor])
    graph.training_info.append(onnx.TrainingInfoProto(algorithm=algorithm))
    return graph
