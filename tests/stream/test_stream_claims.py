"""Rows that others compute at the same time are waited for, not run."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from skltransfer._engine import runtime
from skltransfer._engine.cache import MemoryCache
from skltransfer._engine.modalities import image as images
from skltransfer._engine.stream import _batches, _claims, _work
from skltransfer.errors import SampleError
from tests.stream.support import NUMBERED, PICTURES, ROWS, embed, slowly


@pytest.fixture
def claimed(plan):
    """A cache in which somebody else is about to compute the rows of the first ten pictures."""
    cache = MemoryCache()
    keys = [images.read(picture).digest() + plan.recipe.key.encode() for picture in PICTURES]
    cache.claim(keys[:10])
    return cache, keys


def in_thread(plan, cache, samples=PICTURES):
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(embed, samples, plan, cache=cache, batch_size=4)
        while len(cache) < len(samples) - 10:
            time.sleep(0.001)
        yield future
        yield future.result(timeout=10).rows


def test_rows_that_others_compute_are_waited_for_and_not_run(form, plan, claimed):
    cache, keys = claimed
    running = in_thread(plan, cache)
    assert not next(running).done()
    cache.put({key: ROWS[i] for i, key in enumerate(keys[:10])})
    np.testing.assert_allclose(next(running), ROWS, rtol=1e-5)
    assert runtime.open_sessions()[plan.recipe.key, "cpu"].rows_run == 90


def test_rows_that_others_gave_up_are_run(form, plan, claimed):
    cache, keys = claimed
    running = in_thread(plan, cache)
    assert not next(running).done()
    cache.release(set(keys[:10]))
    np.testing.assert_allclose(next(running), ROWS, rtol=1e-5)
    assert runtime.open_sessions()[plan.recipe.key, "cpu"].rows_run == 100


def test_few_samples_wait_in_memory_for_others(plan, claimed, monkeypatch):
    cache, keys = claimed
    monkeypatch.setattr(_batches, "MOST_DEFERRED", 5)
    threading.Timer(0.3, cache.release, [set(keys[:10])]).start()
    np.testing.assert_allclose(embed(PICTURES, plan, cache=cache).rows, ROWS, rtol=1e-5)


def test_claims_end_with_an_error(form, plan, replace):
    replace(prepare=slowly(images.prepare, failing={50}))
    cache = MemoryCache()
    with pytest.raises(SampleError, match="number 50"):
        embed(NUMBERED, plan, workers=2, batch_size=4, cache=cache)
    keys = [images.read(picture).digest() + plan.recipe.key.encode() for picture in NUMBERED]
    assert cache.claim(keys) == set(keys)


def test_cache_learns_of_the_end_of_a_call_while_its_last_batch_is_run(form, plan, monkeypatch):
    cache, events = MemoryCache(), []
    for name in ("put", "expect_end", "end_call"):
        real = getattr(cache, name)
        monkeypatch.setattr(cache, name, lambda *given, n=name, r=real: events.append(n) or r(*given))
    embed(PICTURES[:8], plan, cache=cache, batch_size=8)
    assert events == ["expect_end", "put", "end_call"]


@pytest.mark.parametrize(("ahead", "asked"), [(4, [8]), (3, [7, 4]), (0, [4, 4])])
def test_window_is_claimed_at_once_where_most_of_it_would_be(monkeypatch, ahead, asked):
    cache, sizes = MemoryCache(), []
    claim = cache.claim
    monkeypatch.setattr(MemoryCache, "claims_ahead", ahead)
    monkeypatch.setattr(cache, "claim", lambda keys: sizes.append(len(keys)) or claim(keys))
    claims, items = _claims.Claims(cache), [_work.Item(i, "", key=bytes([i]) * 48) for i in range(8)]
    cache.claim([items[7].key])
    for _ in range(2):
        sizes.clear()
        claims.claim_window(items)
        claimed = [claims.claim(batch) for batch in claims.ahead([items[:4], items[4:]], [])]
        assert claimed == [(items[:4], []), (items[4:7], items[7:])]
        assert sizes == asked
        claims.release()
