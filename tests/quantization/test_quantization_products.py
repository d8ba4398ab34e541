"""Products of matrices in 8 bits: rounded by rows where the graph can, in blocks where it cannot."""

import numpy as np
import pytest
from onnx import numpy_helper

from skltransfer import testing
from skltransfer._engine import graph, runtime
from skltransfer._engine.quantization import quantize
from tests import graphs
from tests.quantization.support import cosine, operators


def product(numbers: np.ndarray, *, version: int = 17) -> tuple[np.ndarray, np.ndarray]:
    """Multiply by a matrix in 8 bits; give what comes out, and the matrix."""
    matrix = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    shape = ["n", *numbers.shape[1:]]
    model = graphs.model([graphs.node("MatMul", ["x", "w"], ["rows"])], shape, "rows", w=matrix, opset=version)
    rounded = graph.quantize_per_row(model)
    assert {"QuantizeLinear", "MatMulIntegerToFloat"} <= {node.op_type for node in rounded.graph.node}
    return runtime.Session(rounded.SerializeToString(), runtime.Device()).run(numbers), matrix


NUMBERS = np.random.default_rng(1).normal(size=(5, 3, 40)).astype(np.float32)


@pytest.mark.parametrize("version", [13, 17, 18, 20])
@pytest.mark.parametrize("numbers", [NUMBERS, NUMBERS[:, 0]], ids=["tokens", "rows"])
def test_rows_times_columns_are_rounded_by_half_a_step_each(numbers, version):
    found, matrix = product(numbers, version=version)
    x = numbers.reshape(-1, 40)
    a, b = np.abs(x).max(axis=1, keepdims=True) / 127, np.abs(matrix).max(axis=0) / 127
    want = (np.rint(x / a) @ np.rint(matrix / b) * a * b).reshape(found.shape)
    np.testing.assert_allclose(found, want, rtol=1e-4, atol=2e-2 * np.abs(want).max())
    assert np.abs(found - want).mean() < 1e-4 * np.abs(want).max()  # a tie may be rounded the other way
    assert cosine(found, numbers @ matrix) > 0.9999


def test_row_is_rounded_by_itself():
    loud = NUMBERS * np.array([1, 1e6, 1e-6, 1, 1], np.float32).reshape(5, 1, 1)
    np.testing.assert_array_equal(product(loud)[0][[0, 3]], product(NUMBERS)[0][[0, 3]])
    np.testing.assert_allclose(product(loud)[0][1], product(NUMBERS)[0][1] * 1e6, rtol=1e-5)


def test_rows_of_zeros_stay_and_what_overflowed_shows():
    odd = NUMBERS[:3, 0].copy()
    odd[0], odd[1, 7] = 0, np.inf
    found, _ = product(odd)
    assert (found[0] == 0).all()
    assert not np.isfinite(found[1]).any()
    assert np.isfinite(found[2]).all()


def test_input_of_several_products_is_rounded_once():
    a, b = np.random.default_rng(0).normal(size=(2, 40, 6)).astype(np.float32)
    nodes = [graphs.node("MatMul", ["x", name], [f"x{name}"]) for name in "ab"]
    model = graphs.model([*nodes, graphs.node("Sub", ["xa", "xb"], ["rows"])], ["n", 40], "rows", a=a, b=b)
    kinds = [node.op_type for node in graph.quantize_per_row(model).graph.node]
    assert (kinds.count("QuantizeLinear"), kinds.count("MatMulIntegerToFloat")) == (1, 2)
    rows = runtime.Session(model.SerializeToString(), runtime.Device()).run(NUMBERS[:, 0])
    assert cosine(rows, NUMBERS[:, 0] @ (a - b)) > 0.9999


def test_graphs_too_old_for_rows_are_rounded_in_blocks(tmp_path):
    model = graphs.products()
    model.opset_import[0].version = 12
    found = operators(quantize(str(testing.save_backbone(model, tmp_path)), "int8", np.eye(40, dtype=np.float32)))
    assert "MatMulNBits" in found


@pytest.mark.parametrize("block", [16, 32, 128])
def test_blocks_hold_the_rounded_matrix(block):
    model = graph.quantize_blockwise(graphs.products(k=40, depth=1), block, level=1)
    session = runtime.Session(model.SerializeToString(), runtime.Device())
    matrix = numpy_helper.to_array(graphs.products(k=40, depth=1).graph.initializer[0])
    numbers = session.run(np.eye(40, dtype=np.float32))
    steps = [np.abs(matrix[start : start + block]).max(axis=0) / 127 for start in range(0, 40, block)]
    limit = np.repeat(steps, block, axis=0)[:40] / 2 + 1e-6
    assert (np.abs(np.arctanh(numbers) - matrix) <= limit).all()
