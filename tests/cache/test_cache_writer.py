"""A folder whose rows are written by a thread: what is queued is found, and lost only with the process."""

import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import warnings
from types import SimpleNamespace

import numpy as np
import pytest

from skltransfer import PretrainedEmbedder
from skltransfer._engine import cache, process
from skltransfer._engine.cache import DiskCache, FolderCache, MemoryCache, _missing, _writer
from skltransfer._engine.cache._record import encode
from skltransfer.errors import CacheWarning
from skltransfer.testing import image_rows, noise_images
from tests.cache.support import RECIPE, assert_equal, key, rows
from tests.graphs import save_images

FORK = multiprocessing.get_context("fork") if hasattr(os, "fork") else None
PICTURES = noise_images(40)


@pytest.fixture
def never(monkeypatch):
    """Let the thread wait for as long as the test takes."""
    monkeypatch.setattr(_writer, "DELAY", 60.0)


@pytest.fixture
def folder(tmp_path):
    """A folder's cache, closed in the end."""
    opened = FolderCache(tmp_path / "rows")
    yield opened
    opened.close()


def written(folder) -> dict:
    """Rows that another process would find."""
    disk = DiskCache(folder.folder)
    found = disk.get([key(i) for i in range(3 * _writer.TRANSACTION)])
    disk.close()
    return found


def writers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "skltransfer-cache"]


def test_queued_rows_are_found_and_not_yet_written(never, folder):
    folder.put(rows(1, 2))
    assert_equal(folder.get([key(1), key(2), key(3)]), rows(1, 2))
    assert written(folder) == {}


def test_queued_rows_are_copies(never, folder):
    batch = np.ones((2, 5), np.float32)
    folder.put({key(1): batch[0]})
    batch[:] = 0
    assert folder.get([key(1)])[key(1)].all()


def test_thread_writes_what_gathers_and_ends(folder):
    folder.put(rows(1))
    folder.put(rows(2))
    deadline = time.monotonic() + 10
    while writers() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert writers() == []
    assert_equal(written(folder), rows(1, 2))
    folder.put(rows(3))
    folder.flush()
    assert_equal(written(folder), rows(1, 2, 3))


def test_what_has_gathered_is_written_once_the_end_is_near(never, folder):
    folder.put(rows(1))
    (thread,) = writers()
    folder.expect_end()
    thread.join(10)
    assert_equal(written(folder), rows(1))


@pytest.mark.parametrize("end", ["end_call", "close", "flush"])
def test_queued_rows_are_written_at_the_end(never, folder, end):
    many = rows(*range(2 * _writer.TRANSACTION + 1))
    folder.put(many)
    getattr(folder, end)(*((RECIPE, len(many)) if end == "end_call" else ()))
    assert_equal(written(folder), many)


def test_journal_is_removed_by_whoever_closes(folder):
    folder.put(rows(1))
    folder.flush()
    other = DiskCache(folder.folder)
    other.put(rows(2))
    folder.close()
    other.put(rows(3))
    other.close()
    assert {file.name for file in folder.folder.iterdir()} == {DiskCache.FILE}
    assert cache.verify(folder.folder) == (3, 0)
    assert {file.name for file in folder.folder.iterdir()} == {DiskCache.FILE}


def test_end_of_a_call_ends_the_thread(never, folder):
    folder.put(rows(1))
    (thread,) = writers()
    folder.end_call(RECIPE, 1)
    thread.join(10)
    assert not thread.is_alive()


def test_queue_is_bounded(never, folder, monkeypatch):
    monkeypatch.setattr(_writer, "QUEUE", 10 * len(encode(key(1), rows(1)[key(1)])))
    folder.put(rows(*range(10)))
    assert written(folder) == {}
    folder.put(rows(10))
    assert_equal(written(folder), rows(*range(11)))


def test_machine_without_a_thread_to_spare_writes_at_once(folder, monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    folder.put(rows(1))
    assert_equal(written(folder), rows(1))


def test_many_threads_put_and_get(folder):
    wrong = []

    def work(seed):
        for i in np.random.default_rng(seed).integers(0, 300, 200).tolist():
            folder.put(rows(i))
            wrong.extend(k for k, row in folder.get([key(i)]).items() if not (row == rows(i)[k]).all())
            wrong.extend([] if folder.get([key(i)]) else [i])

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# ---------------------------------------------------------------------------------------------------------------------
# Other processes


def test_rows_that_another_process_commits_are_found(folder):
    keys = [key(1), key(2)]
    assert folder.get(keys) == {}
    other = DiskCache(folder.folder)
    other.put(rows(1))
    folder.claim([key(2)])
    assert_equal(folder.get(keys), rows(1))
    other.put(rows(2))
    time.sleep(1.2 * _missing.FRESH)
    folder.release([key(2)])
    assert_equal(folder.get(keys), rows(1, 2))
    other.close()


@pytest.mark.skipif(FORK is None, reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")  # it is what is tested
def test_queued_rows_are_written_before_a_fork_and_by_the_parent_alone(never, tmp_path):
    parent = cache.open_cache(tmp_path)
    parent.put(rows(1))
    if not (child := os.fork()):
        parent.before_fork()  # of a fork of the child: it has nothing to write
        own = cache.open_cache(tmp_path)
        own.put(rows(2))
        fine = own is not parent and own.get([key(1), key(2)]).keys() == {key(1), key(2)}
        own.close()
        os._exit(7 if fine else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert_equal(parent.get([key(1), key(2)]), rows(1, 2))


def put_and_die(folder) -> None:
    opened = FolderCache(folder)
    opened.put(rows(1))
    opened.flush()
    opened.claim([key(2)])
    opened.put(rows(2))
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.skipif(FORK is None, reason="needs fork")
def test_process_that_is_killed_loses_what_was_queued_and_its_claims(never, folder):
    child = FORK.Process(target=put_and_die, args=(folder.folder,))
    child.start(), child.join()
    assert child.exitcode == -signal.SIGKILL
    assert_equal(folder.get([key(1), key(2)]), rows(1))
    assert folder.claim([key(2)]) == {key(2)}


EXITS = """
import sys, numpy as np
from skltransfer._engine import cache
cache.open_cache(sys.argv[1]).put({(1).to_bytes(16, "big") + b"r" * 32: np.arange(5, dtype="f4") + 1})
"""


def test_python_that_exits_writes_what_is_queued(tmp_path):
    subprocess.run([sys.executable, "-c", EXITS, tmp_path], check=True)
    disk = DiskCache(tmp_path)
    assert_equal(disk.get([key(1)]), rows(1))
    disk.close()


# ---------------------------------------------------------------------------------------------------------------------
# The line


def test_claims_are_made_for_several_batches_of_a_quick_backbone(tmp_path, monkeypatch):
    monkeypatch.setattr(FolderCache, "claims_ahead", 12)
    asked = []
    claim = FolderCache.claim
    monkeypatch.setattr(FolderCache, "claim", lambda self, keys: asked.append(len(keys)) or claim(self, keys))
    embedder = PretrainedEmbedder(
        save_images(tmp_path), layer="embedding", cache=tmp_path / "rows", batch_size=4, n_jobs=1
    )
    np.testing.assert_allclose(embedder.transform(PICTURES), image_rows(PICTURES), rtol=1e-5)
    assert max(asked) == 16
    assert sum(asked) == 40
    with sqlite3.connect(tmp_path / "rows" / DiskCache.FILE) as db:
        assert db.execute("SELECT count(*) FROM claims").fetchone() == (0,)
    db.close()


@pytest.fixture
def clock(monkeypatch):
    """A clock that is set by hand."""
    now = [1000.0]
    monkeypatch.setattr(_writer, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def test_rate_counts_rows_of_a_second(clock):
    rate = _writer.Rate()
    rate.note_claim()
    for _ in range(50):
        clock[0] += 0.1
        rate.add(100)
    assert rate.per_second == pytest.approx(1000)


def test_rate_follows_a_backbone_that_becomes_slower(clock):
    rate = _writer.Rate()
    rate.note_claim()
    for count in [100] * 10 + [10] * 10:
        clock[0] += 0.1
        rate.add(count)
    assert 100 <= rate.per_second < 150


def test_rate_begins_anew_after_a_pause(clock):
    rate = _writer.Rate()
    rate.note_claim()
    clock[0] += 0.1
    rate.add(1000)
    rate.note_claim()
    assert rate.per_second == pytest.approx(10_000)
    clock[0] += 60.0
    rate.note_claim()
    assert rate.per_second == 0.0
    clock[0] += 1.0
    rate.add(10)
    assert rate.per_second == pytest.approx(10)


def test_clock_that_stands_still_is_no_rate_without_end(clock):
    rate = _writer.Rate()
    rate.note_claim()
    rate.add(10)
    assert rate.per_second <= 10_000


def test_warning_of_the_writer_is_issued_where_the_user_called(tmp_path):
    embedder = PretrainedEmbedder(save_images(tmp_path), layer="embedding", cache=tmp_path / "rows", n_jobs=1)
    embedder.transform(PICTURES[:4])
    opened = cache.open_cache(tmp_path / "rows")
    opened._writer._db.execute("PRAGMA max_page_count = 1")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        np.testing.assert_allclose(embedder.transform(PICTURES), image_rows(PICTURES), rtol=1e-5)
        many = {key(i): np.zeros(1000, np.float32) for i in range(100)}
        opened.put(many)
        opened.end_call(RECIPE, 100)
    assert [(warning.category, warning.filename) for warning in caught] == [(CacheWarning, __file__)]


def test_reset_writes_what_is_queued(never, tmp_path):
    cache.open_cache(tmp_path).put(rows(1))
    process.reset()
    disk = DiskCache(tmp_path)
    assert_equal(disk.get([key(1)]), rows(1))
    disk.close()


@pytest.mark.parametrize("kind", ["memory", "queued", "written"])
def test_cache_knows_of_which_recipes_it_may_hold_rows(never, folder, kind):
    kept = MemoryCache() if kind == "memory" else folder
    assert not kept.holds(RECIPE)
    kept.put(rows(1))
    if kind == "written":
        folder.flush()
    assert kept.holds(RECIPE)
    assert not kept.holds(RECIPE[1:] + b"x")
