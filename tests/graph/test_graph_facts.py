"""Facts read off a graph: its input, its layers and their shapes."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from skltransfer import testing
from skltransfer._engine import graph
from skltransfer.errors import ModelError
from skltransfer.testing import SIDE
from tests import graphs


def test_facts_of_a_graph_are_its_input_output_and_layers():
    facts = graph.read(testing.image_backbone())
    assert (facts.input, facts.dtype, facts.shape, facts.output) == ("x", "float32", (None, 3, SIDE, SIDE), "logits")
    assert facts.layers == {"map": (4, SIDE, SIDE), "pooled": (4, 1, 1), "embedding": (4,), "logits": (4,)}


def test_facts_leave_open_what_the_graph_leaves_open():
    assert graph.read(testing.image_backbone("side")).layers["map"] == (4, None, None)
    assert graph.read(graphs.statistics()).shape == (None, None)


@pytest.mark.parametrize(("batch", "frozen"), [("n", None), (None, None), (-1, None), (0, None), (1, 1), (7, 7)])
def test_batch_size_is_frozen_only_if_it_is_a_positive_number(batch, frozen):
    assert graph.read(testing.array_backbone(batch=batch)).frozen_batch == frozen


def test_tensors_without_a_batch_axis_or_of_integers_are_no_layers():
    nodes = [graphs.node("Cast", ["x"], ["whole"], to=TensorProto.INT64), graphs.node("Add", ["x", "x"], ["rows"])]
    nodes.append(graphs.node("Identity", ["w"], ["weight"]))
    model = graphs.model(nodes, ["n", 4], "rows", w=np.ones((3, 4), np.float32))
    assert set(graph.read(model).layers) == {"rows"}


def _without_opset(model):
    del model.opset_import[:]
    model.opset_import.append(onnx.helper.make_opsetid("ai.onnx.ml", 3))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda m: m.graph.ClearField("input"), r"has no inputs"),
        (lambda m: m.graph.ClearField("output"), r"has no outputs"),
        (lambda m: m.graph.input[0].type.tensor_type.ClearField("shape"), r"no type or no shape for its input 'x'"),
        (lambda m: m.graph.input[0].type.tensor_type.ClearField("elem_type"), r"no type or no shape for its input 'x'"),
        (_without_opset, r"shapes of the graph contradict each other"),
    ],
)
def test_graph_that_is_no_backbone_is_refused(damage, message):
    model = testing.array_backbone()
    damage(model)
    with pytest.raises(ModelError, match=message):
        graph.read(model)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"'m.onnx' is an ONNX file without nodes.*first bytes are b''"),
        (b"version https://git-lfs.github.com/spec/v1", r"'m.onnx' is not an ONNX graph.*b'version https://"),
        (b"\x00" * 99, r"'m.onnx' is not an ONNX graph"),
    ],
)
def test_file_that_is_no_graph_is_refused_with_its_first_bytes(tmp_path, content, message):
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(ModelError, match=message):
        graph.load(tmp_path / "m.onnx")


@pytest.mark.parametrize("suffix", [".onnx", ".json", ".textproto", ".onnxtxt"])
def test_file_is_read_as_a_protobuf_whatever_its_name(tmp_path, suffix):
    path = tmp_path / f"m{suffix}"
    path.write_bytes(testing.array_backbone().SerializeToString())
    assert graph.load(path).graph.node
