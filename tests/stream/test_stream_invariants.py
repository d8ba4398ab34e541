"""Invariants of the line are checked: what would be wrong rows is an error."""

import dataclasses

import numpy as np
import pytest

from skltransfer._engine import stream
from skltransfer._engine.cache import MemoryCache
from skltransfer._engine.stream import _line, _order, _work
from skltransfer.errors import ModelError, SklTransferError
from tests.stream.support import PICTURES, ROWS, embed


def test_size_of_a_batch_is_read_once(form, plan, monkeypatch):
    sizes = iter([3, 7, 2, 9, 1, 5] * 1000)
    monkeypatch.setattr(form, "window", property(lambda self: next(sizes), lambda self, value: None), raising=False)
    for cache in (None, MemoryCache()):
        np.testing.assert_allclose(embed(PICTURES, plan, cache=cache, workers=3).rows, ROWS, rtol=1e-5)


def test_sample_that_is_lost_is_an_error(form, plan, monkeypatch):
    real = form.submit
    monkeypatch.setattr(form, "submit", lambda line, items: real(line, items[1:] if items[0].index == 8 else items))
    with pytest.raises(SklTransferError, match=r"99 rows are finished of 100 samples. This is a fault of skltransfer"):
        embed(PICTURES, plan, batch_size=4)


def test_sample_that_is_finished_twice_is_an_error():
    order = _order.Order()
    order.put({0: "row", 2: "row"})
    with pytest.raises(SklTransferError, match="Sample 2 was finished twice"):
        order.put({2: "row"})
    order.ready()
    with pytest.raises(SklTransferError, match="Sample 0 was finished twice"):
        order.put({0: "row"})


def test_graph_that_returns_fewer_rows_is_an_error(form, plan, monkeypatch):
    monkeypatch.setattr(_work.Work, "_rows", lambda self, pieces, device: np.zeros((len(pieces) - 1, 4), np.float32))
    with pytest.raises(ModelError, match="The graph returned 3 rows for 4 samples"):
        embed(PICTURES, plan, batch_size=4)


@pytest.mark.parametrize("shape", [(1,), (5,), (2, 2), ()])
def test_cached_row_of_another_shape_is_computed_again(plan, shape):
    cache = MemoryCache()
    embed(PICTURES, plan, cache=cache)
    keys, cache = [*cache._index], MemoryCache()
    cache.put({key: np.ones(shape, np.float32) for key in keys})
    np.testing.assert_allclose(embed(PICTURES, plan, cache=cache).rows, ROWS, rtol=1e-5)


def test_finished_batches_come_in_order_and_hold_every_sample_once(form, plan):
    options = stream.Options(n_jobs=3, batch_size=3, skip_bad=True)
    samples = [*PICTURES[:50], b"bad", *PICTURES[50:]]
    found = list(stream.batches(samples, plan, options=options))
    starts = [batch.start for batch in found]
    assert starts == list(np.cumsum([0, *(len(batch.rows) for batch in found[:-1])]))
    rows = [row for batch in found for row in batch.rows]
    assert [i for i, row in enumerate(rows) if row is None] == [50]
    assert [failure.index for batch in found for failure in batch.failures] == [50]
    np.testing.assert_allclose(np.stack(rows[:50] + rows[51:]), ROWS, rtol=1e-5)


def test_batches_come_before_all_samples_are_drawn(form, plan):
    drawn = 0

    def samples():
        nonlocal drawn
        for picture in PICTURES * 20:
            drawn += 1
            yield picture

    batches = stream.batches(samples(), plan, options=stream.Options(batch_size=5))
    assert len(next(batches).rows) >= 5
    assert drawn < 500
    batches.close()


def test_batches_that_nobody_wants_any_more_end_their_claims_and_threads(form, plan):
    import threading
    import time

    cache = MemoryCache()
    batches = stream.batches(PICTURES * 3, plan, cache=cache, options=stream.Options(batch_size=5, n_jobs=2))
    next(batches)
    batches.close()
    end = time.monotonic() + 10  # threads are not waited for: they end by themselves
    while any(thread.name.startswith("skltransfer") for thread in threading.enumerate()):
        assert time.monotonic() < end
    assert cache._claims == {}


def test_few_known_rows_start_no_thread(plan, monkeypatch):
    cache = MemoryCache()
    embed(PICTURES[:3], plan, cache=cache)
    monkeypatch.setattr(_line, "Pool", lambda *_, **__: pytest.fail("a thread was started"))
    np.testing.assert_allclose(embed(PICTURES[:3], plan, cache=cache).rows, ROWS[:3], rtol=1e-5)


def test_plan_is_a_value(plan):
    assert dataclasses.replace(plan) == plan
