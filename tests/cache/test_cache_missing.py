"""What is not looked up in a folder: rows that nobody can have put, as long as nobody else changes it."""

from types import SimpleNamespace

import pytest

from skltransfer._engine.cache import DiskCache, FolderCache, _missing, _writer
from tests.cache.support import RECIPE, assert_equal, key, rows


@pytest.fixture
def clock(monkeypatch):
    """A clock that is set by hand."""
    now = [1000.0]
    monkeypatch.setattr(_missing, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


@pytest.fixture
def missing(clock):
    """What is known after a first look at the folder."""
    known = _missing.Missing()
    known.note_claims(set(), 1)
    return known


KEYS = [key(1), key(2), key(3)]


def test_nothing_is_missing_before_the_first_look(clock):
    known = _missing.Missing()
    known.note_absent(KEYS)
    assert [*known.possible(KEYS)] == KEYS


def test_what_was_not_found_is_missing_until_it_is_put(missing):
    missing.note_absent(KEYS[:2])
    assert [*missing.possible(KEYS)] == [key(3)]
    missing.note_put([key(1)], RECIPE)
    assert [*missing.possible(KEYS)] == [key(1), key(3)]


def test_all_of_a_new_recipe_is_missing_until_it_is_put(missing):
    missing.note_new(RECIPE)
    assert [*missing.possible(KEYS)] == []
    missing.note_put([key(2)], RECIPE)
    assert [*missing.possible(KEYS)] == [key(2)]
    other = [key(1, b"o" * 32)]
    assert [*missing.possible(other)] == other


@pytest.mark.parametrize("what", ["note_absent", "note_new"])
def test_nothing_is_missing_once_others_changed_the_folder(missing, what):
    getattr(missing, what)(KEYS if what == "note_absent" else RECIPE)
    assert [*missing.possible(KEYS)] == []
    missing.note_claims(set(), 2)
    assert [*missing.possible(KEYS)] == KEYS


@pytest.mark.parametrize("what", ["note_absent", "note_new"])
def test_nothing_is_missing_that_was_not_claimed_for_a_while(missing, clock, what):
    getattr(missing, what)(KEYS if what == "note_absent" else RECIPE)
    clock[0] += _missing.FRESH
    assert [*missing.possible(KEYS)] == KEYS


def test_what_was_claimed_is_missing_for_as_long_as_it_takes(missing, clock):
    missing.note_absent(KEYS)
    missing.note_claims({key(1), key(2)}, 1)
    clock[0] += 60.0
    missing.note_claims(set(), 2)
    assert [*missing.possible(KEYS)] == [key(3)]
    missing.note_release([key(1)])
    missing.note_put([key(2)], RECIPE)
    assert [*missing.possible(KEYS)] == KEYS


def test_what_is_remembered_is_bounded(missing, monkeypatch):
    monkeypatch.setattr(_missing, "MOST", 2)
    missing.note_absent(KEYS)
    missing.note_absent([key(4)])
    assert [*missing.possible([*KEYS, key(4)])] == KEYS
    missing.note_new(RECIPE)
    missing.note_put(KEYS, RECIPE)
    assert [*missing.possible([key(5)])] == [key(5)]


# ---------------------------------------------------------------------------------------------------------------------
# In a folder


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder's cache that writes when it is told to, and how many keys were looked up on the disk."""
    monkeypatch.setattr(_writer, "DELAY", 60.0)
    monkeypatch.setattr(_missing, "FRESH", 60.0)
    asked = []
    get = DiskCache.get
    monkeypatch.setattr(DiskCache, "get", lambda self, keys: asked.append(len(keys)) or get(self, keys))
    opened = FolderCache(tmp_path / "rows")
    opened.asked = asked
    yield opened
    opened.close()


def test_rows_of_a_new_recipe_are_looked_up_once_they_were_put(folder):
    assert folder.get(KEYS) == folder.get([key(4), key(5)]) == {}
    assert folder.asked == [3]  # the first look finds that the recipe is new
    folder.put(rows(1, 4))
    assert_equal(folder.get([*KEYS, key(4)]), rows(1, 4))
    folder.flush()
    assert_equal(folder.get([*KEYS, key(4)]), rows(1, 4))
    assert folder.asked == [3, 2]


def test_recipe_of_an_earlier_session_is_not_new(folder):
    before = DiskCache(folder.folder)
    before.put(rows(1))
    folder.claim([])  # sees it
    assert folder.get([key(2)]) == {}
    assert_equal(folder.get(KEYS), rows(1))
    before.close()


def test_recipe_is_not_new_to_whoever_waits_for_its_rows_to_be_written(folder):
    folder.put(rows(1))
    assert folder.get([key(2)]) == {}
    assert_equal(folder.get(KEYS), rows(1))
    folder.flush()
    assert_equal(folder.get(KEYS), rows(1))


def test_rows_of_others_are_found_in_a_recipe_that_was_new(folder):
    assert folder.get(KEYS) == {}
    other = DiskCache(folder.folder)
    other.put(rows(2))
    folder.claim([key(1)])
    assert_equal(folder.get(KEYS), rows(2))
    other.close()


def test_rows_of_another_database_that_takes_the_place_of_a_new_one_are_found(folder, tmp_path):
    assert folder.get(KEYS) == {}
    other = DiskCache(tmp_path / "other")
    other.put(rows(2))
    other.close()
    (tmp_path / "other" / DiskCache.FILE).replace(folder.folder / DiskCache.FILE)
    folder.claim([key(1)])
    assert_equal(folder.get(KEYS), rows(2))


def test_recipe_is_not_new_because_the_folder_cannot_be_read(folder):
    folder.put(rows(1))
    folder.flush()
    folder._reader._rests_until = float("inf")
    assert folder.get(KEYS) == {}
    folder._reader._rests_until = 0.0
    folder.claim([key(9)])
    assert_equal(folder.get([key(1), key(4)]), rows(1))


@pytest.mark.parametrize("known", [False, True])
def test_row_that_is_put_while_it_is_looked_up_is_found_afterwards(folder, monkeypatch, known):
    if known:
        folder.put(rows(9))
        folder.flush()
    get = folder._reader.get

    def put_meanwhile(keys):
        found = get(keys)
        folder.put(rows(1))
        folder.flush()
        return found

    monkeypatch.setattr(folder._reader, "get", put_meanwhile)
    assert folder.get(KEYS) == {}
    monkeypatch.undo()
    assert_equal(folder.get(KEYS), rows(1))
