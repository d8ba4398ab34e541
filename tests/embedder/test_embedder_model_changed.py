"""A fitted pipeline does not predict on with another backbone than the one it was fitted with."""

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from skltransfer import PretrainedEmbedder, load_card, testing
from skltransfer.cards import card_path
from skltransfer.errors import ModelChangedError
from tests import graphs

PICTURES = testing.noise_images(8)


@pytest.fixture
def model(tmp_path):
    return graphs.save_images(tmp_path)


def rewrite(model: str, **changes) -> None:
    """Change the input of a model's card in its file, as another version of the package would bring it."""
    path = card_path(Path(model))
    card = json.loads(path.read_text())
    card["input"].update(changes)
    path.write_text(json.dumps(card))
    os.utime(path, ns=(1, 1))  # the change time shows it all the same


def test_card_that_was_rewritten_is_refused(model):
    pipeline = make_pipeline(PretrainedEmbedder(model), LogisticRegression()).fit(PICTURES, [0, 1] * 4)
    rewrite(model, color="BGR")
    with pytest.raises(ModelChangedError, match=r"fitted with .*tiny\.onnx.*; now it is .* Fit again, or bring"):
        pipeline.predict(PICTURES)


def test_graph_that_was_replaced_is_refused(tmp_path):
    model = testing.save_backbone(testing.image_backbone(), tmp_path, pin=False)
    embedder = PretrainedEmbedder(load_card(model, preset="raw", resize="squash")).fit(PICTURES)
    model.write_bytes(graphs.channel_means().SerializeToString())
    with pytest.raises(ModelChangedError, match="its files or its input have changed"):
        embedder.transform(PICTURES)


def test_fitting_again_accepts_the_new_model(model):
    embedder = PretrainedEmbedder(model).fit(PICTURES)
    rewrite(model, color="BGR")
    assert embedder.fit(PICTURES).transform(PICTURES).shape == (8, embedder.embedding_dim_)


@pytest.mark.parametrize("change", [{"normalize": True}, {"layer": "map", "pool": "max"}, {"batch_size": 3}])
def test_parameters_may_change_after_fit(model, change):
    PretrainedEmbedder(model).fit(PICTURES).set_params(**change).transform(PICTURES)


def test_another_model_may_be_set_after_fit(model, tmp_path):
    other = graphs.save_images(tmp_path, graphs.deep(), "deep")
    embedder = PretrainedEmbedder(model).fit(PICTURES).set_params(model=other)
    want = PretrainedEmbedder(other).fit_transform(PICTURES)
    np.testing.assert_allclose(embedder.transform(PICTURES), want, rtol=1e-6)


def test_pickle_that_meets_another_model_is_refused(model):
    pickled = pickle.dumps(PretrainedEmbedder(model).fit(PICTURES))
    rewrite(model, color="BGR")
    with pytest.raises(ModelChangedError):
        pickle.loads(pickled).transform(PICTURES)


def test_key_is_that_of_files_and_input_alone(model):
    keys = [
        PretrainedEmbedder(model, **parameters).fit(PICTURES).model_key_
        for parameters in ({}, {"batch_size": 1, "n_jobs": 1, "cache": None}, {"layer": "map", "normalize": True})
    ]
    assert len(set(keys)) == 1
    assert len(keys[0]) == 32
