"""Texts: what is read and refused, how it is cut, padded, pooled, batched and cached."""

import enum
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from skltransfer import PretrainedEmbedder, load_card
from skltransfer._engine import catalog, inspection, runtime, stream
from skltransfer._engine.modalities import text as texts
from skltransfer.cards import TextSpec
from skltransfer.errors import (
    BadSamplesWarning,
    CardError,
    InputWarning,
    IntegrityError,
    LayerError,
    MissingDependencyError,
    ModelError,
    ModelWarning,
    ProbeError,
    SampleError,
    UnsafeModelError,
)
from tests import graphs, text_graphs
from tests.text_graphs import BERT, POOLED, TABLE, VOCABULARY, WORDS, context, expected, states

#: Of different lengths, not in their order; the empty one is a text.
TEXTS = ["one two three", "", "four", "one two three four five six seven eight", "six six", "eight five"]
ROWS = expected(TEXTS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return text_graphs.save(tmp_path_factory.mktemp("texts"))


@pytest.fixture
def embedder(folder):
    return PretrainedEmbedder(folder, n_jobs=2)


@pytest.fixture
def runs(monkeypatch):
    """Shapes of the arrays that are run, those of the probe left out."""
    shapes, run = [], runtime.Session.run

    def recorded(session, samples, stop=None, leave=None):
        if stop is not None:
            shapes.append(samples.shape)
        return run(session, samples, stop, leave)

    monkeypatch.setattr(runtime.Session, "run", recorded)
    return shapes


def rows_run() -> list[int]:
    """Count the rows that went through each open graph."""
    return [session.rows_run for session in runtime.open_sessions().values()]


def long(n: int) -> str:
    """Make a text of n words."""
    return " ".join(WORDS[i % len(WORDS)] for i in range(n))


# ---------------------------------------------------------------------------------------------------------------------
# What is a text


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
    np.testing.assert_allclose(rows[[0, 3]], expected(["one", "three"]), rtol=1e-6)
    assert np.isnan(rows[[1, 2, 4]]).all()
    assert [failure.index for failure in caught[0].message.failures] == [1, 2, 4]


def test_where_every_sample_is_refused_every_row_is_nan(embedder):
    with pytest.warns(BadSamplesWarning, match="2 rows are NaN"):
        assert np.isnan(embedder.set_params(on_error="nan").transform([None, 3])).all()


@pytest.mark.parametrize("sample", [np.str_("one"), Word("one"), Choice.FIRST], ids=lambda s: type(s).__name__)
def test_text_of_a_subclass_of_str_is_what_it_holds(sample, embedder):
    assert texts.read(sample).data == "one"
    np.testing.assert_allclose(embedder.transform([sample]), expected(["one"]), rtol=1e-6)


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
    np.testing.assert_allclose(embedder.transform(["two", sample])[1:], expected([" ".join(words)]), rtol=1e-6)


@pytest.mark.parametrize("token", text_graphs.SPECIAL)
def test_special_token_in_a_text_is_text(token, embedder):
    as_signs = "one [UNK] [UNK] [UNK] two"  # bracket, letters, bracket
    np.testing.assert_allclose(embedder.transform([f"one {token} two"]), expected([as_signs]), rtol=1e-6)


@pytest.mark.parametrize("pool", POOLED)
def test_text_without_any_token_has_a_finite_row_of_its_own(pool, tmp_path):
    path = text_graphs.save(tmp_path, words=text_graphs.tokenizer(special=False))
    embedder = PretrainedEmbedder(path, layer="states", pool=pool, cache=None)
    rows = embedder.transform(["", "one two three", " "])
    np.testing.assert_allclose(rows[[0, 2]], embedder.transform([""]).repeat(2, axis=0), rtol=1e-6)
    np.testing.assert_allclose(rows[:1], TABLE[:1], rtol=1e-5)  # one token of padding


# ---------------------------------------------------------------------------------------------------------------------
# Containers


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


# ---------------------------------------------------------------------------------------------------------------------
# Cutting


@pytest.mark.parametrize(("side", "kept"), [("right", "one two"), ("left", "four five")])
def test_longer_text_is_cut_off_on(side, kept, tmp_path):
    path = text_graphs.save(tmp_path, max_length=4, truncation=side)
    with pytest.warns(InputWarning, match=r"1 of 1 texts .*max_length=4 tokens: 60.0% of all"):
        rows = PretrainedEmbedder(path).transform(["one two three four five"])
    np.testing.assert_allclose(rows, expected([kept]), rtol=1e-6)


@pytest.mark.parametrize("number", [4, np.int64(4)], ids=["int", "int64"])
@pytest.mark.parametrize("own", [3, 9])
def test_max_length_of_the_estimator_overrides_the_card(own, number, tmp_path):
    path = text_graphs.save(tmp_path, max_length=own)
    with pytest.warns(InputWarning, match="1 of 1 texts are longer than max_length=4 tokens"):
        rows = PretrainedEmbedder(path, max_length=number).transform([long(5)])
    np.testing.assert_allclose(rows, expected([long(2)]), rtol=1e-6)


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
    np.testing.assert_allclose(embedder.set_params(max_length=5).transform([long(3)]), expected([long(3)]), rtol=1e-6)


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
    path = text_graphs.save(tmp_path, words=text_graphs.tokenizer(special=False), max_length=1)
    with pytest.warns(InputWarning, match=r"1 of 1 texts .*66.7%"):
        rows = PretrainedEmbedder(path).transform(["three two one"])
    np.testing.assert_allclose(rows, TABLE[[VOCABULARY["three"]]], rtol=1e-6)


@pytest.mark.parametrize("max_length", [0, 2.5, "8"])
def test_max_length_that_is_no_positive_integer_is_refused(max_length, embedder):
    with pytest.raises(ValueError, match="'max_length' parameter of PretrainedEmbedder must be an int"):
        embedder.set_params(max_length=max_length).transform(["one"])


@pytest.mark.parametrize("parameter", [{"max_length": 8}, {"long_text": "windows"}], ids=str)
def test_parameter_for_texts_is_refused_where_samples_are_none(parameter, tmp_path):
    path = graphs.save(graphs.doubled(), tmp_path)
    with pytest.raises(CardError, match=f"{next(iter(parameter))} is for texts; 'tiny' takes array samples"):
        PretrainedEmbedder(path, **parameter).transform(np.ones((2, 4)))


def windows(text: str, room: int) -> list[str]:
    """Cut a text of words into texts of at most so many words."""
    words = text.split()
    return [" ".join(words[i : i + room]) for i in range(0, max(1, len(words)), room)]


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("pool", POOLED)
def test_windows_are_the_mean_of_their_rows(pool, normalize, embedder):
    embedder.set_params(max_length=5, long_text="windows", layer="context", pool=pool, normalize=normalize)
    want = []
    for text in (samples := [*TEXTS, long(23)]):
        rows = expected(windows(text, 3), pool, context)
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True) if normalize else rows
        want.append(rows.mean(axis=0))
    lengths = np.linalg.norm(want, axis=1, keepdims=True) if normalize else 1
    np.testing.assert_allclose(embedder.transform(samples), np.array(want) / lengths, rtol=1e-5, atol=1e-6)


def test_windows_of_a_text_cut_on_the_left_hold_all_of_it(tmp_path):
    path = text_graphs.save(tmp_path, max_length=4, truncation="left")
    want = expected(["four five", "two three", "one"]).mean(axis=0)
    np.testing.assert_allclose(
        PretrainedEmbedder(path, long_text="windows").transform(["one two three four five"]), [want], rtol=1e-6
    )


@pytest.mark.parametrize(("side", "kept"), [("right", "one two"), ("left", "five six")])
@pytest.mark.parametrize("long_text", ["truncate", "windows"])
def test_characters_beyond_the_cap_are_not_looked_at_and_reported(long_text, side, kept, tmp_path):
    path = text_graphs.save(tmp_path, max_chars=8, truncation=side)
    with pytest.warns(InputWarning, match=r"^1 of 2 texts are longer than max_chars=8 characters; .*load_card"):
        rows = PretrainedEmbedder(path, long_text=long_text).transform(["one two thirty five six", "one"])
    np.testing.assert_allclose(rows, expected([kept, "one"]), rtol=1e-6)


def test_cap_is_raised_with_the_card(folder):
    with pytest.warns(InputWarning, match="max_chars=3 characters"):
        rows = PretrainedEmbedder(load_card(folder, max_chars=3)).transform(["one two"])
    np.testing.assert_allclose(rows, expected(["one"]), rtol=1e-6)


def test_prefix_stands_before_every_text(tmp_path):
    path = text_graphs.save(tmp_path, prefix="eight eight ")
    rows = PretrainedEmbedder(path).transform(TEXTS)
    np.testing.assert_allclose(rows, expected([f"eight eight {text}" for text in TEXTS]), rtol=1e-5)


FILLED = (["[CLS]", "one", "[SEP]", "[PAD]", "[PAD]"], ["[CLS]", "one", "two", "three", "[SEP]"])


@pytest.mark.parametrize("long_text", ["truncate", "windows"])
def test_filled_texts_hold_padding_like_any_token(long_text, tmp_path):
    path = text_graphs.save(tmp_path, text_graphs.encoder({"input_ids": "int64"}), pool="mean", max_length=5, fill=True)
    rows = PretrainedEmbedder(path, long_text=long_text).transform(["one", "one two three"])
    ids = [[VOCABULARY[token] for token in tokens] for tokens in FILLED]
    np.testing.assert_allclose(rows, TABLE[ids].mean(axis=1), rtol=1e-5)


# ---------------------------------------------------------------------------------------------------------------------
# Graphs


INPUTS = {
    "ids": {"input_ids": "int64"},
    "ids of 32 bits": {"input_ids": "int32"},
    "ids and mask": {"input_ids": "int64", "attention_mask": "int64"},
    "ids, mask and types": BERT,
    "ids, mask and types of 32 bits": dict.fromkeys(BERT, "int32"),
    "types, mask and ids": dict(reversed(BERT.items())),
    "a mask of floats": {"input_ids": "int64", "attention_mask": "float32"},
    "a mask of booleans": {"input_ids": "int32", "attention_mask": "bool"},
    "the names of TensorFlow": {"segment_ids": "int32", "input_mask": "int32", "input_ids": "int32"},
}


@pytest.mark.parametrize("kind", INPUTS)
def test_graph_may_take(kind, tmp_path):
    path = text_graphs.save(tmp_path, text_graphs.encoder(INPUTS[kind]), layer="states", pool="mean")
    np.testing.assert_allclose(PretrainedEmbedder(path).transform(TEXTS), ROWS, rtol=1e-5)


@pytest.mark.parametrize("other", ["position_ids", "language"])
def test_graph_that_takes_something_else_is_refused(other, tmp_path):
    graph = text_graphs.encoder({"input_ids": "int64", other: "int64"})
    with pytest.raises(CardError, match=rf"The graph's inputs are input_ids, {other}; one must be token ids"):
        PretrainedEmbedder(text_graphs.save(tmp_path, graph)).transform(TEXTS)


def test_graph_that_takes_no_ids_is_refused(tmp_path):
    gather = text_graphs.node("Gather", ["table", "attention_mask"], ["states"])
    graph = text_graphs.model([gather], {"attention_mask": "int64"}, "states", table=TABLE)
    with pytest.raises(CardError, match=r"The graph's inputs are attention_mask; one must be token ids"):
        PretrainedEmbedder(text_graphs.save(tmp_path, graph)).transform(TEXTS)


@pytest.mark.parametrize("pool", POOLED)
def test_padding_has_no_part_in(pool, embedder, runs):
    embedder.set_params(layer="context", pool=pool, cache=None)
    rows = embedder.transform(TEXTS)
    assert runs == [(6, 10)]
    np.testing.assert_allclose(rows, expected(TEXTS, pool, context), rtol=1e-5)
    np.testing.assert_allclose(rows, np.concatenate([embedder.transform([t]) for t in TEXTS]), rtol=1e-5)


def test_layer_that_is_a_row_already_is_given_the_mask(embedder):
    rows = embedder.set_params(layer="embedding").transform(TEXTS)
    np.testing.assert_allclose(rows, [states(text).sum(axis=0) for text in TEXTS], rtol=1e-6)


def test_several_layers_stand_side_by_side(embedder):
    rows = embedder.set_params(layer=["embedding", "states"], pool="max").transform(TEXTS)
    want = np.hstack([[states(text).sum(axis=0) for text in TEXTS], expected(TEXTS, "max")])
    np.testing.assert_allclose(rows, want, rtol=1e-6)


def test_flatten_is_refused(embedder):
    with pytest.raises(
        LayerError, match="pool='flatten' would give rows of different lengths for texts; pass pool='mean'"
    ):
        embedder.set_params(pool="flatten").transform(TEXTS)


def test_layer_of_one_number_per_token_is_refused(embedder):
    with pytest.raises(ProbeError, match=r"number of columns depends on the batch: 6 for a sample alone, 18 in one"):
        embedder.set_params(layer="real").transform(TEXTS)


@pytest.mark.parametrize("batch_size", ["auto", 2])
def test_graph_that_mixes_padding_in_is_run_one_text_at_a_time_without_any(batch_size, tmp_path, runs):
    path = text_graphs.save(tmp_path, text_graphs.mixer())
    with pytest.warns(ModelWarning, match="a row alone differs from the same row in a batch.* one sample at a time"):
        rows = PretrainedEmbedder(path, batch_size=batch_size).transform(TEXTS)
    np.testing.assert_allclose(rows, 2 * ROWS, rtol=1e-5)  # states and their mean, averaged
    assert sorted(runs) == sorted((1, 2 + len(text.split())) for text in TEXTS)


def test_token_that_the_graph_does_not_know_names_the_samples(tmp_path):
    path = text_graphs.save(tmp_path, text_graphs.encoder(table=TABLE[:-1]))
    with pytest.raises(ModelError, match=r"fails on samples 0 to 1, .*out of.*bounds"):
        PretrainedEmbedder(path).transform(["one", "eight"])


# ---------------------------------------------------------------------------------------------------------------------
# Batches


MIXED = [long(n) for n in np.random.default_rng(0).permutation(np.arange(400) % 97)]


@pytest.mark.parametrize("cache", ["memory", None])
@pytest.mark.parametrize("batch_size", ["auto", 1, 7, 1000])
def test_order_is_restored(batch_size, cache, embedder):
    rows = embedder.set_params(batch_size=batch_size, cache=cache).transform(MIXED)
    np.testing.assert_allclose(rows, expected(MIXED), rtol=1e-5)


def test_order_is_restored_over_several_windows_of_the_line(embedder, monkeypatch, runs):
    monkeypatch.setattr("skltransfer._engine.stream._line.WINDOW", 64)
    monkeypatch.setattr("skltransfer._engine.stream._embed.AHEAD_PART", 5)
    np.testing.assert_allclose(embedder.set_params(cache=None).transform(iter(MIXED)), expected(MIXED), rtol=1e-5)
    assert max(n * length for n, length in runs) <= 1024


def test_batch_has_at_most_as_many_tokens_with_padding_as_the_budget(embedder, runs):
    embedder.transform(MIXED)
    assert max(n * length for n, length in runs) <= 1024
    assert sum(n for n, _ in runs) == len(set(MIXED))


def test_padding_is_little_for_similar_texts_come_together(embedder, runs):
    embedder.set_params(cache=None).transform(MIXED)
    real = sum(len(text.split()) + 2 for text in MIXED)
    assert sum(n * length for n, length in runs) < 1.1 * real


def test_lengths_on_a_gpu_are_few(embedder, runs, monkeypatch):
    monkeypatch.setitem(stream.LINES, "cpu", stream._line._Pipelined)
    texts_of = [long(n) for n in (1, 3, 9, 14, 15, 20, 30)]
    rows = embedder.set_params(batch_size=1, cache=None).transform(texts_of)
    assert {length for _, length in runs} == {16, 32}
    np.testing.assert_allclose(rows, expected(texts_of), rtol=1e-5)


def test_text_longer_than_the_budget_is_run_alone(embedder, tmp_path, runs):
    path = text_graphs.save(tmp_path, max_length=3000)
    samples = ["one", long(2500), "two", long(1500)]
    np.testing.assert_allclose(PretrainedEmbedder(path).transform(samples), expected(samples), rtol=1e-5)
    assert sorted(runs) == [(1, 1502), (1, 2502), (2, 3)]


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_batch_size_is_a_number_of_texts(batch_size, embedder, runs):
    embedder.set_params(batch_size=batch_size, cache=None).transform(MIXED[:100])
    assert {n for n, _ in runs} <= {batch_size, 100 % batch_size}


def test_windows_of_one_text_keep_to_the_budget(embedder, runs):
    embedder.set_params(max_length=10, long_text="windows")
    rows = embedder.transform([long(5000), "one"])
    np.testing.assert_allclose(rows[0], expected(windows(long(5000), 8)).mean(axis=0), rtol=1e-5)
    assert max(n * length for n, length in runs) <= 1024


def test_windows_of_one_text_keep_to_the_batch_size(embedder, runs):
    rows = embedder.set_params(max_length=10, long_text="windows", batch_size=4).transform([long(60), "one", long(9)])
    np.testing.assert_allclose(rows[2], expected(windows(long(9), 8)).mean(axis=0), rtol=1e-5)
    assert max(n for n, _ in runs) == 4


def test_duplicates_are_run_once(embedder):
    rows = embedder.transform([*TEXTS, *TEXTS[::-1], *TEXTS])
    np.testing.assert_allclose(rows, np.concatenate([ROWS, ROWS[::-1], ROWS]), rtol=1e-5)
    assert rows_run() == [len(TEXTS)]


def test_progress_counts_every_text(embedder):
    plan, _ = catalog.plan(load_card(embedder.model), runtime.Device())
    from skltransfer._engine import stream

    seen = []
    stream.embed([*MIXED, None], plan, skip_bad=True, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == len(MIXED) + 1


# ---------------------------------------------------------------------------------------------------------------------
# Cache


def forbid_tokenizing(monkeypatch):
    monkeypatch.setattr(texts, "prepare", lambda *args: pytest.fail("tokenized"))


@pytest.mark.parametrize("where", ["memory", "folder"])
def test_known_texts_are_not_tokenized(where, embedder, tmp_path, monkeypatch):
    embedder.set_params(cache=where if where == "memory" else tmp_path)
    embedder.transform(TEXTS)
    forbid_tokenizing(monkeypatch)
    np.testing.assert_allclose(embedder.transform(TEXTS[::-1]), ROWS[::-1], rtol=1e-5)


CHOICES = [{}, {"max_length": 4}, {"max_length": 5}, {"long_text": "windows", "max_length": 4}, {"pool": "max"}]


@pytest.mark.parametrize("first", CHOICES, ids=str)
@pytest.mark.parametrize("second", CHOICES, ids=str)
@pytest.mark.filterwarnings("ignore::skltransfer.errors.InputWarning")  # what is cut off is not the subject
def test_choices_never_share_rows(first, second, embedder):
    clone(embedder).set_params(**first).transform(TEXTS)
    rows = clone(embedder).set_params(**second).transform(TEXTS)
    assert len(rows_run()) == (1 if first == second else 2)
    np.testing.assert_array_equal(rows, clone(embedder).set_params(**second, cache=None).transform(TEXTS))


def test_another_tokenizer_does_not_share_rows(tmp_path):
    first = PretrainedEmbedder(text_graphs.save(tmp_path / "first")).transform(["one"])
    other = text_graphs.save(tmp_path / "second", words=text_graphs.tokenizer(special=False))
    np.testing.assert_allclose(PretrainedEmbedder(other).transform(["one"]), TABLE[[VOCABULARY["one"]]])
    np.testing.assert_allclose(first, expected(["one"]), rtol=1e-6)


def test_tokenizer_that_is_replaced_is_opened_again(tmp_path):
    PretrainedEmbedder(text_graphs.save(tmp_path)).transform(["one"])
    text_graphs.save(tmp_path, words=text_graphs.tokenizer(special=False))
    np.testing.assert_allclose(PretrainedEmbedder(str(tmp_path)).transform(["one"]), TABLE[[VOCABULARY["one"]]])


# ---------------------------------------------------------------------------------------------------------------------
# With scikit-learn


FRAME = {"review": [*TEXTS, *TEXTS], "stars": range(12)}
TARGET = [1, 0, 0, 1, 0, 0] * 2


@pytest.mark.parametrize("library", [pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])
@pytest.mark.parametrize("column", ["review", ["review"]], ids=["Series", "frame"])
def test_column_of_a_frame_beside_numbers(column, library, embedder):
    columns = [("text", embedder, column), ("number", "passthrough", ["stars"])]
    made = ColumnTransformer(columns).set_output(transform="pandas").fit_transform(library(FRAME))
    assert list(made.columns) == [*(f"text__pretrainedembedder{i}" for i in range(3)), "number__stars"]
    np.testing.assert_allclose(made.iloc[:6, :3], ROWS, rtol=1e-5)


def test_frame_comes_out_with_the_index_of_the_column(embedder):
    column = pd.Series(TEXTS, index=list("abcdef"))
    assert list(embedder.set_output(transform="pandas").fit_transform(column).index) == list("abcdef")


def test_grid_search_over_length_and_pool_runs_every_text_once_per_choice(embedder):
    pipeline = make_pipeline(embedder.set_params(layer="context", long_text="windows"), KNeighborsClassifier(1))
    grid = {
        "pretrainedembedder__max_length": np.array([4, 6]),
        "pretrainedembedder__pool": np.array(["mean", "cls", "last"]),
    }
    search = GridSearchCV(pipeline, grid, cv=2).fit(FRAME["review"], TARGET)
    assert len(search.cv_results_["params"]) == 6
    assert sorted(rows_run()) == [7, 7, 7, 10, 10, 10]  # windows of the six different texts, of 4 words or of 2


# ---------------------------------------------------------------------------------------------------------------------
# Files


def test_tokenizers_is_named_with_its_extra_where_it_is_missing(tmp_path, monkeypatch):
    path = text_graphs.save(tmp_path)
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(MissingDependencyError, match=r"tokenizers is required .*pip install 'skltransfer\[text\]'"):
        PretrainedEmbedder(path).transform(["one"])


DAMAGED = {
    "empty": "",
    "cut off": text_graphs.tokenizer().to_str()[:500],
    "not JSON": "version https://git-lfs.github.com/spec/v1",
    "an object": "{}",
    "a list": "[]",
    "without a vocabulary": '{"model": {"type": "WordLevel"}}',
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_tokenizer_is_refused_that_is(kind, tmp_path):
    path = text_graphs.save(tmp_path, words=DAMAGED[kind])
    with pytest.raises(CardError, match=r"'tokenizer\.json' is no tokenizer: "):
        PretrainedEmbedder(path).transform(["one"])


@pytest.mark.parametrize("method", ["fit", "transform"])
def test_tokenizer_that_is_not_the_pinned_one_is_refused(method, tmp_path):
    path = text_graphs.save(tmp_path)
    with (tmp_path / "tokenizer.json").open("a") as file:
        file.write(" ")
    with pytest.raises(IntegrityError, match=r"tokenizer.json' has the SHA-256 [0-9a-f]{64}, its card pins"):
        getattr(PretrainedEmbedder(path), method)(["one"])


def test_card_without_a_tokenizer_is_refused(tmp_path):
    card = load_card(text_graphs.save(tmp_path))
    card.files.pop("tokenizer")
    with pytest.raises(CardError, match="'tiny' takes texts and lists no file 'tokenizer'"):
        PretrainedEmbedder(card).transform(["one"])


def test_graph_may_lie_in_another_folder_than_the_tokenizer(tmp_path):
    path = text_graphs.save(tmp_path, place="onnx/model.onnx")
    np.testing.assert_allclose(PretrainedEmbedder(path).transform(TEXTS), ROWS, rtol=1e-5)


def test_bare_graph_is_of_texts_with_a_tokenizer_beside_it(tmp_path):
    (tmp_path / "bare.onnx").write_bytes(text_graphs.encoder().SerializeToString())
    with pytest.raises(CardError, match=r"'bare' takes token ids; put its tokenizer.json into '/.*', beside the"):
        load_card(tmp_path / "bare.onnx")
    text_graphs.tokenizer().save(str(tmp_path / "tokenizer.json"))
    np.testing.assert_allclose(PretrainedEmbedder(tmp_path / "bare.onnx").transform(TEXTS), ROWS, rtol=1e-5)


def test_bare_graph_of_several_inputs_is_run_in_a_child_first(tmp_path, monkeypatch):
    graph = graphs.endless()
    graph.graph.input.append(graphs.helper.make_tensor_value_info("mask", graphs.TensorProto.INT64, ["n", 4]))
    (tmp_path / "endless.onnx").write_bytes(graph.SerializeToString())
    monkeypatch.setattr(inspection, "CHILD_SECONDS", 5)
    with pytest.raises(UnsafeModelError, match=r"'endless\.onnx' was not open after 5 s in a child process"):
        load_card(tmp_path / "endless.onnx")


MISTAKES = {
    "max_length": (0, "input.max_length is 0, not an integer from 1 on"),
    "max_chars": (-1, "input.max_chars is -1, not an integer from 1 on"),
    "truncation": ("middle", "input.truncation is 'middle', not one of right, left"),
    "pad": ("0", "input.pad is '0', not an integer from 0 on"),
    "prefix": (None, "input.prefix is None, not a str"),
    "fill": ("yes", "input.fill is 'yes', not a bool"),
    "long_text": ("drop", "input.long_text is 'drop', not one of truncate, windows"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_card_is_refused_with_the_value_of(name, folder):
    value, message = MISTAKES[name]
    with pytest.raises(CardError, match=message):
        load_card(folder, **{name: value})


# ---------------------------------------------------------------------------------------------------------------------
# Threads and processes


def test_threads_share_one_tokenizer_and_agree(embedder):
    want, orders = expected(MIXED), [np.random.default_rng(i).permutation(len(MIXED)) for i in range(8)]
    alone = [clone(embedder).set_params(cache=None) for _ in orders]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda one, order: one.transform([MIXED[i] for i in order]), alone, orders))
    np.testing.assert_allclose(found, [want[order] for order in orders], rtol=1e-5)


def test_tokenizer_is_opened_once_per_spec(folder, monkeypatch):
    spec = TextSpec(max_length=11)
    path = load_card(folder).folder / "tokenizer.json"
    assert texts.open_tokenizer(path, spec) is texts.open_tokenizer(path, spec)
    assert texts.open_tokenizer(path, spec) is not texts.open_tokenizer(path, TextSpec(max_length=12))


FORK = """
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
import numpy as np
from skltransfer import PretrainedEmbedder

embedder = PretrainedEmbedder(sys.argv[1], n_jobs=2, cache=None)
samples = ["one two", "three"] * 200
rows = embedder.transform(samples)
with ProcessPoolExecutor(2, mp_context=get_context("fork")) as pool:
    found = list(pool.map(embedder.transform, [samples] * 4))
print(all(np.array_equal(rows, other) for other in found))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_child_of_a_fork_embeds_without_a_warning(folder):
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORK, folder]
    child = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (child.stdout.strip(), child.stderr, child.returncode) == ("True", "", 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_fork_while_a_tokenizer_is_being_opened_leaves_no_lock_behind(folder):
    path = load_card(folder).folder / "tokenizer.json"
    with texts._opening:
        child = os.fork()
        if child == 0:
            free = texts._opening.acquire(timeout=0)
            os._exit(0 if free else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert texts.open_tokenizer(path, TextSpec()).get_vocab_size() == len(VOCABULARY)


def test_details_say_how_much_was_padding(capsys):
    embedder = PretrainedEmbedder("text-mini", cache=None, verbose=2)
    embedder.transform(["one two three four", "one"])
    assert "5 tokens were run; 37.5% of what went through the graph was padding." in capsys.readouterr().out
