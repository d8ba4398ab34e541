"""Long texts: cut at `max_length`, taken in windows, capped in characters; prefixes and padding."""

import numpy as np
import pytest

from skltransfer import PretrainedEmbedder, load_card, testing
from skltransfer.errors import (
    CardError,
    InputWarning,
)
from skltransfer.testing import POOLED, TABLE, VOCABULARY, text_rows
from tests.modalities.text.support import TEXTS, long, windows


@pytest.mark.parametrize(("side", "kept"), [("right", "one two"), ("left", "four five")])
def test_longer_text_is_cut_off_on(side, kept, tmp_path):
    path = testing.save_text_backbone(testing.text_backbone(), tmp_path, max_length=4, truncation=side)
    with pytest.warns(InputWarning, match=r"1 of 1 texts .*max_length=4 tokens: 60.0% of all"):
        rows = PretrainedEmbedder(path).transform(["one two three four five"])
    np.testing.assert_allclose(rows, text_rows([kept]), rtol=1e-6)


@pytest.mark.parametrize("number", [4, np.int64(4)], ids=["int", "int64"])
@pytest.mark.parametrize("own", [3, 9])
def test_max_length_of_the_estimator_overrides_the_card(own, number, tmp_path):
    path = testing.save_text_backbone(testing.text_backbone(), tmp_path, max_length=own)
    with pytest.warns(InputWarning, match="1 of 1 texts are longer than max_length=4 tokens"):
        rows = PretrainedEmbedder(path, max_length=number).transform([long(5)])
    np.testing.assert_allclose(rows, text_rows([long(2)]), rtol=1e-6)


@pytest.mark.parametrize("batch_size", ["auto", 1])
def test_what_is_cut_off_is_reported_once_with_number_and_share(batch_size, embedder):
    # Beside the two special tokens there is room for 3 of 3, 5, 7 and 1 words: 2 + 4 of 16 are lost.
    embedder.set_params(max_length=5, batch_size=batch_size)
    with pytest.warns(InputWarning) as caught:
        embedder.transform([long(3), long(5), long(7), long(1)] + ["one"] * 500)
    assert [str(w.message) for w in caught] == [
        "2 of 4 texts are longer than max_length=5 tokens: 37.5% of all tokens were cut off. "
        "To use them: long_text='windows'."
    ]
    assert caught[0].filename == __file__


def test_text_of_just_max_length_is_not_reported(embedder):
    np.testing.assert_allclose(embedder.set_params(max_length=5).transform([long(3)]), text_rows([long(3)]), rtol=1e-6)


def test_what_is_reported_does_not_add_up_over_calls(embedder):
    embedder.set_params(max_length=5, cache=None)
    for _ in range(2):
        with pytest.warns(InputWarning, match="^1 of 1 texts"):
            embedder.transform([long(9)])


@pytest.mark.parametrize("max_length", [1, 2])
def test_max_length_without_room_for_a_token_is_refused(max_length, embedder):
    with pytest.raises(
        CardError, match=f"max_length={max_length} leaves no room .*beside 2 special ones; give at least 3"
    ):
        embedder.set_params(max_length=max_length).transform(["one"])


def test_max_length_of_one_is_enough_without_special_tokens(tmp_path):
    path = testing.save_text_backbone(
        testing.text_backbone(), tmp_path, tokenizer=testing.word_tokenizer(special=False), max_length=1
    )
    with pytest.warns(InputWarning, match=r"1 of 1 texts .*66.7%"):
        rows = PretrainedEmbedder(path).transform(["three two one"])
    np.testing.assert_allclose(rows, TABLE[[VOCABULARY["three"]]], rtol=1e-6)


@pytest.mark.parametrize("max_length", [0, 2.5, "8"])
def test_max_length_that_is_no_positive_integer_is_refused(max_length, embedder):
    with pytest.raises(ValueError, match="'max_length' parameter of PretrainedEmbedder must be an int"):
        embedder.set_params(max_length=max_length).transform(["one"])


@pytest.mark.parametrize("parameter", [{"max_length": 8}, {"long_text": "windows"}], ids=str)
def test_parameter_for_texts_is_refused_where_samples_are_none(parameter, tmp_path):
    path = testing.save_backbone(testing.array_backbone(), tmp_path)
    with pytest.raises(CardError, match=f"{next(iter(parameter))} is not for array samples, which 'tiny' takes"):
        PretrainedEmbedder(path, **parameter).transform(np.ones((2, 4)))


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("pool", POOLED)
def test_windows_are_the_mean_of_their_rows(pool, normalize, embedder):
    embedder.set_params(max_length=5, long_text="windows", layer="context", pool=pool, normalize=normalize)
    want = []
    for text in (samples := [*TEXTS, long(23)]):
        rows = text_rows(windows(text, 3), pool, "context")
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True) if normalize else rows
        want.append(rows.mean(axis=0))
    lengths = np.linalg.norm(want, axis=1, keepdims=True) if normalize else 1
    np.testing.assert_allclose(embedder.transform(samples), np.array(want) / lengths, rtol=1e-5, atol=1e-6)


def test_windows_of_a_text_cut_on_the_left_hold_all_of_it(tmp_path):
    path = testing.save_text_backbone(testing.text_backbone(), tmp_path, max_length=4, truncation="left")
    want = text_rows(["four five", "two three", "one"]).mean(axis=0)
    np.testing.assert_allclose(
        PretrainedEmbedder(path, long_text="windows").transform(["one two three four five"]), [want], rtol=1e-6
    )


@pytest.mark.parametrize(("side", "kept"), [("right", "one two"), ("left", "five six")])
@pytest.mark.parametrize("long_text", ["truncate", "windows"])
def test_characters_beyond_the_cap_are_not_looked_at_and_reported(long_text, side, kept, tmp_path):
    path = testing.save_text_backbone(testing.text_backbone(), tmp_path, max_chars=8, truncation=side)
    with pytest.warns(InputWarning, match=r"^1 of 2 texts are longer than max_chars=8 characters; .*load_card"):
        rows = PretrainedEmbedder(path, long_text=long_text).transform(["one two thirty five six", "one"])
    np.testing.assert_allclose(rows, text_rows([kept, "one"]), rtol=1e-6)


def test_cap_is_raised_with_the_card(folder):
    with pytest.warns(InputWarning, match="max_chars=3 characters"):
        rows = PretrainedEmbedder(load_card(folder, max_chars=3)).transform(["one two"])
    np.testing.assert_allclose(rows, text_rows(["one"]), rtol=1e-6)


def test_prefix_stands_before_every_text(tmp_path):
    path = testing.save_text_backbone(testing.text_backbone(), tmp_path, prefix="eight eight ")
    rows = PretrainedEmbedder(path).transform(TEXTS)
    np.testing.assert_allclose(rows, text_rows([f"eight eight {text}" for text in TEXTS]), rtol=1e-5)


FILLED = (["[CLS]", "one", "[SEP]", "[PAD]", "[PAD]"], ["[CLS]", "one", "two", "three", "[SEP]"])


@pytest.mark.parametrize("long_text", ["truncate", "windows"])
def test_filled_texts_hold_padding_like_any_token(long_text, tmp_path):
    path = testing.save_text_backbone(
        testing.text_backbone({"input_ids": "int64"}), tmp_path, pool="mean", max_length=5, fill=True
    )
    rows = PretrainedEmbedder(path, long_text=long_text).transform(["one", "one two three"])
    ids = [[VOCABULARY[token] for token in tokens] for tokens in FILLED]
    np.testing.assert_allclose(rows, TABLE[ids].mean(axis=1), rtol=1e-5)
