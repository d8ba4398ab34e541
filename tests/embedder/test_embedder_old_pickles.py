"""Pickles of skltransfer 0.1 work, or say what to do."""

import base64
import json
import pickle
import warnings

import numpy as np
import pytest

from skltransfer import PretrainedEmbedder, load_card
from skltransfer.datasets import load_emoji
from skltransfer.errors import ModelChangedError
from tests.paths import FIXTURES

PICKLES = json.loads((FIXTURES / "pickles_0_1.json").read_text())
EMOJI = load_emoji()


def unpickled(name: str):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return pickle.loads(base64.b64decode(PICKLES[name]))


@pytest.mark.parametrize("name", ["estimator", "fitted"])
def test_estimator_embeds_as_one_of_today(name):
    want = PretrainedEmbedder().fit_transform(EMOJI.images[:4])
    np.testing.assert_array_equal(unpickled(name).transform(EMOJI.images[:4]), want)


def test_fitted_estimator_of_texts_embeds():
    assert unpickled("fitted_text").transform(EMOJI.texts[:3]).shape == (3, 384)


def test_fitted_estimator_compares_the_hash_of_its_model():
    estimator = unpickled("fitted")
    estimator.model_sha256_ = "0" * 64
    with pytest.raises(ModelChangedError, match="bring back the files with the SHA-256 0000"):
        estimator.transform(EMOJI.images[:1])


@pytest.mark.parametrize("name", ["card_image", "card_text", "card_array"])
def test_card_is_read_with_the_new_names(name):
    card = unpickled(name)
    assert card.license
    assert card.input == type(card.input)(**vars(card.input))


def test_card_says_that_its_form_is_old():
    with pytest.warns(FutureWarning) as caught:
        pickle.loads(base64.b64decode(PICKLES["card_image"]))
    assert {str(w.message).split(" pickled")[0] for w in caught} == {"A Card", "A ImageSpec"}


def test_estimator_with_a_card_keeps_what_was_set():
    estimator = unpickled("with_card")
    assert (estimator.model.input.draft, estimator.layer) == (False, "block_2")
    assert estimator.model.input == load_card("vision-mini", draft=False).input
