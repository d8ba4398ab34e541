"""Rows already computed: never a wrong one, never an error, bounded, shared by processes."""

import multiprocessing
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from skltransfer._engine import cache
from skltransfer._engine.cache import DiskCache, MemoryCache, _disk, _memory, _open
from skltransfer.errors import CacheWarning

ROW = np.arange(5, dtype=np.float32)
#: What a row of five numbers costs in memory.
COST = ROW.nbytes + cache.OVERHEAD


def key(i: int) -> bytes:
    return i.to_bytes(48, "big")


def rows(*numbers: int) -> dict[bytes, np.ndarray]:
    return {key(i): ROW + i for i in numbers}


def assert_equal(got, want):
    assert got.keys() == want.keys()
    np.testing.assert_array_equal([got[k] for k in want], list(want.values()))


def put_all(disk, *batches):
    for batch in batches:
        disk.put(batch)


def put_and_get(open_disk, folder):
    disk = open_disk(folder)
    disk.put(rows(1))
    return disk.get([key(1)])


@pytest.fixture
def open_disk():
    """Open caches, and close them."""
    opened = []

    def opener(*arguments):
        opened.append(DiskCache(*arguments))
        return opened[-1]

    yield opener
    for disk in opened:
        if disk._db is not None:
            disk._db.close()


@pytest.fixture
def disk(tmp_path, open_disk):
    return open_disk(tmp_path / "rows")


# ---------------------------------------------------------------------------------------------------------------------
# Memory


def test_memory_gives_back_what_was_put_and_nothing_else():
    memory = MemoryCache()
    memory.put(rows(1, 2))
    assert_equal(memory.get([key(1), key(3)]), rows(1))


def test_memory_keeps_copies():
    memory, batch = MemoryCache(), np.ones((1000, 5), np.float32)
    memory.put({key(1): batch[0]})
    batch[:] = 0
    assert memory.get([key(1)])[key(1)].base is None
    assert memory.get([key(1)])[key(1)].all()


def test_memory_is_bounded_and_lets_go_of_what_was_unused_for_longest():
    memory = MemoryCache(3 * COST)
    memory.put(rows(1, 2, 3))
    memory.get([key(1)])
    memory.put(rows(4))
    assert_equal(memory.get([key(i) for i in range(9)]), rows(1, 3, 4))
    assert (len(memory), memory.bytes) == (3, 3 * COST)


def test_memory_too_small_for_one_row_stays_empty():
    memory = MemoryCache(COST - 1)
    memory.put(rows(1))
    assert (len(memory), memory.bytes) == (0, 0)


def test_memory_does_not_count_a_row_twice():
    memory = MemoryCache()
    memory.put(rows(1))
    memory.put(rows(1))
    assert memory.bytes == COST
    memory.clear()
    assert (len(memory), memory.bytes) == (0, 0)


def test_memory_is_used_by_many_threads_at_once():
    memory = MemoryCache(50 * COST)
    wrong = []

    def work(seed):
        for i in np.random.default_rng(seed).integers(0, 200, 500).tolist():
            memory.put(rows(i))
            wrong.extend(k for k, row in memory.get([key(i)]).items() if not (row == ROW + i).all())

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (wrong, memory.bytes) == ([], len(memory) * COST)


# ---------------------------------------------------------------------------------------------------------------------
# Records


def test_record_survives_the_way_there_and_back():
    np.testing.assert_array_equal(_disk.decode(key(1), _disk.encode(key(1), ROW)), ROW)


@pytest.mark.parametrize("row", [ROW.astype(">f4"), np.repeat(ROW, 2)[::2], ROW[:0], ROW * np.nan])
def test_record_holds_little_endian_numbers_whatever_the_row_was(row):
    np.testing.assert_array_equal(_disk.decode(key(1), _disk.encode(key(1), row)), row)


@pytest.mark.parametrize("bit", range(8))
def test_flipped_bit_anywhere_in_a_record_is_a_miss(bit):
    record = _disk.encode(key(1), ROW)
    wrong = []
    for place in range(len(record)):
        damaged = bytearray(record)
        damaged[place] ^= 1 << bit
        wrong += [place] if _disk.decode(key(1), bytes(damaged)) is not None else []
    assert wrong == []


@pytest.mark.parametrize("length", [0, 3, 4, 19, 20, 21, 36, 39])
def test_cut_record_is_a_miss(length):
    assert _disk.decode(key(1), _disk.encode(key(1), ROW)[:length]) is None


@pytest.mark.parametrize("record", [None, "text", 7, b"", b"SKR0" + b"\0" * 36])
def test_record_of_another_kind_or_format_is_a_miss(record):
    assert _disk.decode(key(1), record) is None


def test_record_of_another_key_is_a_miss():
    assert _disk.decode(key(2), _disk.encode(key(1), ROW)) is None


# ---------------------------------------------------------------------------------------------------------------------
# Disk


def test_disk_gives_back_what_was_put_also_when_opened_again(disk, tmp_path, open_disk):
    disk.put(rows(1, 2))
    assert_equal(open_disk(tmp_path / "rows").get([key(1), key(2), key(3)]), rows(1, 2))


def test_disk_takes_more_keys_than_a_statement_may_have(disk):
    many = rows(*range(2 * _disk.KEYS_PER_QUERY + 1))
    disk.put(many)
    assert_equal(disk.get(list(many)), many)


def test_disk_takes_nothing(disk):
    disk.put({})
    assert disk.get([]) == {}


def test_folder_is_made_for_its_owner_only(tmp_path, open_disk):
    open_disk(tmp_path / "a" / "b")
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700


@pytest.mark.parametrize("place", range(0, 60, 7))
def test_damaged_record_on_disk_is_a_miss_and_is_mended(disk, place):
    disk.put(rows(1))
    record = bytearray(_disk.encode(key(1), ROW + 1))
    record[place % len(record)] ^= 1
    disk._db.execute("UPDATE rows SET record = ?", [bytes(record)])
    assert disk.get([key(1)]) == {}
    disk.put(rows(1))
    assert_equal(disk.get([key(1)]), rows(1))


@pytest.mark.parametrize("seed", range(20))
def test_damaged_database_file_never_gives_a_wrong_row(tmp_path, open_disk, seed):
    disk, dice = open_disk(tmp_path), np.random.default_rng(seed)
    disk.put(rows(*range(50)))
    disk._db.close()
    data = bytearray((tmp_path / DiskCache.FILE).read_bytes())
    for place in dice.integers(0, len(data), 200):
        data[place] ^= 1 << int(dice.integers(8))
    (tmp_path / DiskCache.FILE).write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CacheWarning)
        got = open_disk(tmp_path).get([key(i) for i in range(50)])
    assert_equal(got, rows(*(i for i in range(50) if key(i) in got)))


@pytest.mark.parametrize("content", [b"not a database at all" * 9, b"SQLite format 3\0" + b"\xff" * 999])
def test_file_that_is_no_database_is_one_warning_and_no_error(tmp_path, open_disk, content):
    (tmp_path / DiskCache.FILE).write_bytes(content)
    with pytest.warns(CacheWarning, match=r"cannot be used \(.*\); rows are computed and not kept") as caught:
        got = put_and_get(open_disk, tmp_path)
    assert (len(caught), got) == (1, {})


def test_folder_that_cannot_be_made_is_one_warning_and_no_error(tmp_path, open_disk):
    (tmp_path / "file").touch()
    with pytest.warns(CacheWarning, match=r"The cache in '.*file/rows' cannot be used \(.*Not a directory") as caught:
        got = put_and_get(open_disk, tmp_path / "file" / "rows")
    assert (len(caught), got) == (1, {})


def test_folder_that_becomes_full_is_one_warning_and_no_error(disk):
    disk.put(rows(1))
    disk._db.execute("PRAGMA max_page_count = 1")
    with pytest.warns(CacheWarning, match=r"cannot be used \(database or disk is full\)") as caught:
        put_all(disk, rows(*range(2, 2000)), rows(*range(2000, 4000)))
    assert len(caught) == 1
    assert_equal(disk.get([key(i) for i in range(99)]), rows(1))


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_folder_that_is_read_only_is_one_warning_and_no_error(tmp_path, open_disk):
    tmp_path.chmod(0o500)
    with pytest.warns(CacheWarning, match=r"cannot be used") as caught:
        open_disk(tmp_path).put(rows(1))
    assert len(caught) == 1


def test_transaction_that_is_interrupted_leaves_nothing_behind(disk, monkeypatch):
    disk.put(rows(1))

    def interrupt():
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(disk, "_shrink", interrupt)
        with pytest.raises(KeyboardInterrupt):
            disk.put(rows(2))
    assert_equal(disk.get([key(1), key(2)]), rows(1))
    disk.put(rows(3))
    assert_equal(disk.get([key(3)]), rows(3))


def test_disk_is_bounded_and_drops_the_oldest(tmp_path, open_disk):
    disk = open_disk(tmp_path, 300_000)
    for start in range(0, 2000, 100):
        disk.put({key(i): np.full(100, i, np.float32) for i in range(start, start + 100)})
    left = disk.get([key(i) for i in range(2000)])
    assert 300 < len(left) < 600
    assert sorted(left) == [key(i) for i in range(2000 - len(left), 2000)]
    assert (tmp_path / DiskCache.FILE).stat().st_size < 600_000


WRITER = """
import pathlib, sys, warnings, numpy as np
warnings.simplefilter("error")
from skltransfer._engine.cache import DiskCache
print("ready", flush=True); sys.stdin.readline()
folder, number = pathlib.Path(sys.argv[1]), int(sys.argv[2])
disk = DiskCache(folder)
for i in range(number, 400, 2):
    disk.put({i.to_bytes(48, "big"): np.arange(5, dtype="f4") + i})
"""


def test_processes_that_open_a_new_folder_at_once_lose_nothing(tmp_path, open_disk):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    folder = tmp_path / "rows"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, folder, str(i)], **pipes) for i in range(2)]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("\n")
        writer.stdin.flush()
    assert [(writer.communicate()[1], writer.returncode) for writer in writers] == [("", 0)] * 2
    assert_equal(open_disk(folder).get([key(i) for i in range(400)]), rows(*range(400)))


def test_connections_that_open_a_new_folder_at_once_all_work(tmp_path, open_disk):
    def write(folder, number):
        start.wait()
        open_disk(folder).put(rows(number))

    start = threading.Barrier(8)
    with ThreadPoolExecutor(8) as pool:
        for turn in range(20):
            list(pool.map(write, [tmp_path / str(turn)] * 8, range(8)))
            assert_equal(open_disk(tmp_path / str(turn)).get([key(i) for i in range(8)]), rows(*range(8)))


def test_file_locked_for_ever_by_another_is_one_warning(disk, tmp_path, monkeypatch):
    disk._db.execute("PRAGMA busy_timeout = 50")
    other = sqlite3.connect(tmp_path / "rows" / DiskCache.FILE, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.warns(CacheWarning, match=r"cannot be used \(database is locked\)") as caught:
        put_all(disk, rows(1), rows(2))
    other.close()
    assert len(caught) == 1


# ---------------------------------------------------------------------------------------------------------------------
# Claims


@pytest.fixture(params=["memory", "disk"])
def kept(request):
    return MemoryCache() if request.param == "memory" else request.getfixturevalue("disk")


def test_what_is_claimed_is_not_given_to_another(kept):
    assert kept.claim([key(1), key(2)]) == {key(1), key(2)}
    assert kept.claim([key(2), key(3)]) == {key(3)}


def test_claim_ends_when_the_row_comes_or_will_not_come(kept):
    kept.claim([key(1), key(2), key(3)])
    kept.put(rows(1))
    kept.release({key(2)})
    assert kept.claim([key(1), key(2), key(3)]) == {key(1), key(2)}


def test_claim_holds_in_every_process_that_shares_the_folder(disk, open_disk):
    disk.claim([key(1)])
    assert open_disk(disk.folder).claim([key(1), key(2)]) == {key(2)}


def test_claim_of_a_process_that_was_killed_ends_with_it(disk):
    child = multiprocessing.get_context("fork").Process(target=claim_and_die, args=(disk.folder,))
    child.start(), child.join()
    assert child.exitcode == -signal.SIGKILL
    assert disk.claim([key(1)]) == {key(1)}


def claim_and_die(folder):
    DiskCache(folder).claim([key(1)])
    os.kill(os.getpid(), signal.SIGKILL)


def test_claim_that_is_never_honoured_ends_with_its_lease(kept, monkeypatch):
    monkeypatch.setattr(_memory, "LEASE", -1.0)
    monkeypatch.setattr(_disk, "LEASE", -1.0)
    kept.claim([key(1)])
    assert kept.claim([key(1)]) == {key(1)}


def test_claim_of_another_machine_ends_with_its_lease(disk, monkeypatch):
    monkeypatch.setattr(_disk, "_owner", lambda: "another 1")
    disk.claim([key(1)])
    assert disk.claim([key(1)]) == set()
    monkeypatch.setattr(_disk, "LEASE", -1.0)
    disk.put(rows(2))  # whoever puts a row renews what it has claimed
    assert disk.claim([key(1)]) == {key(1)}


def test_folder_that_cannot_be_used_keeps_nobody_waiting(tmp_path, open_disk):
    (tmp_path / "file").write_text("")
    with pytest.warns(CacheWarning, match="cannot be used"):
        broken = open_disk(tmp_path / "file")
    assert [broken.claim([key(1)]), broken.claim([key(1)])] == [{key(1)}, {key(1)}]


# ---------------------------------------------------------------------------------------------------------------------
# What the parameter names


@pytest.mark.parametrize("where", [None, False, np.False_])
def test_no_cache_is_asked_for(where):
    assert cache.open_cache(where) is None


def test_memory_is_one_for_the_process():
    assert cache.open_cache("memory") is cache.open_cache("memory") is cache.memory


@pytest.mark.parametrize("where", [True, np.True_])
def test_true_is_the_folder_of_the_user(tmp_path, monkeypatch, where):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.open_cache(where).folder == tmp_path / "skltransfer"


def test_folder_of_the_user_without_an_environment(monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(_open.sys, "platform", "linux")
    assert cache.user_folder() == _open.Path.home() / ".cache" / "skltransfer"


def test_folder_is_opened_once_by_whatever_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert (
        cache.open_cache("rows")
        is cache.open_cache(tmp_path / "rows")
        is cache.open_cache(tmp_path / "x" / ".." / "rows")
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")  # it is what is tested
def test_forked_child_keeps_rows_in_memory_and_opens_its_own_connection(tmp_path):
    parent = cache.open_cache(tmp_path)
    parent.put(rows(1))
    cache.memory.put(rows(2))
    if not (child := os.fork()):
        own = cache.open_cache(tmp_path)
        fine = own is not parent and len(own.get([key(1)])) == len(cache.memory.get([key(2)])) == 1
        os._exit(0 if fine else 1)
    assert os.waitpid(child, 0)[1] == 0
