"""Rows on disk: never a wrong one, never an error, bounded, shared by processes."""

import os
import sqlite3
import stat
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import skltransfer
from skltransfer._engine import cache
from skltransfer._engine.cache import DiskCache, _disk, _record
from skltransfer.errors import CacheWarning
from tests.cache.support import RECIPE, ROW, assert_equal, key, rows


def put_all(disk, *batches):
    for batch in batches:
        disk.put(batch)


def put_and_get(open_disk, folder):
    disk = open_disk(folder)
    disk.put(rows(1))
    return disk.get([key(1)])


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
    record = bytearray(_record.encode(key(1), ROW + 1))
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

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(disk, "_shrink", interrupt)
        with pytest.raises(KeyboardInterrupt):
            disk.put(rows(2))
    assert_equal(disk.get([key(1), key(2)]), rows(1))
    disk.put(rows(3))
    assert_equal(disk.get([key(3)]), rows(3))


#: Bytes of a folder that takes some 500 rows of 250 numbers.
SMALL = 600_000


def put_many(disk, numbers, recipe=RECIPE) -> None:
    for start in range(0, len(numbers), 100):
        disk.put({key(i, recipe): np.full(250, i, np.float32) for i in numbers[start : start + 100]})


def left(disk, numbers, recipe=RECIPE) -> list[int]:
    return [i for i in numbers if disk.get([key(i, recipe)])]


def test_full_folder_keeps_what_the_session_put(tmp_path, open_disk):
    disk = open_disk(tmp_path, SMALL)
    put_many(disk, range(2000))
    kept = left(disk, range(2000))
    assert 300 < len(kept) < 600
    assert kept == [*range(len(kept))]
    assert (tmp_path / DiskCache.FILE).stat().st_size < 2 * SMALL
    with pytest.warns(
        CacheWarning, match=rf"{2000 - len(kept):,} of 2,000 new rows were not kept: the folder .* type"
    ) as caught:
        disk.end_call(RECIPE, 2000)
    put_many(disk, range(3000, 3200))
    disk.end_call(RECIPE, 200)
    assert len(caught) == 1


def test_what_the_warning_of_a_folder_says_to_type_keeps_every_row(tmp_path, open_disk):
    disk = open_disk(tmp_path)
    with skltransfer.config_context(cache_folder=SMALL):
        put_many(disk, range(2000))
    with pytest.warns(CacheWarning, match="of 2,000 new rows were not kept") as caught:
        disk.end_call(RECIPE, 2000)
    typed = str(caught[0].message).partition("cache_folder='")[2].partition("'")[0]
    with skltransfer.config_context(cache_folder=typed):
        put_many(disk, range(2000))
    assert len(left(disk, range(2000))) == 2000


def test_rows_of_other_recipes_go_first_the_oldest_of_them_first(tmp_path, open_disk):
    disk, other = open_disk(tmp_path, SMALL), b"o" * 32
    put_many(disk, range(400), other)
    put_many(disk, range(300))
    assert left(disk, range(300)) == [*range(300)]
    kept = left(disk, range(400), other)
    assert 0 < len(kept) < 400
    assert kept == [*range(400 - len(kept), 400)]


def test_rows_of_older_sessions_go_unless_this_one_uses_them(tmp_path, open_disk):
    put_many(open_disk(tmp_path, SMALL), range(400))
    disk = open_disk(tmp_path, SMALL)
    assert left(disk, range(100)) == [*range(100)]
    put_many(disk, range(1000, 1400))
    assert left(disk, range(100)) == [*range(100)]
    assert len(left(disk, range(1000, 1400))) > 200
    assert len(left(disk, range(100, 400))) < 200


def test_second_session_over_the_same_samples_finds_what_the_first_kept(tmp_path, open_disk):
    found = []
    for _ in range(3):
        disk = open_disk(tmp_path, SMALL)
        found.append(0)
        for start in range(0, 1000, 100):
            known = left(disk, range(start, start + 100))
            found[-1] += len(known)
            put_many(disk, [i for i in range(start, start + 100) if i not in known])
    assert found[0] == 0
    assert 300 < found[1] == found[2]


def test_hits_and_misses_of_a_folder_are_counted_across_sessions(tmp_path, open_disk):
    for start in (0, 100):
        disk = open_disk(tmp_path)
        put_many(disk, range(start, start + 100))
        left(disk, range(150))
        put_many(disk, [start + 1000])
    found = cache.info(tmp_path)
    assert (found.hits, found.misses, found.rows) == (100 + 150, 202, 202)


def test_folder_without_counts_is_read_and_gets_them(tmp_path, open_disk):
    disk = open_disk(tmp_path)
    put_many(disk, range(100))
    disk._db.execute("DROP TABLE counts")
    disk.close()
    assert cache.info(tmp_path)[0::4] == (100, 0)
    put_many(open_disk(tmp_path), range(100, 150))
    assert cache.info(tmp_path).misses == 50


WRITER = """
import pathlib, sys, warnings, numpy as np
warnings.simplefilter("error")
from skltransfer._engine.cache import DiskCache
print("ready", flush=True); sys.stdin.readline()
folder, number = pathlib.Path(sys.argv[1]), int(sys.argv[2])
disk = DiskCache(folder)
for i in range(number, 400, 2):
    disk.put({i.to_bytes(16, "big") + b"r" * 32: np.arange(5, dtype="f4") + i})
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


def test_journal_of_the_database_that_took_the_place_is_left_alone(disk, tmp_path, open_disk):
    disk.put(rows(1))
    (disk.folder / DiskCache.FILE).unlink()
    other = open_disk(disk.folder)
    journal = disk.folder / f"{DiskCache.FILE}-journal"
    other._db.execute("BEGIN IMMEDIATE")
    other._db.execute("INSERT INTO counts VALUES (x'00', 1, 1)")
    assert journal.exists()
    disk.close()
    assert journal.exists()
    other._db.execute("ROLLBACK")
