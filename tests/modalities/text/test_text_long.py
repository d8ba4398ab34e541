"""Texts of a megabyte: as many characters are looked at as the tokens need, and a part at a time."""

import itertools

import numpy as np
import pytest

from skltransfer import PretrainedEmbedder, testing
from skltransfer._engine.modalities.text import _tokens
from skltransfer.errors import InputWarning
from skltransfer.testing import text_rows
from tests.modalities.text.support import long


@pytest.fixture
def looked_at(monkeypatch):
    """Count the characters that are given to the tokenizer, call by call."""
    counts, encode = [], _tokens._encode

    def counted(texts, tokenizer):
        counts.append(sum(map(len, texts)))
        return encode(texts, tokenizer)

    monkeypatch.setattr(_tokens, "_encode", counted)
    return counts


@pytest.fixture
def saved(tmp_path):
    """Save a backbone that takes three words, cut on a side."""

    def save(**options):
        return testing.save_text_backbone(testing.text_backbone(), tmp_path, max_length=5, **options)

    return save


LONG = long(200_000)


@pytest.mark.parametrize("side", ["right", "left"])
def test_few_characters_of_a_long_text_are_looked_at(side, saved, looked_at):
    words = LONG.split()
    kept = words[:3] if side == "right" else words[-3:]
    with pytest.warns(InputWarning, match=r"1 of 1 texts .* max_length=5 tokens: at least 9\d\.\d% of all"):
        rows = PretrainedEmbedder(saved(truncation=side)).transform([LONG])
    np.testing.assert_allclose(rows, text_rows([" ".join(kept)]), rtol=1e-6)
    assert max(looked_at) == _tokens.LEAST_CHARS


@pytest.mark.parametrize("side", ["right", "left"])
def test_more_is_looked_at_where_the_first_characters_are_too_few(side, saved, looked_at):
    text = "one" + " " * 50_000 + "two" + " " * 50_000 + "three"
    rows = PretrainedEmbedder(saved(truncation=side)).transform([text])
    np.testing.assert_allclose(rows, text_rows(["one two three"]), rtol=1e-6)
    assert max(looked_at) == len(text)


def test_share_of_texts_below_the_bound_is_exact(saved):
    with pytest.warns(InputWarning, match=r"tokens: 97\.0% of all"):
        PretrainedEmbedder(saved()).transform([long(100)])


@pytest.mark.parametrize("side", ["right", "left"])
def test_parts_of_a_text_hold_all_of_it_between_words(side):
    parts = _tokens._parts(LONG, 1000, side)
    assert "".join(parts) == LONG
    assert max(map(len, parts)) <= 1000
    assert all(a[-1] == " " or b[0] == " " for a, b in itertools.pairwise(parts))


def test_text_without_a_space_is_cut_anywhere():
    assert _tokens._parts("x" * 25, 10, "right") == ["x" * 10, "x" * 10, "x" * 5]


@pytest.mark.parametrize("side", ["right", "left"])
def test_windows_of_a_long_text_are_those_of_its_parts(side, saved, monkeypatch):
    monkeypatch.setattr(_tokens, "PART_CHARS", 100)
    text = long(90)
    parts = _tokens._parts(text, 100, side)
    assert len(parts) > 1
    embedder = PretrainedEmbedder(saved(truncation=side), long_text="windows")
    windows = []
    for words in (part.split() for part in parts):
        starts = range(0, len(words), 3) if side == "right" else range(len(words), 0, -3)
        windows += [words[i : i + 3] if side == "right" else words[max(0, i - 3) : i] for i in starts]
    want = text_rows([" ".join(window) for window in windows]).mean(axis=0)
    np.testing.assert_allclose(embedder.transform([text]), [want], rtol=1e-5)


def test_texts_are_encoded_some_at_a_time(saved, monkeypatch):
    monkeypatch.setattr(_tokens, "AT_ONCE", 10)
    texts = ["one two", "three", "four five six", "", "seven"]
    np.testing.assert_allclose(PretrainedEmbedder(saved()).transform(texts), text_rows(texts), rtol=1e-6)
