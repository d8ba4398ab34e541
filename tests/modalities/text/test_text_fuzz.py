"""Any text, and anything that is none: a row of its own or an error that names it, never anything else."""

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skltransfer import PretrainedEmbedder, load_card, testing
from skltransfer._engine import hub
from skltransfer._engine.modalities import File
from skltransfer._engine.modalities import text as texts
from skltransfer.cards import TextSpec
from skltransfer.errors import BadSamplesWarning, SampleError
from tests import text_graphs

#: A third of all signs are of the plain ones that the vocabulary has; the others are any, lone surrogates included.
SIGNS = st.one_of(st.sampled_from("ab 1.[]"), st.characters(exclude_categories=["Cs"]), st.characters())
ANY_TEXT = st.text(SIGNS, max_size=40) | st.sampled_from([*testing.SPECIAL, "a" * 300, "a " * 200, "\0", "\u202e"])
TEXT = ANY_TEXT.filter(lambda text: not any("\ud800" <= sign <= "\udfff" for sign in text))
NO_TEXT = st.one_of(
    st.none(),
    st.binary(max_size=4),
    st.integers(),
    st.floats(),
    st.tuples(TEXT),
    st.lists(TEXT, max_size=2),
    st.sampled_from([pd.NA, pd.NaT, np.nan, np.zeros(2), np.array(["a"]), object, {}, 1j]),
)
CHOICES = st.fixed_dictionaries(
    {
        "max_length": st.integers(3, 12),
        "long_text": st.sampled_from(["truncate", "windows"]),
        "pool": st.sampled_from(list(testing.POOLED)),
        "batch_size": st.sampled_from(["auto", 1, 3]),
        "cache": st.sampled_from([None, "memory"]),
    }
)
fuzz = settings(max_examples=200)
#: What is cut off, and what is left as NaN, is not the subject here.
pytestmark = pytest.mark.filterwarnings("ignore::skltransfer.errors.InputWarning")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    words = text_graphs.pieces()
    table = np.random.default_rng(0).normal(size=(words.get_vocab_size(), 8)).astype(np.float32)
    return testing.save_text_backbone(
        testing.text_backbone(table=table), tmp_path_factory.mktemp("texts"), words, layer="context"
    )


def is_text(sample: object) -> bool:
    """Tell whether a sample can be encoded, hence embedded."""
    try:
        sample.encode()
    except (AttributeError, UnicodeEncodeError):
        return False
    return True


@fuzz
@given(samples=st.lists(ANY_TEXT | NO_TEXT, max_size=6))
def test_first_sample_that_is_no_text_is_named_and_nothing_else_is_raised(folder, samples):
    bad = [i for i, sample in enumerate(samples) if not is_text(sample)]
    embedder = PretrainedEmbedder(folder, max_length=16)
    if not bad:
        assert np.isfinite(embedder.transform(samples)).all()
        return
    with pytest.raises(
        SampleError, match=f"^sample {bad[0]}: (the sample is missing|.* is no text|the text holds a lone)"
    ):
        embedder.transform(samples)


@fuzz
@given(samples=st.lists(ANY_TEXT | NO_TEXT, max_size=6), choices=CHOICES)
def test_rows_of_what_is_no_text_are_nan_and_the_others_are_not(folder, samples, choices):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BadSamplesWarning)
        rows = PretrainedEmbedder(folder, on_error="nan", **choices).transform(samples)
    assert [bool(np.isfinite(row).all()) for row in rows] == [is_text(sample) for sample in samples]
    assert np.isnan(rows[[not is_text(sample) for sample in samples]]).all()


@fuzz
@given(samples=st.lists(TEXT, min_size=1, max_size=6), choices=CHOICES)
def test_row_in_a_batch_is_the_row_alone(folder, samples, choices):
    embedder = PretrainedEmbedder(folder, **choices)
    rows = embedder.transform(samples)
    embedder.set_params(cache=None)
    alone = np.concatenate([embedder.transform([sample]) for sample in samples])
    np.testing.assert_allclose(rows, alone, rtol=1e-5, atol=1e-5)


def tokenize(folder: str, text: str, **spec) -> tuple[list[np.ndarray], texts.Loss]:
    """Give the pieces of one text and what was cut off."""
    made = TextSpec(**spec)
    path = load_card(folder).folder / "tokenizer.json"
    tokenizer = texts.open_tokenizer(File(path, hub.sha256(path)), made)
    [pieces], loss = texts.prepare([texts.read(text)], made, tokenizer)
    return pieces, loss


@fuzz
@given(text=TEXT, max_length=st.integers(3, 12), side=st.sampled_from(["right", "left"]))
def test_windows_hold_every_token_once(folder, text, max_length, side):
    [whole], _ = tokenize(folder, text, max_length=10_000)
    parts, _ = tokenize(folder, text, max_length=max_length, truncation=side, long_text="windows")
    assert max(map(len, parts)) <= max_length
    in_order = parts if side == "right" else parts[::-1]
    np.testing.assert_array_equal(np.concatenate([part[1:-1] for part in in_order]), whole[1:-1])


@fuzz
@given(text=TEXT, max_length=st.integers(3, 12), side=st.sampled_from(["right", "left"]))
def test_tokens_kept_and_tokens_lost_are_all_tokens(folder, text, max_length, side):
    [whole], _ = tokenize(folder, text, max_length=10_000)
    [kept], loss = tokenize(folder, text, max_length=max_length, truncation=side)
    inner = whole[1:-1]
    lost = max(0, len(whole) - max_length)
    assert loss == texts.Loss(int(lost > 0), lost, len(inner))
    np.testing.assert_array_equal(kept[1:-1], inner[: len(inner) - lost] if side == "right" else inner[lost:])
