"""Variants are kept beside the model or in the store, and made anew where they no longer fit."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from skltransfer import PretrainedEmbedder, load_card, testing
from skltransfer._engine import runtime
from skltransfer._engine.quantization import _quantize, find_quantized, quantize, quantized_card
from skltransfer.errors import (
    IntegrityError,
)
from tests import graphs
from tests.quantization.support import PICTURES, PRECISIONS


@pytest.fixture
def never(monkeypatch):
    """Let no variant be made."""

    def refuse(model, inputs):
        raise AssertionError("a variant is being made")

    return lambda: [monkeypatch.setitem(_quantize.CONVERTERS, precision, refuse) for precision in PRECISIONS]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_variant_is_a_card_folder_beside_the_model(precision, images):
    made = quantize(images, precision)
    assert made.folder == Path(images).with_name(f"deep.{precision}").resolve()
    assert sorted(path.name for path in made.folder.iterdir()) == ["card.json", "model.onnx"]
    rows = PretrainedEmbedder(str(made.folder)).fit_transform(PICTURES)
    np.testing.assert_array_equal(rows, PretrainedEmbedder(images, precision=precision).transform(PICTURES))


def test_variant_of_texts_has_its_tokenizer_and_can_be_moved(texts, tmp_path):
    made = quantize(texts, "int8")
    moved = shutil.move(made.folder, tmp_path / "elsewhere")
    assert sorted(os.listdir(moved)) == ["card.json", "model.onnx", "tokenizer.json"]
    assert PretrainedEmbedder(str(moved)).fit_transform(["one"]).shape == (1, 48)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_variant_is_made_once(precision, images, never):
    before = PretrainedEmbedder(images, precision=precision).fit_transform(PICTURES)
    never()
    runtime.clear()
    after = PretrainedEmbedder(images, precision=precision, cache=None).fit_transform(PICTURES)
    np.testing.assert_array_equal(before, after)


def test_variant_of_another_file_of_that_name_is_made_anew(images, tmp_path):
    old = quantize(images, "fp16")
    graphs.save_images(tmp_path, graphs.deep(width=8), "deep")
    assert find_quantized(load_card(images), "fp16") is None
    assert PretrainedEmbedder(images, precision="fp16").fit_transform(PICTURES).shape == (12, 8)
    assert find_quantized(load_card(images), "fp16").source != old.source


def test_variant_of_an_older_edition_is_made_anew(images, monkeypatch):
    quantize(images, "fp16")
    monkeypatch.setattr(_quantize, "VERSION", _quantize.VERSION + 1)
    assert find_quantized(load_card(images), "fp16") is None


def test_variant_of_an_embedded_model_goes_to_the_store(store):
    made = quantize("vision-mini", "int8")
    assert made.folder.is_relative_to(store)
    assert made.measured["cosine"] > 0.999


def test_variant_of_a_folder_that_cannot_be_written_goes_to_the_store(images, store, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert quantize(images, "fp16").folder.is_relative_to(store)


def test_variant_that_was_changed_is_refused(images):
    path = quantize(images, "fp16").folder / "model.onnx"
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(IntegrityError, match="its card pins"):
        PretrainedEmbedder(images, precision="fp16").fit(PICTURES)


def test_card_says_what_was_measured(images):
    measured = quantize(images, "int8").measured
    assert measured.keys() == {"cosine", "least_cosine", "speed", "on"}
    assert 0.99 <= measured["cosine"] <= 1
    assert measured["least_cosine"] <= measured["cosine"]
    assert measured["speed"] > 0
    assert measured["on"] == "24 synthetic samples"


def test_what_the_user_says_of_a_card_holds_for_its_variant(images):
    card = load_card(images, color="BGR", layer="act_6", pool="max")
    found = quantized_card(card, "int8", runtime.Device())
    assert (found.input.color, found.layer, found.pool) == ("BGR", "act_6", "max")


def test_variants_are_candidates_of_a_search(images):
    X, y = testing.noise_images(40), np.arange(40) % 2
    pipeline = make_pipeline(PretrainedEmbedder(images), LogisticRegression())
    grid = {"pretrainedembedder__precision": ["auto", "fp16", "int8"]}
    search = GridSearchCV(pipeline, grid, error_score="raise", n_jobs=2, cv=2).fit(X, y)
    assert len(search.cv_results_["params"]) == 3


def test_fingerprint_is_that_of_the_variant(images):
    prints = [PretrainedEmbedder(images, precision=p).fit(PICTURES).model_sha256_ for p in ("auto", "fp16", "int8")]
    assert len(set(prints)) == 3
