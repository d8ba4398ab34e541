"""Plans: layers, pooling and width settled before anything is run."""

import pytest

from skltransfer import PretrainedEmbedder, load_card, testing
from skltransfer._engine import plan as plans
from skltransfer._engine import runtime
from skltransfer.errors import (
    IntegrityError,
    LayerError,
)

CPU = runtime.Device()


def plan(path, **choices):
    made = plans.make(load_card(path), CPU, **choices)
    return made.recipe, made.shape


@pytest.mark.parametrize(
    ("choices", "layers", "pool", "shape"),
    [
        ({}, ("logits",), "", (4,)),
        ({"pool": "max"}, ("logits",), "", (4,)),
        ({"layer": "map"}, ("map",), "mean", (4,)),
        ({"layer": "map", "pool": "gem"}, ("map",), "gem", (4,)),
        ({"layer": "map", "pool": "flatten"}, ("map",), "flatten", (256,)),
        ({"layer": "map", "pool": "none"}, ("map",), "none", (4, 8, 8)),
        ({"layer": ["map", "map"], "pool": "none"}, ("map", "map"), "none", (8, 8, 8)),
        ({"layer": ["map", "embedding"]}, ("map", "embedding"), "mean", (8,)),
    ],
)
def test_plan_settles_layers_pooling_and_width(tmp_path, no_child, choices, layers, pool, shape):
    recipe, found = plan(testing.save_backbone(testing.image_backbone(), tmp_path), **choices)
    assert (recipe.layers, recipe.pool, found) == (layers, pool, shape)


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
    assert plan(path, layer="map")[1] == (4,)


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


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"layer": "map", "pool": "cls"}, r"pool='cls' takes the first token of a sequence; layer 'map' has the shape"),
        ({"layer": "map", "pool": "last"}, r"pool='last' takes the last token of a sequence; .*\('n', 4, 8, 8\)"),
        ({"layer": ["map", "embedding"], "pool": "none"}, r"side by side, not map \(4, 8, 8\), embedding \(4,\)"),
    ],
)
def test_pooling_that_cannot_run_is_refused_when_the_plan_is_made(tmp_path, no_child, choices, message):
    path = testing.save_backbone(testing.image_backbone(), tmp_path)
    with pytest.raises(LayerError, match=message):
        plan(path, **choices)
    with pytest.raises(LayerError, match=message):
        PretrainedEmbedder(path, **choices).fit(testing.noise_images(1))


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"pool": "flatten"}, "rows of different lengths for texts"),
        ({"pool": "none", "long_text": "windows"}, "keeps every token, and long_text='windows' averages parts"),
    ],
)
def test_pooling_of_texts_that_cannot_run_is_refused_when_the_plan_is_made(tmp_path, no_child, choices, message):
    path = testing.save_text_backbone(testing.text_backbone(), tmp_path)
    with pytest.raises(LayerError, match=message):
        plan(path, **choices)
