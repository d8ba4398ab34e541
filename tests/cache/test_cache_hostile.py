"""Folders that others prepared, or change while they are used: the right row or one warning; no death, no wait."""

import multiprocessing
import os
import random
import sqlite3
import stat
import time
import warnings

import numpy as np
import pytest

from skltransfer import PretrainedEmbedder
from skltransfer._engine import cache
from skltransfer._engine.cache import DiskCache, _claims, _disk, _folder, _record
from skltransfer.errors import CacheError, CacheWarning
from skltransfer.testing import image_rows, noise_images
from tests.cache.support import ROW, assert_equal, key, rows
from tests.graphs import save_images

FORK = multiprocessing.get_context("fork")

pytestmark = pytest.mark.skipif(os.name != "posix", reason="owners, modes and links as POSIX has them")


@pytest.fixture
def folder(tmp_path):
    """A folder with rows 1 to 9."""
    disk = DiskCache(tmp_path / "rows")
    disk.put(rows(*range(1, 10)))
    disk.close()
    return tmp_path / "rows"


def change(folder, *statements: str) -> None:
    db = sqlite3.connect(folder / _folder.FILE, isolation_level=None)
    for statement in statements:
        db.execute(statement)
    db.close()


def used(open_disk, folder) -> tuple[dict, list[str]]:
    """Put, claim and get rows; return what was found and the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        disk, start = open_disk(folder), time.monotonic()
        assert disk.claim([key(1), key(20)]) == {key(1), key(20)}
        disk.put(rows(20))
        found = disk.get([key(i) for i in range(30)])
        disk.put(rows(21))
    assert time.monotonic() - start < 5
    assert {warning.category for warning in caught} <= {CacheWarning}
    assert_equal(found, rows(*(i for i in range(30) if key(i) in found)))
    return found, [str(warning.message) for warning in caught]


def replace(kind: str):
    """Return what puts something else in the place of a file of the folder."""

    def put(folder, name):
        path, target = folder / name, folder.parent / "target"
        path.unlink(missing_ok=True)
        target.write_bytes(b"precious")
        make = {"link": lambda: path.symlink_to(target), "fifo": lambda: os.mkfifo(path), "folder": path.mkdir}
        make["dangling link"] = lambda: path.symlink_to(folder.parent / "absent")
        make[kind]()

    return put


# ---------------------------------------------------------------------------------------------------------------------
# Refused, with what to type


@pytest.mark.parametrize("name", _folder.FILES)
@pytest.mark.parametrize("kind", ["link", "dangling link", "fifo", "folder"])
def test_file_that_is_no_regular_file_is_refused_and_its_target_stays(folder, open_disk, kind, name):
    replace(kind)(folder, name)
    found, said = used(open_disk, folder)
    assert (found, len(said)) == ({}, 1)
    assert f"not a file of rows; type: rm '{folder / name}'" in said[0]
    assert (folder.parent / "target").read_bytes() == b"precious"
    assert not (folder.parent / "absent").exists()


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702, 0o1777])
def test_folder_that_others_may_write_to_is_refused(folder, open_disk, mode):
    folder.chmod(mode)
    found, said = used(open_disk, folder)
    assert (found, len(said)) == ({}, 1)
    assert f"type: chmod go-w '{folder}'" in said[0]


def test_database_that_others_may_write_to_is_refused(folder, open_disk):
    folder.chmod(0o755)
    (folder / _folder.FILE).chmod(0o666)
    found, said = used(open_disk, folder)
    assert (found, len(said)) == ({}, 1)
    assert f"skltransfer cache clear '{folder}'" in said[0]


def test_folder_of_another_user_is_refused(folder, open_disk, monkeypatch):
    me = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    found, said = used(open_disk, folder)
    assert (found, len(said)) == ({}, 1)
    assert f"belongs to user {me}, and you are user {me + 1}" in said[0]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root may give files away")
@pytest.mark.parametrize("name", _folder.FILES)
def test_file_of_another_user_is_refused(folder, open_disk, name):
    (folder / name).touch()
    os.chown(folder / name, 12345, -1)
    found, said = used(open_disk, folder)
    assert (found, len(said)) == ({}, 1)
    assert "belongs to user 12345" in said[0]


FOREIGN = {
    "trigger": ["CREATE TRIGGER t AFTER INSERT ON rows BEGIN DELETE FROM rows; END"],
    "view": ["DROP TABLE rows", "CREATE VIEW rows AS SELECT 1 AS id, x'00' AS key, x'00' AS record"],
    "table": ["CREATE TABLE another (a)"],
    "column": ["ALTER TABLE rows ADD COLUMN more TEXT DEFAULT 'x'"],
    "generated column": ["ALTER TABLE claims ADD COLUMN more GENERATED ALWAYS AS (id) VIRTUAL"],
    "index": ["CREATE INDEX more ON rows (length(record))"],
    "other table": ["DROP TABLE claims", "CREATE TABLE claims (id BLOB UNIQUE CHECK (0), owner TEXT)"],
}


def test_claims_of_an_earlier_version_are_dropped_and_its_rows_kept(folder, open_disk):
    change(folder, "DROP TABLE claims", _folder.OLD_CLAIMS)
    assert cache.info(folder).rows == 9
    found, said = used(open_disk, folder)
    assert (len(found), said) == (10, [])


@pytest.mark.parametrize("what", FOREIGN)
def test_foreign_schema_is_refused(folder, open_disk, what):
    change(folder, *FOREIGN[what])
    found, said = used(open_disk, folder)
    assert (found, len(said)) == ({}, 1)
    assert "which skltransfer did not write" in said[0]
    for command in (cache.info, cache.verify):
        with pytest.raises(CacheError, match=r"did not write.*skltransfer cache clear"):
            command(folder)


def test_trigger_that_comes_while_the_folder_is_used_is_refused(folder, open_disk):
    disk = open_disk(folder)
    disk.put(rows(10))
    change(folder, *FOREIGN["trigger"])
    with pytest.warns(CacheWarning, match="holds trigger 't'"):
        disk.put(rows(11))
    disk.put(rows(12))  # a second warning would be an error
    change(folder, "DROP TRIGGER t")
    assert_equal(disk.get([key(i) for i in range(20)]), rows(*range(1, 11)))


# ---------------------------------------------------------------------------------------------------------------------
# Records and claims


RECIPE = "(SELECT substr(key, 17) FROM rows WHERE id = 1)"
CLAIMED = "(SELECT substr(key, 1, 16) FROM rows WHERE id = 1)"
ODD = {
    "null key": "INSERT INTO rows (key, record) VALUES (NULL, x'00')",
    "text key": "INSERT INTO rows (key, record) VALUES ('k', 'text')",
    "number as record": "UPDATE rows SET record = 1.5 WHERE id = 3",
    "zeros": "UPDATE rows SET record = zeroblob(1000000) WHERE id = 3",
    "another's record": "UPDATE rows SET record = (SELECT record FROM rows WHERE id = 4) WHERE id = 3",
    "claim for ever": f"INSERT INTO claims VALUES (x'01', 'elsewhere 1', {RECIPE}, {CLAIMED}, 1e300)",
    "claim until text": f"INSERT INTO claims VALUES (x'01', 'elsewhere 1', {RECIPE}, {CLAIMED}, 'text')",
    "claim of nobody": f"INSERT INTO claims VALUES (NULL, NULL, {RECIPE}, {CLAIMED}, NULL)",
    "claim of text": f"INSERT INTO claims VALUES (x'01', 'elsewhere 1', {RECIPE}, 'text', unixepoch() + 9.0)",
    "claim of all": f"INSERT INTO claims VALUES (x'01', 'elsewhere 1', {RECIPE}, zeroblob(2 << 20), unixepoch() + 9.0)",
}


@pytest.mark.parametrize("what", ODD)
def test_odd_record_or_claim_is_ignored(folder, open_disk, what):
    change(folder, ODD[what])
    found, said = used(open_disk, folder)
    assert (len(found), said) == (10 - ("id = 3" in ODD[what]), [])
    assert sum(cache.info(folder).recipes.values()) == cache.info(folder).rows
    cache.verify(folder)
    assert cache.verify(folder).broken == 0


@pytest.mark.parametrize("number", ["0", "-1", "9" * 30, "x", ""])
def test_claim_of_an_odd_process_ends_with_its_lease(folder, open_disk, monkeypatch, number):
    disk = open_disk(folder)
    monkeypatch.setattr(_claims, "_owner", lambda: f"{_claims.platform.node()} {number}")
    disk.claim([key(50)])
    monkeypatch.setattr(_disk.time, "time", lambda now=time.time: now() + 31)
    assert disk.claim([key(50)]) == {key(50)}


@pytest.mark.parametrize("number", [1, 2, 3, 5])
def test_intact_record_of_another_shape_is_computed_again(tmp_path, number):
    pictures = noise_images(6)
    embedder = PretrainedEmbedder(save_images(tmp_path), layer="embedding", cache=tmp_path / "rows")
    embedder.transform(pictures)
    db = sqlite3.connect(tmp_path / "rows" / _folder.FILE)
    for name, _ in db.execute("SELECT key, record FROM rows").fetchall():
        foreign = _record.encode(name, np.full(number, 7, np.float32))
        db.execute("UPDATE rows SET record = ? WHERE key = ?", (foreign, name))
    db.commit(), db.close()
    np.testing.assert_allclose(embedder.transform(pictures), image_rows(pictures), rtol=1e-5)


# ---------------------------------------------------------------------------------------------------------------------
# Tolerated


def test_files_that_others_may_read_become_private(folder, open_disk):
    folder.chmod(0o755)
    (folder / _folder.FILE).chmod(0o644)
    found, said = used(open_disk, folder)
    assert (len(found), said) == (10, [])
    assert stat.S_IMODE((folder / _folder.FILE).stat().st_mode) == 0o600


def test_new_database_in_a_folder_that_was_there_is_private(tmp_path, open_disk):
    tmp_path.chmod(0o755)
    open_disk(tmp_path).put(rows(1))
    assert stat.S_IMODE((tmp_path / _folder.FILE).stat().st_mode) == 0o600


def test_folder_of_the_first_release_keeps_its_rows(folder, open_disk):
    change(folder, "PRAGMA journal_mode = WAL")
    assert_equal(open_disk(folder).get([key(i) for i in range(30)]), rows(*range(1, 10)))
    assert open_disk(folder)._db.execute("PRAGMA journal_mode").fetchone() == ("persist",)
    assert [file.name for file in folder.iterdir()] == [_folder.FILE]


def test_log_that_is_switched_on_meanwhile_is_left_again(folder, open_disk):
    disk = open_disk(folder)
    change(folder, "PRAGMA journal_mode = WAL", "DELETE FROM rows WHERE id = 1")
    for _ in range(2):
        assert_equal(disk.get([key(i) for i in range(30)]), rows(*range(2, 10)))
    assert not _folder.is_mapped(disk._db)


@pytest.mark.parametrize("name", ["-journal", "-wal", "-shm"])
@pytest.mark.parametrize("content", [b"", b"garbage" * 1000, b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + b"\xff" * 5000])
def test_garbage_beside_the_database_never_gives_a_wrong_row(folder, open_disk, name, content):
    (folder / (_folder.FILE + name)).write_bytes(content)
    assert len(used(open_disk, folder)[1]) <= 1


@pytest.mark.parametrize("left", [0, 1, 100, 4096, 6000])
def test_shortened_database_never_gives_a_wrong_row(folder, open_disk, left):
    os.truncate(folder / _folder.FILE, left)
    assert len(used(open_disk, folder)[1]) <= 1


def test_locked_folder_costs_one_wait_and_one_warning(folder, open_disk, monkeypatch):
    monkeypatch.setattr(_folder, "PATIENCE", 0.2)
    other = sqlite3.connect(folder / _folder.FILE, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    found, said = used(open_disk, folder)
    other.close()
    assert (found, len(said)) == ({}, 1)


# ---------------------------------------------------------------------------------------------------------------------
# Changed while it is used


def remove(folder):
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()


def swap(folder):
    (folder / "new").write_bytes((folder / _folder.FILE).read_bytes())
    (folder / "new").replace(folder / _folder.FILE)


@pytest.mark.parametrize(("act", "left"), [(cache.clear, 0), (remove, 0), (swap, 9)])
def test_rows_go_to_the_file_that_is_there(folder, open_disk, act, left):
    disk = open_disk(folder)
    act(folder)
    disk.put(rows(30))
    assert cache.info(folder).rows == left + 1
    act(folder)
    assert len(disk.get([key(i) for i in range(40)])) == (left + 1 if left else 0)
    act(folder)
    assert disk.claim([key(31)]) == {key(31)}
    disk.put(rows(31))
    assert_equal(open_disk(folder).get([key(31)]), rows(31))


def work(folder, seconds: float) -> None:
    """Put and get rows for a while, check them, and exit with 7."""
    until, number = time.monotonic() + seconds, 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CacheWarning)
        disk = DiskCache(folder)
        while time.monotonic() < until:
            disk._rests_until = 0.0  # go on at once, for more chances to fail
            number += 5
            disk.claim([key(i) for i in range(number, number + 5)])
            disk.put(rows(*range(number, number + 5)))
            for name, row in disk.get([key(i) for i in range(number - 20, number + 20) if i > 0]).items():
                np.testing.assert_array_equal(row, ROW + int.from_bytes(name[:16], "big"))
    os._exit(7)


def shake(folder, child, rng) -> None:
    """Shorten and lengthen the files of a folder for as long as a child lives."""
    while child.is_alive():
        for name in _folder.FILES:
            try:
                size = (folder / name).stat().st_size
                os.truncate(folder / name, rng.choice([0, 1, size // 2, size + 5000, 2 * size, 40_000]))
            except OSError:
                continue
        if rng.random() < 0.1:
            (folder / _folder.FILE).unlink(missing_ok=True)
        time.sleep(rng.random() / 200)


@pytest.mark.parametrize("seed", range(3))
def test_files_that_change_length_under_a_process_do_not_kill_it(tmp_path, seed):
    children = [FORK.Process(target=work, args=(tmp_path, 2.0)) for _ in range(2)]
    for child in children:
        child.start()
    shake(tmp_path, children[0], random.Random(seed))
    for child in children:
        child.join(30)
    assert [child.exitcode for child in children] == [7, 7]
