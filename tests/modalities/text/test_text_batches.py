"""Texts are batched by length, within a budget of tokens, and their rows put back in order."""

import numpy as np
import pytest

from skltransfer import PretrainedEmbedder, load_card, testing
from skltransfer._engine import plan, runtime, stream
from skltransfer._engine.samples import Samples
from skltransfer._engine.stream import _cut, _line, _pace, _work
from skltransfer.testing import text_rows
from tests.modalities.text.support import MIXED, ROWS, TEXTS, long, rows_run, windows


@pytest.mark.parametrize("cache", ["memory", None])
@pytest.mark.parametrize("batch_size", ["auto", 1, 7, 1000])
def test_order_is_restored(batch_size, cache, embedder):
    rows = embedder.set_params(batch_size=batch_size, cache=cache).transform(MIXED)
    np.testing.assert_allclose(rows, text_rows(MIXED), rtol=1e-5)


def test_order_is_restored_over_several_windows_of_the_line(embedder, monkeypatch, runs):
    monkeypatch.setattr("skltransfer._engine.stream._line.WINDOW", 64)
    monkeypatch.setattr("skltransfer._engine.stream._cut.AHEAD_PART", 5)
    np.testing.assert_allclose(embedder.set_params(cache=None).transform(iter(MIXED)), text_rows(MIXED), rtol=1e-5)
    assert max(n * length for n, length in runs) <= 1024


def test_batch_is_the_smallest_that_has_its_share_of_tokens(embedder, runs):
    embedder.transform(MIXED)
    assert max((n - 1) * length for n, length in runs) < 1.5 * 256
    assert sum(n for n, _ in runs) == len(set(MIXED))


def test_padding_is_little_for_similar_texts_come_together(embedder, runs):
    embedder.set_params(cache=None).transform(MIXED)
    real = sum(len(text.split()) + 2 for text in MIXED)
    assert sum(n * length for n, length in runs) < 1.1 * real


def test_lengths_on_a_gpu_are_few(embedder, runs, monkeypatch):
    monkeypatch.setitem(stream.LINES, "cpu", stream._line.Pipelined)
    texts_of = [long(n) for n in (1, 3, 9, 14, 15, 20, 30)]
    rows = embedder.set_params(batch_size=1, cache=None).transform(texts_of)
    assert {length for _, length in runs} == {16, 32}
    np.testing.assert_allclose(rows, text_rows(texts_of), rtol=1e-5)


def test_text_longer_than_the_budget_is_run_alone(embedder, tmp_path, runs):
    path = testing.save_text_backbone(testing.text_backbone(), tmp_path, max_length=3000)
    samples = ["one", long(2500), "two", long(1500)]
    np.testing.assert_allclose(PretrainedEmbedder(path).transform(samples), text_rows(samples), rtol=1e-5)
    assert sorted(runs) == [(1, 1502), (1, 2502), (2, 3)]


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_batch_size_is_a_number_of_texts(batch_size, embedder, runs):
    embedder.set_params(batch_size=batch_size, cache=None).transform(MIXED[:100])
    assert {n for n, _ in runs} <= {batch_size, 100 % batch_size}


def test_windows_of_one_text_keep_to_the_budget(embedder, runs):
    embedder.set_params(max_length=10, long_text="windows")
    rows = embedder.transform([long(5000), "one"])
    np.testing.assert_allclose(rows[0], text_rows(windows(long(5000), 8)).mean(axis=0), rtol=1e-5)
    assert 256 <= max(n * length for n, length in runs) < 256 + 10


def test_windows_of_one_text_keep_to_the_batch_size(embedder, runs):
    rows = embedder.set_params(max_length=10, long_text="windows", batch_size=4).transform([long(60), "one", long(9)])
    np.testing.assert_allclose(rows[2], text_rows(windows(long(9), 8)).mean(axis=0), rtol=1e-5)
    assert max(n for n, _ in runs) == 4


def test_duplicates_are_run_once(embedder):
    rows = embedder.transform([*TEXTS, *TEXTS[::-1], *TEXTS])
    np.testing.assert_allclose(rows, np.concatenate([ROWS, ROWS[::-1], ROWS]), rtol=1e-5)
    assert rows_run() == [len(TEXTS)]


def test_progress_counts_every_text(embedder):
    made = plan.make(load_card(embedder.model), runtime.Device())
    seen = []
    options = stream.Options(skip_bad=True, progress=seen.append)
    stream.embed(Samples([*MIXED, None], None), made, options=options)
    assert seen == sorted(seen)
    assert seen[-1] == len(MIXED) + 1


# ---------------------------------------------------------------------------------------------------------------------
# A line that is kept fed


@pytest.fixture
def made(folder):
    return plan.make(load_card(folder), runtime.Device())


def test_next_window_is_prepared_while_one_runs(made, monkeypatch):
    monkeypatch.setattr(_line, "WINDOW", 8)
    steps, prepare, submit = [], _line.Fused.prepare, _line.Fused.submit
    monkeypatch.setattr(_line.Fused, "prepare", lambda line, items: steps.append("prepare") or prepare(line, items))
    monkeypatch.setattr(_line.Fused, "submit", lambda line, items: steps.append("run") or submit(line, items))
    texts = [f"{'one ' * (i % 7)}two" for i in range(40)]
    options = stream.Options(n_jobs=2, batch_size=4)
    rows = np.concatenate([done.rows for done in stream.batches(texts, made, options=options)])
    window = ["prepare", "prepare"]  # a part for each worker
    assert steps == [*window, *[*window, "run", "run"] * 4, "run", "run"]
    np.testing.assert_allclose(rows, PretrainedEmbedder(made.card, cache=None, n_jobs=1).transform(texts), rtol=1e-5)


def work_of(made, batch_size=None):
    return _work.Work(made, "fused", stream.Options(batch_size=batch_size))


def test_batches_of_a_quick_graph_grow_and_the_next_call_knows(made):
    work = work_of(made)
    _pace.note(work, 256, 0.004)
    assert work.batch_size == 256  # a run that takes its time already
    _pace.note(work, 256, 0.001)
    assert work.batch_size == work_of(made).batch_size == 1024
    _pace.note(work, 256, 0.0)
    assert work.batch_size == _pace.MOST


@pytest.mark.parametrize(("size", "tokens"), [(3, 256), (None, 100)])
def test_size_that_was_given_and_small_batches_say_nothing_of_the_pace(made, size, tokens):
    work = work_of(made, size)
    _pace.note(work, tokens, 0.0001)
    assert work.batch_size == (size or 256)


def test_every_worker_gets_batches_of_a_small_window(made):
    with _line.Fused(made, stream.Options(n_jobs=2)) as line:
        line.work.batch_size = 4096
        items = [_work.Item(i, "", pieces=[np.zeros(100, np.int32)]) for i in range(100)]
        window = _cut.Window(line)
        assert window.add(items) == []
        batches = window.batches(lambda part: None)
    assert max(map(len, batches)) == 13  # 10,000 tokens for two workers, four times each
    assert len(batches) >= 8
