"""Dense embeddings: proportions, places, and what the plain embedder computes."""

import numpy as np
import pytest
from sklearn.base import clone

from skltransfer import PretrainedEmbedder, load_card
from skltransfer.detection import DenseEmbedder
from skltransfer.errors import SampleError
from tests.detection.support import scenes


def test_maps_are_those_of_the_embedder_where_nothing_is_padded():
    images, _ = scenes(2, size=(192, 192))
    found = DenseEmbedder(layers=["block_4"], longer_side=192, n_jobs=1).fit_transform(images)
    card = load_card("vision-mini", size=(192, 192), resize="squash")
    expected = PretrainedEmbedder(card, layer="block_4", pool="none", n_jobs=1).transform(images)
    assert np.allclose([one.maps[0] for one in found], expected, atol=0.02, rtol=2e-3)  # float16


def test_each_image_keeps_its_proportions():
    wide, tall = scenes(1, size=(300, 100))[0][0], scenes(1, size=(90, 240))[0][0]
    found = DenseEmbedder(longer_side=160, n_jobs=1).transform([wide, tall])
    assert [one.maps[1].shape[1:] for one in found] == [(4, 10), (10, 4)]
    assert [one.size for one in found] == [(300, 100), (90, 240)]
    width, height = found[0].cells[1]
    assert 4 * height >= 100 > 3 * height
    assert width == pytest.approx(30)


def test_components_are_as_many_as_asked_for():
    images, _ = scenes(1)
    (found,) = DenseEmbedder(components=(4, 5, 1000), longer_side=96, n_jobs=1).transform(images)
    assert [one.shape[0] for one in found.maps] == [4, 5, 512]


def test_fit_names_the_layers_and_clones_are_cheap():
    embedder = clone(DenseEmbedder(longer_side=128)).fit()
    assert embedder.layers_ == ("block_2", "block_4", "block_5")


def test_an_unreadable_image_is_named():
    with pytest.raises(SampleError, match=r"sample 1 \('/no/such.jpg'\)"):
        DenseEmbedder(n_jobs=1).transform([scenes(1)[0][0], "/no/such.jpg"])
