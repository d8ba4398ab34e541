"""Claims: who computes which rows, and what becomes of those who die."""

import multiprocessing
import os
import signal

import pytest

from skltransfer._engine.cache import DiskCache, MemoryCache, _claims, _memory
from skltransfer.errors import CacheWarning
from tests.cache.support import key, rows


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


def test_of_claims_made_at_once_each_ends_by_itself(disk, open_disk):
    other = open_disk(disk.folder)
    disk.claim([key(1), key(2), key(3)])
    disk.put(rows(1))
    disk.release([key(2)])
    assert other.claim([key(2), key(3)]) == {key(2)}
    disk.release([key(3)])
    assert other.claim([key(1), key(3)]) == {key(1), key(3)}


def test_claims_of_one_recipe_are_not_those_of_another(disk, open_disk):
    disk.claim([key(1)])
    assert open_disk(disk.folder).claim([key(1) + b"of another recipe"]) == {key(1) + b"of another recipe"}


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
    monkeypatch.setattr(_claims, "LEASE", -1.0)
    kept.claim([key(1)])
    assert kept.claim([key(1)]) == {key(1)}


def test_claim_of_another_machine_ends_with_its_lease(disk, monkeypatch):
    monkeypatch.setattr(_claims, "_owner", lambda: "another 1")
    disk.claim([key(1)])
    assert disk.claim([key(1)]) == set()
    monkeypatch.setattr(_claims, "LEASE", -1.0)
    disk.put(rows(2))  # whoever puts a row renews what it has claimed
    assert disk.claim([key(1)]) == {key(1)}


def test_folder_that_cannot_be_used_keeps_nobody_waiting(tmp_path, open_disk):
    (tmp_path / "file").write_text("")
    with pytest.warns(CacheWarning, match="cannot be used"):
        broken = open_disk(tmp_path / "file")
    assert [broken.claim([key(1)]), broken.claim([key(1)])] == [{key(1)}, {key(1)}]
