"""Rows that do not fit into memory: in a file without a name, right in every process, or said not to be kept."""

import errno
import os
import tempfile
import warnings

import numpy as np
import pytest

import skltransfer
from skltransfer import PretrainedEmbedder
from skltransfer._engine import cache, process
from skltransfer._engine.cache import MemoryCache, _limits, _spill
from skltransfer.errors import CacheWarning
from skltransfer.testing import image_rows, noise_images
from tests.cache.support import RECIPE, assert_equal, key
from tests.graphs import save_images

#: Numbers of a row, and what a row costs in memory.
WIDTH = 300
COST = 4 * WIDTH + cache.OVERHEAD
PICTURES = noise_images(60)
POSIX = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def many(*numbers: int, recipe: bytes = RECIPE) -> dict[bytes, np.ndarray]:
    return {key(i, recipe): np.arange(WIDTH, dtype=np.float32) + i for i in numbers}


def filled(count: int, limit: int, spill: int = 10**9) -> MemoryCache:
    memory = MemoryCache(limit, spill)
    for start in range(0, count, 50):
        memory.put(many(*range(start, min(count, start + 50))))
    return memory


@pytest.fixture
def said():
    """Warnings of the cache."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield caught


def test_rows_beyond_memory_lie_in_a_file_and_memory_holds_its_bound():
    memory = filled(2000, limit=10**6)
    assert memory.bytes <= 10**6
    assert memory.spilled > 10**6
    assert_equal(memory.get([key(i) for i in range(2000)]), many(*range(2000)))


@pytest.mark.parametrize("seed", range(3))
def test_rows_are_right_in_any_order(seed):
    memory = filled(2000, limit=10**6)
    order = np.random.default_rng(seed).integers(0, 2500, 500).tolist()
    assert_equal(memory.get([key(i) for i in order]), many(*(i for i in order if i < 2000)))


@pytest.mark.skipif(os.name != "posix", reason="modes as POSIX has them")
def test_file_has_no_name_and_is_of_its_owner_only(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    memory = filled(2000, limit=10**6)
    (file,) = {block.file for block in memory._blocks.values() if block.file is not None}
    assert [*tmp_path.iterdir()] == []
    status = os.fstat(file._file.fileno())
    assert (status.st_mode & 0o777, status.st_nlink) == (0o600, 0)


def test_reset_closes_the_file():
    memory = filled(2000, limit=10**6)
    (file,) = {block.file for block in memory._blocks.values() if block.file is not None}
    number = file._file.fileno()
    del file
    memory.reset()
    assert (len(memory), memory.bytes, memory.spilled) == (0, 0, 0)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)


def test_files_are_bounded_and_what_is_there_stays():
    memory = filled(2000, limit=10**6, spill=500_000)
    assert memory.spilled <= 500_000
    count = len(memory)
    assert_equal(memory.get([key(i) for i in range(2000)]), many(*range(count)))
    assert count == pytest.approx((memory.bytes - count * cache.OVERHEAD + memory.spilled) / (4 * WIDTH))


def test_other_recipes_leave_their_files_to_the_one_in_use(monkeypatch):
    monkeypatch.setattr(_spill, "FILE_BYTES", 200_000)
    memory = filled(1000, limit=300_000, spill=1_200_000)
    before, other = len(memory), b"o" * 32
    memory.put(many(*range(1000), recipe=other))
    assert len(memory.get([key(i, other) for i in range(1000)])) > 0.9 * before
    assert memory.bytes <= 300_000
    assert memory.spilled <= 1_200_000
    assert memory.spilled == sum(block.nbytes for block in memory._blocks.values() if block.file is not None)


def test_one_row_of_another_recipe_does_not_empty_the_cache():
    memory = filled(3000, limit=2 * 10**6, spill=0)
    before = len(memory)
    memory.put(many(1, recipe=b"o" * 32))
    assert len(memory) > before / 3


class Refusing:
    """A file system that refuses."""

    def __init__(self, *_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_disk_that_is_full_is_no_error_and_is_left_alone(monkeypatch, said):
    monkeypatch.setattr(tempfile, "TemporaryFile", Refusing)
    memory = filled(2000, limit=10**6)
    assert memory.spilled == 0
    assert_equal(memory.get([key(i) for i in range(2000)]), many(*range(len(memory))))
    memory.end_call(RECIPE, 2000)
    (warning,) = said
    assert "it cannot be written: [Errno 28] No space left on device" in str(warning.message)


@POSIX
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")  # it is what is tested
def test_file_that_cannot_grow_leaves_its_rows_as_they_are():
    if not (child := os.fork()):
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (700_000, 700_000))
        memory = filled(2000, limit=10**6)
        assert_equal(memory.get([key(i) for i in range(2000)]), many(*range(len(memory))))
        os._exit(7 if 0 < memory.spilled <= 700_000 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_temporary_folder_that_is_gone_is_no_error(tmp_path, monkeypatch, said):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    memory = MemoryCache(10**6)
    memory.put(many(*range(2000)))
    memory.end_call(RECIPE, 2000)
    assert len(memory) == 10**6 // COST
    assert len(said) == 1


@POSIX
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")  # it is what is tested
def test_children_of_forks_and_their_parent_never_mix_their_rows():
    memory = filled(2000, limit=2 * 10**6)
    children = []
    for number in (1, 2, 3):
        if not (child := os.fork()):
            memory.put(many(*range(number * 10_000, number * 10_000 + 1000)))
            wanted = [*range(2000), *range(number * 10_000, number * 10_000 + 1000)]
            assert_equal(memory.get([key(i) for i in wanted]), many(*wanted))
            os._exit(7)
        children.append(child)
        memory.put(many(*range(1000 + number * 1000, 2000 + number * 1000)))
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [7] * 3
    assert_equal(memory.get([key(i) for i in range(5000)]), many(*range(5000)))


# ---------------------------------------------------------------------------------------------------------------------
# What is said


def test_rows_that_were_not_kept_are_counted_once_per_recipe(said):
    memory = MemoryCache(10 * COST, 0)
    for recipe in (RECIPE, RECIPE, b"o" * 32):
        memory.put(many(*range(30), recipe=recipe))
        memory.end_call(recipe, 30)
    assert [str(warning.message)[:34] for warning in said] == [
        "20 of 30 new rows were not kept: c",
        "20 of 30 new rows were not kept: c",
    ]


def test_nothing_is_said_of_rows_that_were_kept(said):
    memory = filled(2000, limit=10**6)
    memory.end_call(RECIPE, 2000)
    assert said == []


def test_what_the_warning_says_to_type_keeps_every_row(tmp_path):
    embedder = PretrainedEmbedder(save_images(tmp_path), layer="embedding", n_jobs=1)
    with skltransfer.config_context(cache_memory=6000, cache_spill=0):
        with pytest.warns(CacheWarning, match=r"of 60 new rows were not kept") as caught:
            rows = embedder.transform(PICTURES)
        assert cache.cache_info().rows < 60
    np.testing.assert_allclose(rows, image_rows(PICTURES), rtol=1e-5)
    typed = str(caught[0].message).partition("cache_memory='")[2].partition("'")[0]
    process.reset()
    with skltransfer.config_context(cache_memory=typed, cache_spill=0):
        embedder.transform(PICTURES)
        assert cache.cache_info().rows == 60


def test_share_of_hits_is_the_share_that_fits(tmp_path):
    embedder = PretrainedEmbedder(save_images(tmp_path), layer="embedding", n_jobs=1)
    with skltransfer.config_context(cache_memory=15 * (4 * 4 + cache.OVERHEAD), cache_spill=0):
        with pytest.warns(CacheWarning, match=r"45 of 60 new rows were not kept"):
            embedder.transform(PICTURES)
        embedder.transform(PICTURES)  # says nothing: warnings are errors here
        info = cache.cache_info()
    assert (info.rows, info.hits, info.misses) == (15, 15, 60 + 45)
    assert info.bytes == info.limit


# ---------------------------------------------------------------------------------------------------------------------
# Limits


def test_limits_are_shares_of_what_is_free(monkeypatch):
    monkeypatch.setattr(process, "memory_limit", lambda: 80_000)
    monkeypatch.setattr(process, "free_memory", lambda: 12_000)
    monkeypatch.setattr(_limits, "free_disk", lambda: 40_000)
    process.reset()
    shares = _limits.Shares()
    assert (shares.memory(0), shares.memory(3000), shares.memory(10**6)) == (6000, 9000, 10_000)
    assert (shares.spill(0), shares.spill(500)) == (10_000, 10_500)
    process.reset()


def test_files_of_a_folder_in_memory_take_no_rows(monkeypatch):
    monkeypatch.setattr(process, "is_in_memory", lambda folder: True)
    assert _limits.free_disk() == 0


def test_lower_limit_holds_from_the_next_row_on():
    memory = MemoryCache()
    with skltransfer.config_context(cache_memory="1MB", cache_spill=0):
        memory.put(many(*range(500)))
    with skltransfer.config_context(cache_memory="200KB", cache_spill=0):
        memory.put(many(1000, recipe=b"o" * 32))
    assert memory.bytes <= 200_000
    assert len(memory.get([key(1000, b"o" * 32)])) == 1
