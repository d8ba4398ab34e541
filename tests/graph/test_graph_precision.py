"""Precision of a graph, and batch sizes frozen at export."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from skltransfer import testing
from skltransfer._engine import runtime
from skltransfer.cards import ArraySpec
from tests import graphs
from tests.graph.support import NUMBERS, PICTURES, built_graph, maps, rows


def test_float16_graph_gives_float32_rows():
    got = rows(testing.image_backbone(dtype=np.float16), PICTURES, ["embedding"])
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, maps().mean(axis=(2, 3)), rtol=2e-3)


def test_widened_graph_computes_as_precisely_as_one_exported_so():
    got = rows(testing.image_backbone(dtype=np.float16), PICTURES, ["embedding"], precision="fp32")
    np.testing.assert_allclose(got, maps().mean(axis=(2, 3)), rtol=1e-6)


def test_widened_graph_holds_no_float16_anywhere():
    nodes = [
        graphs.node("Cast", ["x"], ["wide"], to=TensorProto.FLOAT),
        graphs.node("Cast", ["wide"], ["narrow"], to=TensorProto.FLOAT16),
        graphs.node("Constant", [], ["c"], value=onnx.numpy_helper.from_array(np.array(3, np.float16))),
        graphs.node("Mul", ["narrow", "c"], ["rows"]),
    ]
    model = graphs.model(nodes, ["n", 4], "rows", dtype=TensorProto.FLOAT16)
    np.testing.assert_allclose(rows(model, NUMBERS, ["rows"], ArraySpec(), precision="fp32"), 3 * NUMBERS, rtol=1e-6)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("kind", ["sound", "values"])
def test_batch_size_repeated_in_reshapes_is_freed(kind, batch):
    got = rows(graphs.frozen(kind, batch), NUMBERS, ["rows"], ArraySpec())
    np.testing.assert_allclose(got, 2 * NUMBERS)


def test_batch_size_can_be_left_frozen():
    built = built_graph(graphs.frozen("fails", 2), ArraySpec(), ["rows"], pool="", normalize=False, free_batch=False)
    got = runtime.Session(built.SerializeToString(), runtime.Device(), batch_size=2).run(NUMBERS)
    np.testing.assert_allclose(got, 2 * NUMBERS)
