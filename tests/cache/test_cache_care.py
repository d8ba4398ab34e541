"""Looking after a folder of rows: `skltransfer cache info|verify|clear`."""

import sqlite3

import numpy as np
import pytest

from skltransfer import cli
from skltransfer._engine import cache
from skltransfer._engine.cache import DiskCache
from skltransfer.errors import CacheError

RECIPES = {"a" * 32: 3, "b" * 32: 2}
ROW = np.arange(5, dtype=np.float32)
DATABASE = DiskCache.FILE


def key(number: int, recipe: str) -> bytes:
    return number.to_bytes(16, "big") + recipe.encode()


@pytest.fixture
def folder(tmp_path):
    """A folder with the rows of two recipes, and a file of somebody else."""
    disk = DiskCache(tmp_path / "rows")
    disk.put({key(i, recipe): ROW for recipe, count in RECIPES.items() for i in range(count)})
    disk._db.close()
    (tmp_path / "rows" / "notes.txt").write_text("mine")
    return tmp_path / "rows"


def change(folder, statement: str) -> None:
    with sqlite3.connect(folder / DATABASE) as db:
        db.execute(statement)
    db.close()


def run(capsys, *arguments: object) -> tuple[int, str]:
    status = cli.main(["cache", *map(str, arguments)])
    out, err = capsys.readouterr()
    return status, out + err


def test_info_counts_rows_by_recipe(folder):
    found = cache.info(folder)
    assert found.recipes == RECIPES
    assert found.rows == 5
    assert 0 < found.bytes < found.limit


def test_info_is_printed(folder, capsys):
    status, said = run(capsys, "info", folder)
    assert status == 0
    assert "5 rows" in said
    assert "3 rows of recipe aaaa" in " ".join(said.split())


def test_whole_folder_is_whole(folder, capsys):
    assert run(capsys, "verify", folder) == (0, f"{folder}: 5 rows are intact, 0 were damaged and have been dropped\n")


@pytest.mark.parametrize("damage", ["record = x'00'", "record = NULL", "record = 'text'", "record = 1.5"])
def test_broken_rows_are_dropped_and_the_rest_stays(folder, capsys, damage):
    change(folder, f"UPDATE rows SET {damage} WHERE id = 2")
    assert run(capsys, "verify", folder) == (1, f"{folder}: 4 rows are intact, 1 were damaged and have been dropped\n")
    assert run(capsys, "verify", folder)[0] == 0


def test_row_under_a_key_that_is_not_its_own_is_broken(folder):
    change(folder, "UPDATE rows SET key = 'another' WHERE id = 2")
    assert cache.verify(folder) == (4, 1)


def test_clear_removes_the_rows_and_nothing_else(folder, capsys):
    status, said = run(capsys, "clear", folder)
    assert (status, [file.name for file in folder.iterdir()]) == (0, ["notes.txt"])
    assert "MB freed" in said


def test_folder_that_is_open_can_be_cleared(folder):
    disk = DiskCache(folder)
    disk.put({key(9, "c" * 32): ROW})
    cache.clear(folder)
    disk._db.close()
    assert DiskCache(folder).get([key(9, "c" * 32)]) == {}


@pytest.mark.parametrize("command", ["info", "verify"])
@pytest.mark.parametrize("content", [b"", b"no database at all", b"SQLite format 3\0" + bytes(200)])
def test_damaged_database_is_an_error_that_says_how_to_do_away_with_it(folder, capsys, command, content):
    (folder / DATABASE).write_bytes(content)
    status, said = run(capsys, command, folder)
    assert status == 2
    assert f"skltransfer cache clear '{folder}'" in said
    assert run(capsys, "clear", folder)[0] == 0


@pytest.mark.parametrize("command", ["info", "verify"])
@pytest.mark.parametrize("name", ["", "gone", "notes.txt"])
def test_folder_without_a_cache_is_an_error_and_stays_as_it_is(tmp_path, capsys, command, name):
    (tmp_path / "notes.txt").write_text("mine")
    status, said = run(capsys, command, tmp_path / name)
    assert status == 2
    assert "holds no cache" in said
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("name", ["", "gone", "notes.txt"])
def test_folder_without_a_cache_has_nothing_to_clear(tmp_path, capsys, name):
    (tmp_path / "notes.txt").write_text("mine")
    assert run(capsys, "clear", tmp_path / name) == (0, f"{tmp_path / name}: nothing to clear\n")
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


def test_default_is_the_folder_of_the_user(folder, capsys, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder.parent))
    folder.rename(folder.parent / "skltransfer")
    assert "5 rows" in run(capsys, "info")[1]


def test_damage_that_sqlite_finds_is_an_error(folder):
    content = bytearray((folder / DATABASE).read_bytes())
    content[16384:32768] = bytes(16384)
    (folder / DATABASE).write_bytes(content)
    with pytest.raises(CacheError, match="cannot be read"):
        cache.verify(folder)
