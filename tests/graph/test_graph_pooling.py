"""Graphs are cut at layers, which are pooled, normalised and put side by side."""

import numpy as np
import onnx
import pytest

from skltransfer import testing
from skltransfer._engine import graph
from skltransfer.cards import ArraySpec, ImageSpec, spatial_axes
from skltransfer.errors import LayerError, ModelError
from skltransfer.testing import MIX, SIDE
from tests import graphs, hostile_graphs
from tests.graph.support import NUMBERS, PICTURES, RAW, built_graph, maps, rows

GEM = np.cbrt((np.maximum(maps(), 1e-6) ** 3).mean(axis=(2, 3)))


@pytest.mark.parametrize(
    ("pool", "want"),
    [
        ("mean", maps().mean(axis=(2, 3))),
        ("max", maps().max(axis=(2, 3))),
        ("gem", GEM),
        ("flatten", maps().reshape(5, -1)),
    ],
)
def test_feature_map_is_pooled_as_numpy_does(pool, want):
    np.testing.assert_allclose(rows(testing.image_backbone(), PICTURES, ["map"], pool=pool), want, rtol=1e-4)


@pytest.mark.parametrize(("pool", "over"), [("mean", np.mean), ("max", np.max)])
def test_feature_map_with_channels_last_is_pooled_over_its_places(pool, over):
    spec = ImageSpec((SIDE, SIDE), "squash", layout="NHWC")
    got = rows(graphs.channel_means(layout="NHWC"), PICTURES, ["map"], spec, pool=pool)
    np.testing.assert_allclose(got, over(PICTURES, axis=(1, 2)), rtol=1e-5)


@pytest.mark.parametrize(
    ("pool", "want"),
    [
        ("mean", 2 * NUMBERS[:, :2]),
        ("cls", NUMBERS[:, :2]),
        ("max", np.maximum(NUMBERS[:, :2], 3 * NUMBERS[:, :2])),
        ("gem", np.cbrt((np.maximum(NUMBERS[:, None, :2] * [[1], [2], [3]], 1e-6) ** 3).mean(axis=1))),
        ("flatten", (NUMBERS[:, None, :2] * [[1], [2], [3]]).reshape(5, -1)),
    ],
)
def test_tokens_are_pooled_over_the_sequence(pool, want):
    got = rows(graphs.tokens(), NUMBERS[:, :2].copy(), ["tokens"], ArraySpec(), pool=pool)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("opset", [8, 11, 13, 17, 18, 21])
def test_pooling_works_in_every_operator_set(opset):
    nodes = [graphs.node("Conv", ["x", "mix"], ["map"]), graphs.node("GlobalAveragePool", ["map"], ["rows"])]
    model = graphs.model(nodes, ["n", 3, SIDE, SIDE], "rows", opset=opset, mix=MIX.reshape(4, 3, 1, 1))
    got = rows(model, PICTURES, ["map"], pool="gem", normalize=True)
    np.testing.assert_allclose(got, GEM / np.linalg.norm(GEM, axis=1, keepdims=True), rtol=1e-4)


def test_graph_of_an_ancient_operator_set_is_refused():
    with pytest.raises(ModelError, match=r"operator set 7, older than 8; convert it with"):
        rows(testing.array_backbone(opset=7), NUMBERS, ["rows"], ArraySpec())


def test_one_number_per_sample_becomes_one_column():
    got = rows(graphs.vector(), NUMBERS[:, :2].copy(), ["rows"], ArraySpec())
    np.testing.assert_allclose(got, NUMBERS[:, :2].sum(axis=1, keepdims=True), rtol=1e-6)


def test_several_layers_stand_side_by_side_in_the_order_asked_for():
    means = maps().mean(axis=(2, 3))
    got = rows(testing.image_backbone(), PICTURES, ["logits", "map", "embedding"], pool="max")
    np.testing.assert_allclose(got, np.hstack([2 * means, maps().max(axis=(2, 3)), means]), rtol=1e-5)


def test_a_layer_named_twice_stands_there_twice():
    got = rows(testing.array_backbone(), NUMBERS, ["rows", "rows"], ArraySpec())
    np.testing.assert_allclose(got, np.hstack([2 * NUMBERS] * 2))


def test_normalised_rows_have_unit_length_over_all_their_columns():
    got = rows(testing.image_backbone(), PICTURES, ["embedding", "logits"], normalize=True)
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1, rtol=1e-6)


def test_normalised_row_of_zeros_stays_a_row_of_zeros():
    assert not rows(testing.array_backbone(), NUMBERS * 0, ["rows"], ArraySpec(), normalize=True).any()


def test_cut_drops_nodes_and_weights_behind_the_layer():
    built = built_graph(testing.image_backbone(), RAW, ["map"], pool="mean", normalize=False)
    assert "GlobalAveragePool" not in {node.op_type for node in built.graph.node}
    assert "two" not in {weight.name for weight in built.graph.initializer}
    assert [v.name for v in (*built.graph.input, *built.graph.output)] == [graph.INPUT, graph.OUTPUT]


def test_cut_keeps_what_only_a_subgraph_reads():
    got = rows(hostile_graphs.nested(3), NUMBERS, ["rows"], ArraySpec())
    np.testing.assert_array_equal(got, NUMBERS)


def test_weights_listed_as_inputs_as_old_exporters_do_are_kept():
    model = testing.image_backbone()
    model.ir_version = 3
    model.graph.input.extend(
        onnx.helper.make_tensor_value_info(w.name, w.data_type, list(w.dims)) for w in model.graph.initializer
    )
    np.testing.assert_allclose(rows(model, PICTURES, ["embedding"]), maps().mean(axis=(2, 3)), rtol=1e-5)


@pytest.mark.parametrize("name", ["embeding", "no-such-layer"])
def test_unknown_layer_is_refused_with_the_near_misses(name):
    near = r" Did you mean 'embedding'\?" if name == "embeding" else ""
    with pytest.raises(LayerError, match=rf"no layer '{name}'.{near} List its 4 layers with"):
        rows(testing.image_backbone(), PICTURES, [name])


@pytest.mark.parametrize("pool", ["mean", "max", "gem", "flatten"])
@pytest.mark.parametrize("layer", ["map", "embedding", "pooled"])
def test_width_told_beforehand_is_the_width_that_comes(pool, layer):
    shape = graph.read(testing.image_backbone()).layers[layer]
    got = rows(testing.image_backbone(), PICTURES, [layer], pool=pool)
    axes = spatial_axes(len(shape) + 1, "NCHW") if len(shape) > 1 else ()
    assert graph.row_shape(shape, pool, axes) == got.shape[1:]


@pytest.mark.parametrize(
    ("shape", "pool", "layout", "width"),
    [
        ((), "", "NCHW", 1),
        ((7,), "", "NCHW", 7),
        ((None,), "", "NCHW", None),
        ((4, 8, 8), "mean", "NCHW", 4),
        ((8, 8, 4), "mean", "NHWC", 4),
        ((50, 16), "cls", "NCHW", 16),
        ((None, 16), "mean", "NCHW", 16),
        ((4, None, None), "max", "NCHW", 4),
        ((4, None, None), "flatten", "NCHW", None),
        ((4, 2, 3), "flatten", "NCHW", 24),
    ],
)
def test_width_of_a_pooled_layer(shape, pool, layout, width):
    axes = spatial_axes(len(shape) + 1, layout) if len(shape) > 1 else ()
    assert graph.row_shape(shape, pool, axes) == (width,)
