"""Graphs whose shapes nobody declared, or that were written for one sample; and tensors that are no layers."""

import numpy as np
import pytest
from onnx import TensorProto

from skltransfer import PretrainedEmbedder, load_card
from skltransfer.errors import LayerError, ModelWarning
from tests import graphs
from tests.catalog.support import KERNEL, PICTURES, RANDOM, RAW, convolution, embed, node, run, saved


def test_squeeze_without_axes_keeps_the_samples(tmp_path, in_process):
    model = graphs.model(
        [*convolution("x", None), node("Squeeze", ["gap"], ["rows"])], ["n", 3, 6, 8], "rows", w=KERNEL
    )
    got = embed(model, tmp_path, PICTURES, **RAW)
    x = np.stack(PICTURES).transpose(0, 3, 1, 2).astype(np.float32)
    np.testing.assert_allclose(got, run(model, x=x), rtol=1e-4)
    assert embed(model, tmp_path, PICTURES[:1], **RAW).shape == (1, 5)


@pytest.mark.parametrize("opset", [11, 17])
def test_squeeze_without_axes_is_given_them_in_every_operator_set(opset, tmp_path, in_process):
    nodes = [*convolution("x", None), node("Squeeze", ["gap"], ["rows"])]
    model = graphs.model(nodes, ["n", 3, 6, 8], "rows", opset=opset, w=KERNEL)
    assert load_card(saved(model, tmp_path), **RAW).layers()["rows"] == (5,)


def undeclared():
    """An operator of ONNX Runtime's optimizer, behind which inference knows no number of axes."""
    nodes = [
        node("Conv", ["x", "w"], ["conv"]),
        node("QuickGelu", ["conv"], ["map"], domain="com.microsoft"),
        node("GlobalAveragePool", ["map"], ["gap"]),
        node("Flatten", ["gap"], ["rows"]),
    ]
    model = graphs.model(nodes, ["n", 3, 6, 8], "rows", domains=["com.microsoft"], w=KERNEL)
    model.graph.output[0].type.tensor_type.ClearField("shape")
    return model


def test_shapes_that_are_declared_nowhere_are_found_by_running(tmp_path):
    card = load_card(saved(undeclared(), tmp_path), **RAW)
    assert (card.layers()["map"], card.layers()["rows"]) == ((5, 4, 6), (5,))
    rows, pooled = (PretrainedEmbedder(card, layer=name, cache=None).transform(PICTURES) for name in ("rows", "map"))
    np.testing.assert_allclose(pooled, rows, rtol=1e-4)


@pytest.mark.parametrize("target", [[1, 5], [1, -1]])
def test_reshape_that_was_written_for_one_sample_is_freed(target, tmp_path, in_process):
    model = graphs.model(
        [*convolution("x", None), node("Reshape", ["gap", "target"], ["rows"])],
        ["n", 3, 6, 8],
        "rows",
        w=KERNEL,
        target=np.array(target),
    )
    x = np.stack(PICTURES).transpose(0, 3, 1, 2).astype(np.float32)
    want = np.concatenate([run(model, x=x[i : i + 1]) for i in range(4)])
    np.testing.assert_allclose(embed(model, tmp_path, PICTURES, **RAW), want, rtol=1e-4)


def test_graph_that_was_written_for_one_sample_is_run_one_by_one(tmp_path, in_process):
    nodes = [
        *convolution("x", None),
        node("Reshape", ["gap", "flat"], ["row"]),
        node("Reshape", ["row", "two"], ["rows"]),
    ]
    model = graphs.model(nodes, ["n", 3, 6, 8], "rows", w=KERNEL, flat=np.array([5]), two=np.array([1, 5]))
    with pytest.warns(ModelWarning, match="it was written for a single sample.*one sample at a time"):
        got = embed(model, tmp_path, PICTURES, **RAW)
    x = np.stack(PICTURES).transpose(0, 3, 1, 2).astype(np.float32)
    np.testing.assert_allclose(got, np.concatenate([run(model, x=x[i : i + 1]) for i in range(4)]), rtol=1e-4)


@pytest.mark.parametrize(("ending", "batch", "warned"), [("Reshape", "n", 1), ("Reshape", 1, 0), ("Squeeze", 1, 0)])
def test_row_without_a_batch_axis_is_that_of_one_sample(ending, batch, warned, tmp_path, in_process, recwarn):
    target = {"all": np.array([-1])} if ending == "Reshape" else {}
    nodes = [*convolution("x", None), node(ending, ["gap", *target], ["rows"])]
    model = graphs.model(nodes, [batch, 3, 6, 8], "rows", w=KERNEL, **target)
    got = embed(model, tmp_path, PICTURES, **RAW)
    alone = graphs.model(convolution("x"), ["n", 3, 6, 8], "rows", w=KERNEL)
    x = np.stack(PICTURES).transpose(0, 3, 1, 2).astype(np.float32)
    np.testing.assert_allclose(got, run(alone, x=x), rtol=1e-4)
    assert len(recwarn) == warned


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (
            "whole",
            r"cannot be a layer: it holds int64, not floating-point numbers. Use another one, such as layer='rows'",
        ),
        ("table", r"cannot be a layer: it does not depend on the samples"),
        ("turned", r"cannot be a layer: its samples lie along axis 1"),
        ("total", r"cannot be a layer: it is one number for a whole batch"),
        ("joined", r"cannot be a layer: its first axis joins samples with something else"),
        ("row", r"no layer 'row'. Did you mean 'rows'"),
    ],
)
def test_why_a_tensor_is_no_layer_is_said(layer, message, tmp_path, in_process):
    nodes = [
        *convolution("x"),
        node("Cast", ["rows"], ["whole"], to=TensorProto.INT64),
        node("Identity", ["w"], ["table"]),
        node("Transpose", ["rows"], ["turned"], perm=[1, 0]),
        node("ReduceSum", ["rows"], ["total"], keepdims=0),
        node("Reshape", ["relu", "target"], ["joined"]),
    ]
    model = graphs.model(nodes, ["n", 3, 6, 8], "rows", w=KERNEL, target=np.array([-1, 4, 6]))
    with pytest.raises(LayerError, match=message):
        load_card(saved(model, tmp_path), **RAW, layer=layer)


def test_card_answers_which_axis_holds_channels(tmp_path, in_process):
    model = graphs.model([node("Abs", ["x"], ["map"]), node("Flatten", ["map"], ["rows"])], ["n", 5, 4, 7], "rows")
    X = RANDOM.normal(size=(3, 5, 4, 7)).astype(np.float32)
    with pytest.raises(LayerError, match=r"Which axis of layer 'map'"):
        embed(model, tmp_path, X, layer="map")
    for axis, places in ((1, (2, 3)), (2, (1, 3)), (3, (1, 2))):
        got = embed(model, tmp_path, X, layer="map", channels={"map": axis})
        np.testing.assert_allclose(got, np.abs(X).mean(axis=places), rtol=1e-5)


def test_axis_that_a_layer_has_not_is_refused(tmp_path, in_process):
    model = graphs.model([node("Abs", ["x"], ["map"]), node("Flatten", ["map"], ["rows"])], ["n", 5, 4], "rows")
    with pytest.raises(LayerError, match=r"channels={'map': 3} is no axis of layer 'map'.*give 1 to 2"):
        embed(model, tmp_path, np.ones((2, 5, 4)), layer="map", channels={"map": 3})
