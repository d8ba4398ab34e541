"""Windows are cut into batches: of similar lengths, and so that every worker of a small call has something to do."""

import numpy as np
import pytest

from skltransfer import load_card
from skltransfer._engine import runtime, stream
from skltransfer._engine.plan import make
from skltransfer._engine.samples import Samples
from skltransfer._engine.stream import _cut, _line, _work
from skltransfer.testing import save_text_backbone, text_backbone


def texts_of(lengths):
    return [_work.Item(i, "", pieces=[np.zeros(n, np.int32)]) for i, n in enumerate(lengths)]


@pytest.fixture
def text_plan(tmp_path):
    return make(load_card(save_text_backbone(text_backbone(), tmp_path)), runtime.Device())


def window_of(items, line):
    """A window that takes all items."""
    window = _cut.Window(line)
    assert window.add(items) == []
    window.close()
    return window


def lengths(line, given):
    window = window_of(texts_of(given), line)
    return [[len(item.pieces[0]) for item in batch] for batch in window.batches(lambda part: None)]


def cut(items, budget, **how):
    return [[len(item.pieces[0]) for item in batch] for batch in _cut.within(items, budget, **how)]


def test_window_of_texts_is_cut_by_tokens_or_by_number():
    items = texts_of([9, 9, 5, 5, 5, 1])
    assert cut(items, 18, counted=False) == [[9, 9], [5, 5, 5, 1]]  # the least that reaches it, with padding
    assert cut(items, 15, counted=False) == [[9, 9], [5, 5, 5], [1]]
    assert cut(items, 4, counted=True) == [[9, 9, 5, 5], [5, 1]]


@pytest.mark.parametrize(
    ("workers", "given", "batches"),
    [
        (2, [30] * 8, [[30] * 4] * 2),  # less than a batch: half of it for each
        (4, [30] * 8, [[30] * 3, [30] * 3, [30] * 2]),  # never less than a quarter of a batch
        (2, [30] * 18, [[30] * 9] * 2),  # a little more than a batch, rather than a third one for one worker
        (8, [5, 4], [[5, 4]]),
        (2, [30] * 25, [[30] * 13, [30] * 12]),
        (2, [30] * 26, [[30] * 7] * 3 + [[30] * 5]),
        (1, [30] * 26, [[30] * 9] * 2 + [[30] * 8]),
    ],
)
def test_workers_get_as_many_batches_of_texts(workers, given, batches, text_plan):
    with _line.Fused(text_plan, stream.Options(n_jobs=workers)) as line:
        assert lengths(line, given) == batches


@pytest.mark.parametrize("options", [{"batch_size": 8}, {"batch_size": 100}])
def test_texts_that_were_counted_are_not_shared_out(options, text_plan):
    with _line.Fused(text_plan, stream.Options(n_jobs=2, **options)) as line:
        assert lengths(line, [30] * 8) == [[30] * 8]


def test_device_gets_all_it_can_take(text_plan):
    with _line.Pipelined(text_plan, stream.Options(n_jobs=4)) as line:
        assert lengths(line, [30] * 300) == [[30] * 300]
        assert lengths(line, [64] * 300) == [[64] * 256, [64] * 44]


@pytest.mark.parametrize(
    ("form", "options", "count", "sizes"),
    [
        (_line.Fused, {}, 7, [4, 3]),
        (_line.Fused, {}, 1, [1]),
        (_line.Fused, {}, None, [None]),  # as many as the line takes together
        (_line.Fused, {"batch_size": 10}, 7, [7]),
        (_line.Pipelined, {}, 7, [7]),
    ],
)
def test_last_images_are_shared_out(form, options, count, sizes, plan):
    with form(plan, stream.Options(n_jobs=2, **options)) as line:
        window = window_of([_work.Item(i, b"") for i in range(count or line.window)], line)
        batches = window.batches(lambda part: None)
    assert [len(batch) for batch in batches] == [size or line.window for size in sizes]
    assert [item.index for batch in batches for item in batch] == list(range(count or line.window))


@pytest.mark.parametrize(
    ("count", "workers", "most", "sizes"),
    [
        (9, 2, None, [5, 4]),
        (9, 2, 3, [3, 3, 3]),  # two rounds of two, and three are enough
        (10, 2, 4, [3, 3, 3, 1]),
        (1, 4, 128, [1]),
        (0, 4, 128, []),
    ],
)
def test_workers_get_as_many_parts(count, workers, most, sizes):
    items = [_work.Item(i, "") for i in range(count)]
    parts = _cut.parted(items, workers, most)
    assert [len(part) for part in parts] == sizes
    assert [item for part in parts for item in part] == items


def test_every_worker_prepares_a_part_of_a_small_call(text_plan, monkeypatch):
    prepared, prepare = [], _line.Fused.prepare
    monkeypatch.setattr(_line.Fused, "prepare", lambda line, items: prepared.append(len(items)) or prepare(line, items))
    rows = stream.embed(Samples(["a text"] * 9, None), text_plan, options=stream.Options(n_jobs=2)).rows
    assert (prepared, len(rows)) == ([5, 4], 9)


def test_texts_are_prepared_as_they_come(text_plan, monkeypatch):
    with _line.Fused(text_plan, stream.Options(n_jobs=2)) as line:
        started = []
        prepare = line.prepare
        monkeypatch.setattr(line, "prepare", lambda part: started.append(len(part)) or prepare(part))
        window = _cut.Window(line)
        texts = [_work.Item(i, "a") for i in range(300)]
        assert window.add(texts[:200]) == []
        assert started == []
        assert window.add(texts[200:]) == []
        assert started == [128, 128]
        window.close()
        assert started == [128, 128, 22, 22]
        prepared = [item for batch in window.batches(lambda part: None) for item in batch]
    assert sorted(item.index for item in prepared) == list(range(300))
    assert all(item.pieces for item in prepared)


def test_window_takes_what_there_is_room_for(text_plan):
    with _line.Fused(text_plan, stream.Options(n_jobs=2, batch_size=4)) as line:
        line.window = 5
        window, items = _cut.Window(line), texts_of([3] * 8)
        line.window = 2  # for the windows that come
        assert window.add(items) == items[5:]
        assert window.full
        assert window.items == items[:5]
