"""What is a text: what is read and refused, and the containers texts come in."""

import enum

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from skltransfer import PretrainedEmbedder, testing
from skltransfer._engine.modalities import text as texts
from skltransfer.errors import (
    BadSamplesWarning,
    SampleError,
)
from skltransfer.testing import POOLED, TABLE, text_rows
from tests.modalities.text.support import ROWS, TEXTS


class Word(str):
    """Shows itself as something else."""

    def __str__(self):
        return "[a word]"


class Choice(str, enum.Enum):  # noqa: UP042 - a StrEnum would not show itself as "Choice.FIRST"
    FIRST = "one"


REFUSED = {
    "missing, None": (None, r"the sample is missing \(None\)"),
    "missing, NaN": (float("nan"), r"the sample is missing \(nan\)"),
    "missing, NaN of numpy": (np.float32("nan"), r"the sample is missing \(.*nan.*\)"),
    "missing, NA": (pd.NA, r"the sample is missing \(<NA>\)"),
    "missing, NaT": (pd.NaT, r"the sample is missing \(NaT\)"),
    "bytes": (b"one", r"bytes is no text; give a str, such as sample.decode\('utf8'\)"),
    "integer": (1, "int is no text; give a str"),
    "float": (1.5, "float is no text; give a str"),
    "tuple": (("one", "two"), "tuple is no text; give a str"),
    "list": (["one"], "list is no text; give a str"),
    "array": (np.array([1.0, 2.0]), "ndarray is no text; give a str"),
    "lone surrogate": ("one \ud800", r"lone surrogate at position 4; .*text.encode\('utf8', 'replace'\).decode\(\)"),
}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("cache", ["memory", None])
def test_refused_with_index_and_reason(kind, cache, embedder):
    sample, reason = REFUSED[kind]
    with pytest.raises(SampleError, match="^sample 1: .*" + reason + ".* pass on_error='nan'") as caught:
        embedder.set_params(cache=cache).transform(["one", sample, "two"])
    assert (caught.value.index, caught.value.path) == (1, None)


@pytest.mark.parametrize("cache", ["memory", None])
def test_refused_samples_are_rows_of_nan_where_asked_for(cache, embedder):
    embedder.set_params(on_error="nan", cache=cache)
    with pytest.warns(BadSamplesWarning, match=r"3 rows are NaN: sample 1: .*; sample 2: .*; sample 4") as caught:
        rows = embedder.transform(["one", None, b"two", "three", 4])
    np.testing.assert_allclose(rows[[0, 3]], text_rows(["one", "three"]), rtol=1e-6)
    assert np.isnan(rows[[1, 2, 4]]).all()
    assert [failure.index for failure in caught[0].message.failures] == [1, 2, 4]


def test_where_every_sample_is_refused_every_row_is_nan(embedder):
    with pytest.warns(BadSamplesWarning, match="2 rows are NaN"):
        assert np.isnan(embedder.set_params(on_error="nan").transform([None, 3])).all()


@pytest.mark.parametrize("sample", [np.str_("one"), Word("one"), Choice.FIRST], ids=lambda s: type(s).__name__)
def test_text_of_a_subclass_of_str_is_what_it_holds(sample, embedder):
    assert texts.read(sample).data == "one"
    np.testing.assert_allclose(embedder.transform([sample]), text_rows(["one"]), rtol=1e-6)


STRANGE = {
    "empty": ("", []),
    "white space": (" \t\n ", []),
    "NUL": ("one\0two", ["[UNK]"]),
    "NUL alone": ("\0", ["[UNK]"]),
    "emoji": ("one 👩\u200d👧 two", ["one", "[UNK]", "two"]),
    "right to left": ("שלום one مرحبا", ["[UNK]", "one", "[UNK]"]),
    "combining": ("one e\u0301", ["one", "[UNK]"]),
    "byte order mark": ("\ufeffone", ["[UNK]"]),
}


@pytest.mark.parametrize("kind", STRANGE)
def test_kept_as_a_text(kind, embedder):
    sample, words = STRANGE[kind]
    np.testing.assert_allclose(embedder.transform(["two", sample])[1:], text_rows([" ".join(words)]), rtol=1e-6)


@pytest.mark.parametrize("token", testing.SPECIAL)
def test_special_token_in_a_text_is_text(token, embedder):
    as_signs = "one [UNK] [UNK] [UNK] two"  # bracket, letters, bracket
    np.testing.assert_allclose(embedder.transform([f"one {token} two"]), text_rows([as_signs]), rtol=1e-6)


@pytest.mark.parametrize("pool", POOLED)
def test_text_without_any_token_has_a_finite_row_of_its_own(pool, tmp_path):
    path = testing.save_text_backbone(
        testing.text_backbone(), tmp_path, tokenizer=testing.word_tokenizer(special=False)
    )
    embedder = PretrainedEmbedder(path, layer="states", pool=pool, cache=None)
    rows = embedder.transform(["", "one two three", " "])
    np.testing.assert_allclose(rows[[0, 2]], embedder.transform([""]).repeat(2, axis=0), rtol=1e-6)
    np.testing.assert_allclose(rows[:1], TABLE[:1], rtol=1e-5)  # one token of padding


CONTAINERS = {
    "list": list,
    "tuple": tuple,
    "array of objects": lambda x: np.array(x, dtype=object),
    "array of strings": np.array,
    "array with one column": lambda x: np.array(x)[:, None],
    "StringDType": lambda x: np.array(x, dtype=np.dtypes.StringDType()),
    "pandas Series": pd.Series,
    "pandas Series of objects": lambda x: pd.Series(x, dtype=object),
    "pandas Series with an index": lambda x: pd.Series(x, index=range(len(x), 0, -1)),
    "pandas Series backed by pyarrow": lambda x: pd.Series(x, dtype="string[pyarrow]"),
    "pandas Series of an ArrowDtype": lambda x: pd.Series(x, dtype=pd.ArrowDtype(pa.string())),
    "pandas frame": lambda x: pd.DataFrame({"review": x}),
    "polars Series": pl.Series,
    "polars frame": lambda x: pl.DataFrame({"review": x}),
    "pyarrow array": pa.array,
    "pyarrow chunks": lambda x: pa.chunked_array([x[:2], x[2:]]),
    "generator": iter,
}


@pytest.mark.parametrize("method", ["transform", "fit_transform"])
@pytest.mark.parametrize("kind", CONTAINERS)
def test_texts_are_taken_from(kind, method, embedder):
    rows = getattr(embedder, method)(CONTAINERS[kind](TEXTS))
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, ROWS, rtol=1e-5)


MISSING = {
    "pandas Series": lambda x: pd.Series(x),
    "pandas Series of objects": lambda x: pd.Series(x, dtype=object),
    "pandas Series backed by pyarrow": lambda x: pd.Series(x, dtype="string[pyarrow]"),
    "pandas Series of an ArrowDtype": lambda x: pd.Series(x, dtype=pd.ArrowDtype(pa.string())),
    "polars Series": pl.Series,
    "pyarrow array": pa.array,
}


@pytest.mark.parametrize("kind", MISSING)
def test_missing_text_is_refused_in(kind, embedder):
    with pytest.raises(SampleError, match="sample 2: the sample is missing"):
        embedder.transform(MISSING[kind](["one", "two", None]))


def test_array_of_bytes_is_refused(embedder):
    with pytest.raises(SampleError, match=r"sample 0: bytes_ is no text; .*decode"):
        embedder.transform(np.array([b"one"]))


def test_single_text_is_refused(embedder):
    with pytest.raises(TypeError, match=r"X is 'one two', a single sample; give several, such as \['one two'\]"):
        embedder.transform("one two")


@pytest.mark.parametrize(
    "X", [[], (), np.array([], dtype=str), pd.Series([], dtype=str)], ids=lambda x: type(x).__name__
)
def test_no_texts_are_no_rows(X, embedder):
    assert embedder.transform(X).shape == (0, 3)
