"""The recipe of `text-mini`: its table and its graph, on a handful of tokens."""

import numpy as np
import onnxruntime as ort
import pytest

pytest.importorskip("tokenizers", reason="the recipe needs tokenizers")

from distill_text import graph, table

RANDOM = np.random.default_rng(0)
VECTORS = RANDOM.normal(size=(6, 8)).astype(np.float32)
WEIGHTS = np.array([0, 1, 2, 0.5, 1, 1], np.float32)


def rounded(vectors: np.ndarray) -> np.ndarray:
    codes, scales = table.quantize(vectors)
    return scales[:, None] * (codes - np.float32(table.HALF))


def run(rows: list[list[int]], mask: list[list[int]], layer: str = "embedding") -> np.ndarray:
    codes, scales = table.quantize(VECTORS)
    model = graph.build_graph(table.pack(codes), scales, WEIGHTS)
    model.graph.output[0].name = layer
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run([layer], {"input_ids": np.array(rows), "attention_mask": np.array(mask)})[0]


def test_graph_returns_the_weighted_mean_of_the_rounded_vectors_at_length_one():
    expected = (rounded(VECTORS)[[1, 2, 3]] * WEIGHTS[[1, 2, 3], None]).sum(0)
    expected /= np.linalg.norm(expected)
    np.testing.assert_allclose(run([[1, 2, 3, 4]], [[1, 1, 1, 0]])[0], expected, atol=1e-5)


@pytest.mark.parametrize(("layer", "factors"), [("unweighted", [1, 1, 0, 1]), ("beginning", [1, 1 / 2, 0, 1 / 4])])
def test_inner_layers_weigh_known_tokens_by_their_place(layer, factors):
    rows = [1, 2, 0, 3, 4]  # the token 0 has no weight
    expected = (rounded(VECTORS)[rows[:4]] * np.array(factors)[:, None]).sum(0)
    expected /= np.linalg.norm(expected)
    np.testing.assert_allclose(run([rows], [[1, 1, 1, 1, 0]], layer)[0], expected, atol=1e-5)


@pytest.mark.parametrize("layer", ["unweighted", "beginning"])
def test_inner_layers_of_a_text_without_weight_are_zeros(layer):
    assert run([[0, 1]], [[1, 0]], layer).tolist() == [[0.0] * 8]


def test_text_without_weight_has_an_embedding_of_zeros():
    assert run([[0, 1]], [[1, 0]]).tolist() == [[0.0] * 8]


def test_four_bits_cost_little_of_the_variance():
    vectors = RANDOM.normal(size=(100, 64)).astype(np.float32)
    assert np.square(rounded(vectors) - vectors).sum() / np.square(vectors).sum() < 0.02


def test_frequent_words_weigh_less_and_special_tokens_nothing():
    tokens = ["[PAD]", "a", "the", "cat", "ocelot"]
    weights = table.weigh_tokens(tokens, np.array([False, True, True, True, True]), smoothing=0.1, single=3)
    assert weights[0] == 0
    assert weights[2] < weights[3] < weights[4]
    assert weights[1] == weights[4]
