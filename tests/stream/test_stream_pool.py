"""Threads of a call: what somebody waits for comes before what only may be wanted."""

import threading
from concurrent.futures import CancelledError

import pytest

from skltransfer._engine.stream._pool import Pool


@pytest.fixture
def held():
    """Return a pool whose one thread is busy until the event is set, and the event."""
    pool, event = Pool(1, "test"), threading.Event()
    pool.submit(lambda: event.wait(10))
    yield pool, event
    event.set()
    pool.close()


def test_urgent_work_comes_first_and_each_kind_keeps_its_order(held):
    (pool, event), done = held, []
    futures = [pool.submit(lambda i=i: done.append(i), later=i < 3) for i in range(6)]
    event.set()
    for future in futures:
        future.result(10)
    assert done == [3, 4, 5, 0, 1, 2]


def test_close_drops_both_kinds(held):
    (pool, event), done = held, []
    futures = [pool.submit(lambda: done.append(1), later=later) for later in (True, False, True)]
    pool.close(0)
    event.set()
    for future in futures:
        with pytest.raises(CancelledError):
            future.result(10)
    assert done == []


def test_many_threads_do_all_work_of_both_kinds_once():
    pool, done = Pool(8, "test"), []
    futures = [pool.submit(lambda i=i: done.append(i), later=i % 3 == 0) for i in range(3000)]
    for future in futures:
        future.result(10)
    pool.close()
    assert sorted(done) == [*range(3000)]
