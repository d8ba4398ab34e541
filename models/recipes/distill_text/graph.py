"""The graph: token ids in, the weighted mean of their vectors out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from distill_text.encoders import Floats
from distill_text.table import HALF

#: Inner tensors that are layers, see `build_graph`.
INNER = ("mean", "unweighted", "beginning")


def build_graph(packed: npt.NDArray[np.uint8], scales: Floats, weights: Floats) -> onnx.ModelProto:
    """Build the graph: token ids and mask in, weighted means of their vectors at length 1 out.

    A byte is ``16 * upper + lower``. The weighted sums of the lower halves follow from those of the bytes and of their
    upper halves, and each sum is one matrix product per text. If all tokens of a text have weight 0, so is the result.

    The output is the mean by the weights of the tokens. Two other means are inner tensors: ``unweighted``, where every
    token that has a weight counts the same, and ``beginning``, where the n-th token counts 1 / n.
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
        "second": np.array(1),
    }
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["bytes"]),
        helper.make_node("BitShift", ["bytes", "four"], ["upper"], direction="RIGHT"),
        helper.make_node("Cast", ["bytes"], ["bytes_float"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["upper"], ["upper_float"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Gather", ["scales", "input_ids"], ["scale_all"]),
        helper.make_node("Gather", ["weights", "input_ids"], ["weight_all"]),
        *mean_nodes("", "scale_all", "weight_all", "mask", "mean", "embedding"),
        helper.make_node("Max", ["weight_all", "floor"], ["weight_known"]),
        helper.make_node("Div", ["scale_all", "weight_known"], ["plain_scale_all"]),
        helper.make_node("Sign", ["weight_all"], ["plain_weight_all"]),
        *mean_nodes("plain_", "plain_scale_all", "plain_weight_all", "mask", "plain_mean", "unweighted"),
        helper.make_node("CumSum", ["mask", "second"], ["place"]),
        helper.make_node("Max", ["place", "floor"], ["place_known"]),
        helper.make_node("Div", ["mask", "place_known"], ["early"]),
        *mean_nodes("early_", "plain_scale_all", "plain_weight_all", "early", "early_mean", "beginning"),
    ]
    return wrap_graph(nodes, constants, 2 * packed.shape[1])


def mean_nodes(prefix: str, scales: str, weights: str, mask: str, mean: str, unit: str) -> list[onnx.NodeProto]:
    """Return the nodes of one mean of the vectors of a text.

    Parameters
    ----------
    prefix : str
        Of the names of the tensors between.
    scales, weights, mask : str
        Tensors (batch, tokens): scale of each vector times its weight, weight, and what both are multiplied with.
    mean, unit : str
        Names of the mean and of the mean at length 1.
    """
    node = helper.make_node
    between = ("scale", "scale_row", "bytes_sum", "upper_sum", "upper_share", "lower_sum", "code_row", "code_sum")
    between += ("scale_sum", "offset", "sum", "weight", "weight_sum", "weight_safe", "length", "length_safe")
    inner = {name: prefix + name for name in between}
    return [
        node("Mul", [scales, mask], [inner["scale"]]),
        node("Unsqueeze", [inner["scale"], "axis"], [inner["scale_row"]]),
        node("MatMul", [inner["scale_row"], "bytes_float"], [inner["bytes_sum"]]),
        node("MatMul", [inner["scale_row"], "upper_float"], [inner["upper_sum"]]),
        node("Mul", [inner["upper_sum"], "sixteen"], [inner["upper_share"]]),
        node("Sub", [inner["bytes_sum"], inner["upper_share"]], [inner["lower_sum"]]),
        node("Concat", [inner["upper_sum"], inner["lower_sum"]], [inner["code_row"]], axis=2),
        node("Squeeze", [inner["code_row"], "axis"], [inner["code_sum"]]),
        node("ReduceSum", [inner["scale"], "axis"], [inner["scale_sum"]]),
        node("Mul", [inner["scale_sum"], "half"], [inner["offset"]]),
        node("Sub", [inner["code_sum"], inner["offset"]], [inner["sum"]]),
        node("Mul", [weights, mask], [inner["weight"]]),
        node("ReduceSum", [inner["weight"], "axis"], [inner["weight_sum"]]),
        node("Max", [inner["weight_sum"], "floor"], [inner["weight_safe"]]),
        node("Div", [inner["sum"], inner["weight_safe"]], [mean]),
        node("ReduceL2", [mean], [inner["length"]], axes=[1]),
        node("Max", [inner["length"], "floor"], [inner["length_safe"]]),
        node("Div", [mean, inner["length_safe"]], [unit]),
    ]


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
        value_info=[
            helper.make_tensor_value_info(name, TensorProto.FLOAT, vector)
            for name in ("mean", "unweighted", "beginning")
        ],
    )
    opset = helper.make_opsetid("", 17)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=8, producer_name="")
    onnx.checker.check_model(model, full_check=True)
    return model
