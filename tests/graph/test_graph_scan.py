"""The static scan: what is refused before a graph is opened, and what is not."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from skltransfer import testing
from skltransfer._engine import graph
from skltransfer.cards import ArraySpec
from skltransfer.errors import ModelError, UnsafeModelError
from tests import graphs, hostile_graphs
from tests.graph.support import NUMBERS, rows


def in_blocks():
    """Build a graph as ONNX Runtime saves it, optimized for its own processor."""
    nodes = [graphs.node("Conv", ["x", "w"], ["rows"], domain="com.microsoft.nchwc")]
    w = np.ones((8, 8, 1, 1), np.float32)
    return graphs.model(nodes, ["n", 8, 4, 4], "rows", domains=["com.microsoft.nchwc"], w=w)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (hostile_graphs.custom_domain(), r"'Mystery' comes from the custom domain 'com.evil'"),
        (in_blocks(), r"'Conv' of the domain 'com.microsoft.nchwc' keeps channels in blocks .*ORT_ENABLE_EXTENDED"),
        (hostile_graphs.engine_context(), r"'EPContext' loads files or code, and is refused"),
        (hostile_graphs.recursive(), r"Function 'f' of the graph calls itself"),
        (hostile_graphs.doubling(), r"expand to more than 1,000,000 nodes"),
        (hostile_graphs.doubling(domain="com.microsoft"), r"expand to more than 1,000,000 nodes"),
        (hostile_graphs.doubling(domain="ai.onnx"), r"expand to more than 1,000,000 nodes"),
        (hostile_graphs.doubling(domain=""), r"expand to more than 1,000,000 nodes"),
        (hostile_graphs.doubling(overload="two"), r"expand to more than 1,000,000 nodes"),
    ],
)
def test_unsafe_graph_is_refused_before_it_is_run(tmp_path, model, message):
    with pytest.raises(UnsafeModelError, match=message):
        graph.scan(model, tmp_path)


def test_overload_of_a_function_does_not_hide_another(tmp_path):
    model = hostile_graphs.doubling(overload="two")
    harmless = hostile_graphs.doubling(0).functions[0]
    for function in list(model.functions):
        model.functions.add().CopyFrom(harmless)
        model.functions[-1].name = function.name
    with pytest.raises(UnsafeModelError, match=r"expand to more than 1,000,000 nodes"):
        graph.scan(model, tmp_path)


def test_custom_operator_inside_a_subgraph_is_refused(tmp_path):
    model = hostile_graphs.nested(5)
    node = model.graph.node[0]
    while branches := {a.name: a.g for a in node.attribute}:
        node = branches["then_branch"].node[0]
    node.op_type, node.domain = "Mystery", "com.evil"
    with pytest.raises(UnsafeModelError, match=r"custom domain 'com.evil'"):
        graph.scan(model, tmp_path)


def test_custom_operator_inside_a_function_is_refused(tmp_path):
    model = hostile_graphs.doubling(1)
    model.functions[0].node[0].domain = "com.evil"
    with pytest.raises(UnsafeModelError, match=r"custom domain 'com.evil'"):
        graph.scan(model, tmp_path)


@pytest.mark.parametrize("make", [testing.image_backbone, hostile_graphs.doubling, lambda: graphs.heavy(1)])
@pytest.mark.parametrize("typed", [False, True])
def test_pieces_are_the_graph(make, typed):
    whole = make()
    whole.doc_string, whole.graph.doc_string, whole.producer_name = "model", "graph", "tests"
    if typed:  # numbers in a field of their type instead of as raw bytes
        whole.graph.initializer.append(helper.make_tensor("typed", TensorProto.FLOAT, [5000], np.arange(5000.0)))
    assert onnx.load_from_string(b"".join(graph.pieces(whole))) == whole


def test_graph_with_more_weights_than_a_file_may_have_is_refused(monkeypatch):
    monkeypatch.setattr("skltransfer._engine.graph._write.MAX_BYTES", 4000)
    with pytest.raises(ModelError, match="more weights than the 4,000 bytes"):
        b"".join(graph.pieces(graphs.heavy(1)))


@pytest.mark.parametrize("times", [1, 5])
def test_functions_that_expand_to_a_decent_size_run(tmp_path, times):
    path = testing.save_backbone(hostile_graphs.doubling(times), tmp_path, pin=False)
    got = rows(graph.load(path), NUMBERS, ["rows"], ArraySpec())
    np.testing.assert_allclose(got, NUMBERS * 2.0 ** (2**times), rtol=1e-5)
