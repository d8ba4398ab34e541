"""Cards are found, completed from their graphs, and changed."""

import pytest

from skltransfer import list_models, load_card, testing
from skltransfer._engine.modalities import image
from skltransfer.cards import ArraySpec, ImageSpec
from skltransfer.errors import (
    CardError,
    LayerError,
)
from skltransfer.testing import SIDE
from tests import graphs


def test_bare_image_graph_is_refused_with_the_command_that_writes_its_card(tmp_path, in_process):
    path = testing.save_backbone(testing.image_backbone(), tmp_path, pin=False)
    with pytest.raises(CardError, match=r"skltransfer models card '.*tiny.onnx' --preset imagenet") as caught:
        load_card(path)
    assert "takes images (None, 3, 8, 8)" in str(caught.value)
    assert "(range, mean, std)" in str(caught.value)


def test_message_names_only_what_is_still_missing(tmp_path, in_process):
    path = testing.save_backbone(testing.image_backbone(), tmp_path, pin=False)
    with pytest.raises(CardError, match=r"\(mean, std\)"):
        load_card(path, range=1.0)


@pytest.mark.parametrize("preset", sorted(image.PRESETS))
def test_preset_sets_range_mean_and_std(tmp_path, in_process, preset):
    card = load_card(testing.save_backbone(testing.image_backbone(), tmp_path, pin=False), preset=preset)
    values = {key: getattr(card.input, key) for key in ("range", "mean", "std")}
    assert values == image.PRESETS[preset]


def test_what_is_given_beside_a_preset_wins(tmp_path, in_process):
    card = load_card(
        testing.save_backbone(testing.image_backbone(), tmp_path, pin=False),
        preset="imagenet",
        std=[1, 1, 1],
        color="BGR",
    )
    assert (card.input.std, card.input.color, card.input.range) == ((1, 1, 1), "BGR", 1.0)


@pytest.mark.parametrize(
    ("layout", "side", "size"), [("NCHW", 8, (8, 8)), ("NHWC", 8, (8, 8)), ("NCHW", "s", (224, 224))]
)
def test_size_and_layout_are_read_off_the_graph(tmp_path, in_process, layout, side, size):
    model = graphs.channel_means(side, layout)
    card = load_card(testing.save_backbone(model, tmp_path, pin=False), preset="raw")
    assert (card.modality, card.input.layout, card.input.size, card.layer) == ("image", layout, size, "embedding")


@pytest.mark.parametrize(("size", "resize_to"), [(None, 9), ((8, 8), 9), ([224, 224], 256), ((112, 224), 256)])
def test_crop_is_seven_eighths_unless_said_otherwise(tmp_path, in_process, size, resize_to):
    model = testing.image_backbone("s") if size != (8, 8) else testing.image_backbone()
    size = {} if size == (8, 8) else {"size": size or (8, 8)}
    assert (
        load_card(testing.save_backbone(model, tmp_path, pin=False), preset="raw", **size).input.resize_to == resize_to
    )


def test_bare_graph_of_numbers_needs_nothing(tmp_path, in_process):
    card = load_card(testing.save_backbone(graphs.statistics(), tmp_path, pin=False))
    assert (card.modality, card.input, card.layer) == ("array", ArraySpec(dtype="float32"), "rows")


def test_layers_of_a_completed_card_are_those_of_its_graph(tmp_path, no_child):
    card = testing.pinned_card(testing.save_backbone(testing.image_backbone(), tmp_path, pin=False))
    assert card.layers() == {"map": (4, 8, 8), "pooled": (4, 1, 1), "embedding": (4,), "logits": (4,)}


def test_card_gives_itself_back(tmp_path, no_child):
    card = load_card(testing.save_backbone(testing.image_backbone(), tmp_path))
    assert load_card(card) is card


def test_changes_to_a_card_change_its_fields_and_its_input(tmp_path, no_child):
    path = testing.save_backbone(testing.image_backbone(), tmp_path)
    card = load_card(path, layer="embedding", pool="max", license="MIT", color="BGR")
    assert (card.layer, card.pool, card.license, card.input.color) == ("embedding", "max", "MIT", "BGR")
    assert load_card(path).layer == "logits"


def test_whole_input_may_be_given(tmp_path, no_child):
    spec = ImageSpec((SIDE, SIDE), "squash", color="BGR")
    assert load_card(testing.save_backbone(testing.image_backbone(), tmp_path), input=spec).input == spec


def test_modality_may_be_given(tmp_path, in_process):
    card = load_card(testing.save_backbone(graphs.raw_pixels(), tmp_path, pin=False), modality="array")
    assert (card.modality, card.input) == ("array", ArraySpec(dtype="float32"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"colors": "BGR"}, r"Neither a card nor 'image' input has 'colors'; an input has color"),
        ({"preset": "imagnet"}, r"has 'imagnet'.*presets are imagenet, inception, clip, raw"),
        ({"size": 224}, r"input of 'tiny' cannot be used: input.size is 224, not a list"),
        ({"std": (1, 0, 1)}, r"input.std is \(1, 0, 1\): zero cannot divide"),
        ({"mean": [1, 2]}, r"input.mean is \(1, 2\), not three finite numbers"),
        ({"resize": "shorter", "resize_to": 4}, r"input.resize_to is 4, smaller than the crop"),
        ({"pool": "avg"}, r"pool is 'avg', not one of auto, mean"),
        ({"layer": ["map", "logits"]}, r"layer is \['map', 'logits'\], not the name of one tensor"),
        ({"modality": "sound"}, r"modality is 'sound', not one of array, image"),
    ],
)
def test_wrong_change_is_refused_with_its_value(tmp_path, no_child, changes, message):
    path = testing.save_backbone(testing.image_backbone(), tmp_path)
    with pytest.raises(CardError, match=message):
        load_card(path, **changes)


def test_wrong_layout_of_numbers_is_refused(tmp_path, no_child):
    path = testing.save_backbone(testing.array_backbone(), tmp_path)
    with pytest.raises(CardError, match=r"input.layout is 'CHW', not one of NCHW, NHWC"):
        load_card(path, layout="CHW")


def test_wrong_layer_is_refused_with_the_nearest(tmp_path, no_child):
    path = testing.save_backbone(testing.image_backbone(), tmp_path)
    with pytest.raises(LayerError, match=r"no layer 'embeding'. Did you mean 'embedding'"):
        load_card(path, layer="embeding")


def test_image_card_of_a_graph_of_numbers_is_refused(tmp_path, in_process):
    path = testing.save_backbone(testing.array_backbone(), tmp_path, pin=False)
    with pytest.raises(CardError, match=r"has the shape \(None, 4\); images need four axes"):
        load_card(path, modality="image", preset="raw")


def test_card_file_that_changed_is_read_anew(tmp_path, no_child):
    path = testing.save_backbone(testing.image_backbone(), tmp_path)
    assert load_card(path).pool == "auto"
    testing.save_backbone(testing.image_backbone(), tmp_path, pool="max")
    assert load_card(path).pool == "max"


def test_embedded_backbones_are_listed_sorted():
    assert list_models() == sorted(list_models())
