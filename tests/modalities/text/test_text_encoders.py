"""Graphs that take tokens: their inputs, layers and pooling; padding has no part in a row."""

import numpy as np
import pytest

from skltransfer import PretrainedEmbedder, load_card, testing
from skltransfer.errors import (
    CardError,
    LayerError,
    ModelError,
    ModelWarning,
)
from skltransfer.testing import BERT_INPUTS, POOLED, TABLE, text_rows
from skltransfer.testing._texts import token_states
from tests import graphs, text_graphs
from tests.modalities.text.support import ROWS, TEXTS

INPUTS = {
    "ids": {"input_ids": "int64"},
    "ids of 32 bits": {"input_ids": "int32"},
    "ids and mask": {"input_ids": "int64", "attention_mask": "int64"},
    "ids, mask and types": BERT_INPUTS,
    "ids, mask and types of 32 bits": dict.fromkeys(BERT_INPUTS, "int32"),
    "types, mask and ids": dict(reversed(BERT_INPUTS.items())),
    "a mask of floats": {"input_ids": "int64", "attention_mask": "float32"},
    "a mask of booleans": {"input_ids": "int32", "attention_mask": "bool"},
    "the names of TensorFlow": {"segment_ids": "int32", "input_mask": "int32", "input_ids": "int32"},
}


@pytest.mark.parametrize("kind", INPUTS)
def test_graph_may_take(kind, tmp_path):
    path = testing.save_text_backbone(testing.text_backbone(INPUTS[kind]), tmp_path, layer="states", pool="mean")
    np.testing.assert_allclose(PretrainedEmbedder(path).transform(TEXTS), ROWS, rtol=1e-5)


def _with_further_input(name):
    """A graph whose states are those of the words plus another input."""
    nodes = [
        graphs.node("Gather", ["table", "input_ids"], ["words"]),
        graphs.node("Cast", [name], ["number"], to=1),
        graphs.node("Unsqueeze", ["number", "axis"], ["column"]),
        graphs.node("Add", ["words", "column"], ["states"]),
    ]
    inputs = {"input_ids": "int64", name: "int64", "attention_mask": "int64"}
    return text_graphs.model(nodes, inputs, "states", table=TABLE, axis=np.array([2]))


def test_graph_that_takes_something_else_is_refused(tmp_path):
    model = testing.save_text_backbone(_with_further_input("language"), tmp_path)
    with pytest.raises(CardError, match=r"inputs are input_ids, language; .*'language' is none. Fix it .*constants="):
        PretrainedEmbedder(model).transform(TEXTS)


def test_input_that_the_layer_does_not_need_is_no_obstacle(tmp_path):
    model = testing.save_text_backbone(testing.text_backbone({"input_ids": "int64", "language": "int64"}), tmp_path)
    np.testing.assert_allclose(PretrainedEmbedder(model).transform(TEXTS), ROWS, rtol=1e-5)


def test_positions_are_counted_from_the_mask(tmp_path):
    model = testing.save_text_backbone(_with_further_input("position_ids"), tmp_path, pool="mean")
    want = [row + (len(text.split()) + 1) / 2 for row, text in zip(ROWS, TEXTS, strict=True)]
    np.testing.assert_allclose(PretrainedEmbedder(model).transform(TEXTS), want, rtol=1e-5)


def test_constant_of_the_card_is_given_to_every_text(tmp_path):
    model = testing.save_text_backbone(
        _with_further_input("language"), tmp_path, pool="mean", constants={"language": 7}
    )
    np.testing.assert_allclose(PretrainedEmbedder(model).transform(TEXTS), ROWS + 7, rtol=1e-5)
    assert load_card(model).constants == {"language": 7}


def test_graph_that_takes_no_ids_is_refused(tmp_path):
    gather = graphs.node("Gather", ["table", "attention_mask"], ["states"])
    graph = text_graphs.model([gather], {"attention_mask": "int64"}, "states", table=TABLE)
    with pytest.raises(CardError, match=r"The graph's inputs are attention_mask; one must be token ids"):
        PretrainedEmbedder(testing.save_text_backbone(graph, tmp_path)).transform(TEXTS)


@pytest.mark.parametrize("pool", POOLED)
def test_padding_has_no_part_in(pool, embedder, runs):
    embedder.set_params(layer="context", pool=pool, cache=None)
    rows = embedder.transform(TEXTS)
    assert runs == [(6, 10)]
    np.testing.assert_allclose(rows, text_rows(TEXTS, pool, "context"), rtol=1e-5)
    np.testing.assert_allclose(rows, np.concatenate([embedder.transform([t]) for t in TEXTS]), rtol=1e-5)


def test_layer_that_is_a_row_already_is_given_the_mask(embedder):
    rows = embedder.set_params(layer="embedding").transform(TEXTS)
    np.testing.assert_allclose(rows, [token_states(text).sum(axis=0) for text in TEXTS], rtol=1e-6)


def test_several_layers_stand_side_by_side(embedder):
    rows = embedder.set_params(layer=["embedding", "states"], pool="max").transform(TEXTS)
    want = np.hstack([[token_states(text).sum(axis=0) for text in TEXTS], text_rows(TEXTS, "max")])
    np.testing.assert_allclose(rows, want, rtol=1e-6)


def test_flatten_is_refused(embedder):
    with pytest.raises(LayerError, match="rows of different lengths for texts; pass pool='mean'"):
        embedder.set_params(pool="flatten").transform(TEXTS)


def test_layer_of_one_number_per_token_is_refused(embedder):
    with pytest.raises(CardError, match=r"inputs are attention_mask; one must be token ids, and none is by its name"):
        embedder.set_params(layer="real").transform(TEXTS)


@pytest.mark.parametrize("batch_size", ["auto", 2])
def test_graph_that_mixes_padding_in_is_run_one_text_at_a_time_without_any(batch_size, tmp_path, runs):
    path = testing.save_text_backbone(text_graphs.mixer(), tmp_path)
    with pytest.warns(ModelWarning, match="a row alone differs from the same row in a batch.* one sample at a time"):
        rows = PretrainedEmbedder(path, batch_size=batch_size).transform(TEXTS)
    np.testing.assert_allclose(rows, 2 * ROWS, rtol=1e-5)  # states and their mean, averaged
    assert sorted(runs) == sorted((1, 2 + len(text.split())) for text in TEXTS)


def test_token_that_the_graph_does_not_know_names_the_samples(tmp_path):
    path = testing.save_text_backbone(testing.text_backbone(table=TABLE[:-1]), tmp_path)
    with pytest.raises(ModelError, match=r"fails on samples 0 to 1, .*out of.*bounds"):
        PretrainedEmbedder(path).transform(["one", "eight"])
