"""`convert`: a model of timm gives the rows it gave before, or nothing."""

import pytest

from skltransfer import load_card
from skltransfer.convert import convert
from skltransfer.errors import ConversionError
from tests.convert.support import MARKS, PHOTOS, assert_agree, embed, inferred

pytestmark = MARKS


@pytest.mark.parametrize(
    ("name", "width"),
    [("resnet18", 512), ("mobilenetv3_small_100", 1024), ("vit_small_patch16_224", 384), ("convnext_tiny", 768)],
)
def test_model_of_timm_gives_the_same_rows_as_a_card(name, width, tmp_path):
    import timm

    model = timm.create_model(name).eval()
    rows = embed(convert("timm", model, tmp_path / name))
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)
    model.reset_classifier(0)
    assert rows.shape == (len(PHOTOS), width)
    assert_agree(rows, inferred(model, [transform(image)[None] for image in PHOTOS]))


def test_model_of_timm_keeps_its_mode(tmp_path):
    import timm

    model = timm.create_model("test_resnet").train()
    convert("timm", model, tmp_path / "card")
    assert model.training


def test_name_of_timm_is_loaded_with_its_weights_and_terms(tmp_path):
    import timm

    model = timm.create_model("test_resnet").eval()
    timm.models.save_for_hf(
        model, tmp_path / "saved", model_config={"pretrained_cfg": {**model.pretrained_cfg, "mean": (0.1, 0.2, 0.3)}}
    )
    card = load_card(convert("timm", f"local-dir:{tmp_path / 'saved'}", tmp_path / "card"))
    assert (card.input.mean, card.source) == ((0.1, 0.2, 0.3), "timm: test_resnet")
    assert {"image_embedding", "block_1"} <= card.layers().keys()
    assert len(card.golden["rows"]) == 3


@pytest.mark.parametrize(
    ("changes", "geometry"),
    [
        ({"crop_pct": 0.9}, ("shorter", 106)),
        ({"crop_pct": 1.0, "crop_mode": "squash"}, ("squash", 0)),
    ],
)
def test_geometry_of_timm_is_read(changes, geometry, tmp_path):
    import timm

    model = timm.create_model("test_resnet", pretrained_cfg_overlay={"input_size": (3, 96, 96), **changes})
    spec = load_card(convert("timm", model, tmp_path / "card")).input
    assert (spec.resize, spec.resize_to) == geometry


def test_geometry_of_timm_that_no_card_has_is_refused(tmp_path):
    import timm

    model = timm.create_model("test_resnet", pretrained_cfg_overlay={"crop_mode": "border"})
    with pytest.raises(ConversionError, match=r"A card cannot express timm's crop_mode='border' with crop_pct="):
        convert("timm", model, tmp_path / "card")


def test_name_timm_does_not_know_is_refused(tmp_path):
    with pytest.raises(ConversionError, match="timm cannot load 'resnet-eighteen': RuntimeError: Unknown model"):
        convert("timm", "resnet-eighteen", tmp_path / "card")
