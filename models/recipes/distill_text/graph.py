"""The graph: token ids in, the weighted mean of their vectors out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from distill_text.encoders import Floats
from distill_text.table import HALF


def build_graph(packed: npt.NDArray[np.uint8], scales: Floats, weights: Floats) -> onnx.ModelProto:
    """Build the graph: token ids and mask in, the weighted mean of vectors and the same at length 1 out.

    A byte is ``16 * upper + lower``. The weighted sums of the lower halves follow from those of the bytes and of their
    upper halves, and each sum is one matrix product per text. If all tokens of a text have weight 0, so is the result.
    """
    constants = {
        "table": packed,
        "scales": scales * weights,
        "weights": weights,
        "four": np.uint8(4),
        "sixteen": np.float32(16),
        "half": np.float32(HALF),
        "floor": np.float32(1e-12),
        "axis": np.array([1]),
    }
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["bytes"]),
        helper.make_node("BitShift", ["bytes", "four"], ["upper"], direction="RIGHT"),
        helper.make_node("Cast", ["bytes"], ["bytes_float"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["upper"], ["upper_float"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Gather", ["scales", "input_ids"], ["scale_all"]),
        helper.make_node("Mul", ["scale_all", "mask"], ["scale"]),
        helper.make_node("Unsqueeze", ["scale", "axis"], ["scale_row"]),
        helper.make_node("MatMul", ["scale_row", "bytes_float"], ["bytes_sum"]),
        helper.make_node("MatMul", ["scale_row", "upper_float"], ["upper_sum"]),
        helper.make_node("Mul", ["upper_sum", "sixteen"], ["upper_share"]),
        helper.make_node("Sub", ["bytes_sum", "upper_share"], ["lower_sum"]),
        helper.make_node("Concat", ["upper_sum", "lower_sum"], ["code_row"], axis=2),
        helper.make_node("Squeeze", ["code_row", "axis"], ["code_sum"]),
        helper.make_node("ReduceSum", ["scale", "axis"], ["scale_sum"]),
        helper.make_node("Mul", ["scale_sum", "half"], ["offset"]),
        helper.make_node("Sub", ["code_sum", "offset"], ["sum"]),
        helper.make_node("Gather", ["weights", "input_ids"], ["weight_all"]),
        helper.make_node("Mul", ["weight_all", "mask"], ["weight"]),
        helper.make_node("ReduceSum", ["weight", "axis"], ["weight_sum"]),
        helper.make_node("Max", ["weight_sum", "floor"], ["weight_safe"]),
        helper.make_node("Div", ["sum", "weight_safe"], ["mean"]),
        helper.make_node("ReduceL2", ["mean"], ["length"], axes=[1]),
        helper.make_node("Max", ["length", "floor"], ["length_safe"]),
        helper.make_node("Div", ["mean", "length_safe"], ["embedding"]),
    ]
    return wrap_graph(nodes, constants, 2 * packed.shape[1])


def wrap_graph(
    nodes: Sequence[onnx.NodeProto], constants: dict[str, npt.NDArray[np.generic]], dimensions: int
) -> onnx.ModelProto:
    """Return nodes as a checked model, with their inputs, outputs and constants."""
    vector = ("batch", dimensions)
    graph = helper.make_graph(
        nodes,
        "static_token_embedding",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, ("batch", "tokens"))
            for name in ("input_ids", "attention_mask")
        ],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, vector)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
        value_info=[helper.make_tensor_value_info("mean", TensorProto.FLOAT, vector)],
    )
    opset = helper.make_opsetid("", 17)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=8, producer_name="")
    onnx.checker.check_model(model, full_check=True)
    return model
