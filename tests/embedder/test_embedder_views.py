"""`views="flip"`: the mean of the rows of an image and of its mirror image, under a key of its own."""

import dataclasses

import numpy as np
import pytest
from PIL import Image
from sklearn.base import clone

from skltransfer import PretrainedEmbedder, load_card, testing
from skltransfer._engine import stream
from skltransfer._engine.modalities import image as images
from skltransfer._engine.modalities.image import _geometry
from skltransfer._engine.stream._line import Fused, Pipelined
from skltransfer.cards import ImageSpec, Recipe
from skltransfer.errors import CardError, LayerError
from tests.graphs import save_images
from tests.modalities.image.support import encoded

PHOTOS = [np.random.default_rng(i).integers(0, 256, (40 + i, 61 - i, 3), dtype=np.uint8) for i in range(5)]
MIRRORED = [photo[:, ::-1] for photo in PHOTOS]
#: A row that knows left from right.
PLACES = {"layer": "map", "pool": "flatten"}


@pytest.fixture
def model(tmp_path):
    return save_images(tmp_path)


@pytest.mark.parametrize("line", [Fused, Pipelined])
@pytest.mark.parametrize("cache", [None, "memory"])
@pytest.mark.parametrize("batch_size", ["auto", 1, 3])
def test_row_is_the_mean_of_image_and_mirror_image(model, line, cache, batch_size, monkeypatch):
    monkeypatch.setitem(stream.LINES, "cpu", line)
    plain = PretrainedEmbedder(model, **PLACES, cache=None)
    embedder = PretrainedEmbedder(model, **PLACES, views="flip", cache=cache, batch_size=batch_size)
    found = embedder.fit_transform(PHOTOS)
    np.testing.assert_allclose(found, (plain.transform(PHOTOS) + plain.transform(MIRRORED)) / 2, rtol=1e-5)


def test_bundled_backbone_agrees_on_photographs_of_odd_sizes():
    files = [encoded(photo) for photo in PHOTOS]
    plain = PretrainedEmbedder(cache=None)
    found = PretrainedEmbedder(views="flip", cache=None).transform(files)
    wanted = (plain.transform(files) + plain.transform([encoded(photo) for photo in MIRRORED])) / 2
    np.testing.assert_allclose(found, wanted, atol=2e-3)


def test_row_of_an_image_is_that_of_its_mirror_image(model):
    embedder = PretrainedEmbedder(model, **PLACES, views="flip", cache=None)
    np.testing.assert_allclose(embedder.transform(PHOTOS), embedder.transform(MIRRORED), rtol=1e-5)


def test_normalized_rows_are_of_unit_length(model):
    found = PretrainedEmbedder(model, **PLACES, views="flip", normalize=True).transform(PHOTOS)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)


def test_rows_are_not_taken_for_those_without_views(model):
    plain, flipped = (PretrainedEmbedder(model, **PLACES, views=views) for views in (None, "flip"))
    first = plain.fit_transform(PHOTOS)
    assert np.abs(flipped.fit_transform(PHOTOS) - first).max() > 1e-3
    np.testing.assert_array_equal(plain.fit_transform(PHOTOS), first)
    assert clone(flipped).views == "flip"


def test_layers_are_searched_with_views_as_without(model):
    shared = PretrainedEmbedder(model, views="flip", layer="map", pool="max").fit_transform(PHOTOS)
    alone = PretrainedEmbedder(model, views="flip", layer="map", pool="max", cache=None).transform(PHOTOS)
    np.testing.assert_allclose(shared, alone, rtol=1e-5)


def test_key_of_today_stays_without_views():
    recipe = Recipe("0" * 64, ImageSpec((8, 8), "squash"), ("embedding",), "mean")
    assert "views" not in recipe.canonical()
    assert dataclasses.replace(recipe, views="flip").key != recipe.key


def test_views_are_for_images_only(tmp_path):
    numbers = testing.save_backbone(testing.array_backbone(), tmp_path)
    with pytest.raises(CardError, match=r"views='flip' is not for array samples, which '.*' takes\."):
        PretrainedEmbedder(numbers, views="flip").fit(np.zeros((2, 4)))


def test_maps_have_no_mean_of_views(model):
    with pytest.raises(LayerError, match="pool='none' keeps every place, and views='flip' averages rows; choose one"):
        PretrainedEmbedder(model, views="flip", layer="map", pool="none").fit(PHOTOS)


def test_another_view_is_no_parameter(model):
    with pytest.raises(ValueError, match="The 'views' parameter of PretrainedEmbedder must be"):
        PretrainedEmbedder(model, views="rotate").fit(PHOTOS)


@pytest.mark.parametrize("size", [(61, 40), (60, 40), (40, 61), (33, 33), (500, 20)])
@pytest.mark.parametrize("draft", [False, True])
@pytest.mark.parametrize("rounding", ["nearest", "torchvision", "transformers"])
def test_mirror_image_is_cropped_where_the_mirrored_file_is(size, draft, rounding):
    spec = ImageSpec((24, 24), "shorter", 27, draft=draft, rounding=rounding)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    _, seen = _geometry.fit_views(picture, spec, "flip")
    wanted = _geometry.fit(picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT), spec)
    assert np.abs(seen.astype(int) - wanted).max() <= 1


def test_file_decoded_apart_has_both_views():
    from skltransfer._engine.modalities.image import _apart

    spec = ImageSpec((24, 24), "shorter", 27)
    data = encoded(PHOTOS[1])
    both = images.prepare(images.read(data), spec), images.prepare(images.read(encoded(MIRRORED[1])), spec)
    found = _apart.prepare(data, spec, views="flip")
    np.testing.assert_array_equal(found[0], both[0])
    np.testing.assert_allclose(found[1].astype(int), both[1].astype(int), atol=1)


def test_embedder_pickled_without_views_has_none(model):
    embedder = PretrainedEmbedder(model)
    state = dict(embedder.__getstate__())
    del state["views"]
    old = PretrainedEmbedder.__new__(PretrainedEmbedder)
    old.__setstate__(state)
    assert old.views is None
    np.testing.assert_array_equal(old.transform(PHOTOS), embedder.transform(PHOTOS))


def test_card_keeps_its_input(model):
    assert "views" not in load_card(model).to_dict()["input"]
