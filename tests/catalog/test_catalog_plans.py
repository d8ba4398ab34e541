"""Plans: layers, pooling and width settled before anything is run."""

import pytest

from skltransfer import load_card, testing
from skltransfer._engine import catalog, runtime
from skltransfer.errors import (
    IntegrityError,
    LayerError,
)

CPU = runtime.Device()


def plan(path, **choices):
    made, width = catalog.plan(load_card(path), CPU, **choices)
    return made.recipe, width


@pytest.mark.parametrize(
    ("choices", "layers", "pool", "width"),
    [
        ({}, ("logits",), "", 4),
        ({"pool": "max"}, ("logits",), "", 4),
        ({"layer": "map"}, ("map",), "mean", 4),
        ({"layer": "map", "pool": "gem"}, ("map",), "gem", 4),
        ({"layer": "map", "pool": "flatten"}, ("map",), "flatten", 256),
        ({"layer": ["map", "embedding"]}, ("map", "embedding"), "mean", 8),
    ],
)
def test_plan_settles_layers_pooling_and_width(tmp_path, no_child, choices, layers, pool, width):
    recipe, columns = plan(testing.save_backbone(testing.image_backbone(), tmp_path), **choices)
    assert (recipe.layers, recipe.pool, columns) == (layers, pool, width)


def test_card_says_how_it_is_pooled_unless_the_user_does(tmp_path, no_child):
    path = testing.save_backbone(testing.image_backbone(), tmp_path, pool="max", layer="map")
    assert (plan(path)[0].pool, plan(path, pool="gem")[0].pool) == ("max", "gem")


def test_pooling_that_would_change_nothing_does_not_change_the_key(tmp_path, no_child):
    path = testing.save_backbone(testing.image_backbone(), tmp_path)
    assert plan(path, pool="max")[0].key == plan(path, pool="mean")[0].key


def test_width_is_open_where_the_graph_leaves_it_open(tmp_path, no_child):
    path = testing.save_backbone(testing.array_backbone("features"), tmp_path)
    assert plan(path)[1] is None


def test_layer_the_card_does_not_list_is_read_off_the_graph(tmp_path, no_child):
    path = testing.save_backbone(testing.image_backbone(), tmp_path, layers_table={"logits": (4,)})
    assert plan(path, layer="map")[1] == 4


@pytest.mark.parametrize(
    ("layer", "message"), [([], r"layer is an empty list"), ("mapp", r"no layer 'mapp'. Did you mean 'map'")]
)
def test_plan_of_a_wrong_layer_is_refused(tmp_path, no_child, layer, message):
    path = testing.save_backbone(testing.image_backbone(), tmp_path)
    with pytest.raises(LayerError, match=message):
        plan(path, layer=layer)


def test_plan_of_a_damaged_model_is_refused(tmp_path, no_child):
    path = testing.save_backbone(testing.image_backbone(), tmp_path)
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(IntegrityError, match=r"tiny.onnx' has the SHA-256"):
        plan(path)
