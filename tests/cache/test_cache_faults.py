"""What may happen to a folder of rows: a wrong row is never given back, and a run never fails because of it.

The faults are real ones: bits of the files are flipped, processes are killed, the file system refuses to write.
"""

import contextlib
import multiprocessing
import os
import random
import resource
import signal
import time
import warnings

import numpy as np
import pytest

from skltransfer import PretrainedEmbedder
from skltransfer._engine import cache, runtime
from skltransfer._engine.cache import DiskCache, _record
from skltransfer.errors import CacheWarning
from skltransfer.testing import image_rows, noise_images
from tests.graphs import save_images

FORK = multiprocessing.get_context("fork")
PICTURES = noise_images(40)
ROWS = image_rows(PICTURES)
DATABASE = DiskCache.FILE
#: Rows a writer puts at a time, and numbers of a row.
BATCH, WIDTH = 20, 50

pytestmark = pytest.mark.skipif(os.name != "posix", reason="processes are killed, and limited, as POSIX has it")


def key(number: int) -> bytes:
    return number.to_bytes(16, "big") + b"r" * 32


def row(number: int) -> np.ndarray:
    return np.full(WIDTH, number, np.float32) + np.arange(WIDTH, dtype=np.float32)


def batch(number: int) -> dict[bytes, np.ndarray]:
    return {key(i): row(i) for i in range(number * BATCH, (number + 1) * BATCH)}


@contextlib.contextmanager
def opened(folder):
    disk = DiskCache(folder)
    try:
        yield disk
    finally:
        disk.close()


def read(folder, batches: int, first: int = 0) -> dict[bytes, np.ndarray]:
    """Read batches back, and see that nothing of it is wrong; a warning that it cannot be read is all right."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CacheWarning)
        with opened(folder) as disk:
            found = disk.get([key(i) for i in range(first * BATCH, batches * BATCH)])
    for name, numbers in found.items():
        np.testing.assert_array_equal(numbers, row(int.from_bytes(name[:16], "big")))
    return found


def in_child(work, *arguments) -> int:
    """Do work in a child process, and give its exit code."""
    child = FORK.Process(target=work, args=arguments)
    child.start()
    child.join(60)
    assert child.exitcode is not None, "the child hangs"
    return child.exitcode


# ---------------------------------------------------------------------------------------------------------------------
# Bits


def test_every_bit_of_a_record_counts():
    record = _record.encode(key(1), row(1))
    for bit in range(8 * len(record)):
        damaged = bytearray(record)
        damaged[bit // 8] ^= 1 << bit % 8
        assert _record.decode(key(1), bytes(damaged)) is None


@pytest.mark.parametrize("seed", range(4))
def test_flipped_bits_of_the_database_never_give_a_wrong_row(tmp_path, seed):
    with opened(tmp_path) as disk:
        for number in range(5):
            disk.put(batch(number))
    whole, rng = (tmp_path / DATABASE).read_bytes(), random.Random(seed)
    for _ in range(60):
        damaged = bytearray(whole)
        for bit in rng.choices(range(8 * len(whole)), k=rng.choice([1, 1, 8, 100])):
            damaged[bit // 8] ^= 1 << bit % 8
        (tmp_path / DATABASE).write_bytes(damaged)
        read(tmp_path, 5)


@pytest.mark.parametrize("part", [slice(0, 100), slice(4000, 9000), slice(0, None)])
def test_run_goes_on_with_a_damaged_database_and_the_next_one_after_it_is_cleared(tmp_path, part):
    model, folder = save_images(tmp_path), tmp_path / "rows"
    embedder = PretrainedEmbedder(model, layer="embedding", cache=folder)
    embedder.transform(PICTURES[:20])
    forget(folder)
    damaged = bytearray((folder / DATABASE).read_bytes())
    damaged[part] = bytes(255 - byte for byte in damaged[part])
    (folder / DATABASE).write_bytes(damaged)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CacheWarning)
        np.testing.assert_allclose(embedder.transform(PICTURES), ROWS, rtol=1e-5)
    forget(folder)
    cache.clear(folder)
    np.testing.assert_allclose(embedder.transform(PICTURES), ROWS, rtol=1e-5)
    assert cache.verify(folder) == (40, 0)


def forget(folder) -> None:
    """Close this process's connection, as a new process has none."""
    disk = cache._open._disks.pop(str(folder.resolve()))
    disk.close()


# ---------------------------------------------------------------------------------------------------------------------
# Death


def write_for_ever(folder, first: int, told) -> None:
    """Put batches, and tell of each once it is kept."""
    with opened(folder) as disk:
        for number in range(first, 10**6):
            disk.claim([*batch(number)])
            disk.put(batch(number))
            os.write(told, number.to_bytes(4, "big"))


@pytest.mark.parametrize("kills", [12, pytest.param(200, marks=pytest.mark.slow)])
def test_killed_processes_leave_every_batch_they_told_of_and_nothing_wrong(tmp_path, kills):
    rng, kept = random.Random(0), 0
    for _ in range(kills):
        reader, writer = os.pipe()
        child = FORK.Process(target=write_for_ever, args=(tmp_path, kept, writer))
        child.start()
        os.close(writer)
        time.sleep(rng.uniform(0.01, 0.06))
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        with os.fdopen(reader, "rb") as told:
            kept = max([kept, *(int.from_bytes(told_of, "big") + 1 for told_of in iter(lambda: told.read(4), b""))])
        first = max(0, kept - 50)
        found = read(tmp_path, kept + 1, first)
        assert len(found) - (kept - first) * BATCH in (0, BATCH)  # the last batch may be kept and not told of
    assert kept > kills / 2
    assert len(read(tmp_path, kept)) == kept * BATCH
    with opened(tmp_path) as disk:
        assert disk.claim([key(10**9)]) == {key(10**9)}
        assert disk._db.execute("SELECT count(*) FROM claims").fetchone() == (1,)  # those of the dead are gone
    assert {file.name for file in tmp_path.iterdir()} == {DATABASE}  # whoever closes removes the journal


# ---------------------------------------------------------------------------------------------------------------------
# A disk that refuses


def embed_with_small_files(model: str, folder, most: int) -> None:
    """Embed in a process whose files may not grow beyond so many bytes; exits with 3 if it was warned."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    runtime.clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        embedder = PretrainedEmbedder(model, layer="embedding", cache=folder, batch_size=4, n_jobs=1)
        rows = embedder.transform(PICTURES)
    np.testing.assert_allclose(rows, ROWS, rtol=1e-5)
    assert {warning.category for warning in caught} <= {CacheWarning}
    os._exit(3 if caught else 0)


def test_file_system_that_refuses_at_any_point_costs_a_warning_and_the_rerun_completes(tmp_path):
    model, exits = save_images(tmp_path), set()
    for most in (8192, 16384, 24576, 49152, 65536, 81920, 98304, 131072, 262144, 2**20):
        folder = tmp_path / str(most)
        exits.add(in_child(embed_with_small_files, model, folder, most))
        assert in_child(embed_with_small_files, model, folder, 2**30) == 0
        assert cache.verify(folder) == (40, 0)
    assert exits == {0, 3}


@pytest.mark.parametrize("pages", range(1, 14, 2))
def test_full_database_costs_a_warning(tmp_path, pages):
    with opened(tmp_path) as disk:
        disk._db.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.warns(CacheWarning, match="database or disk is full") as caught:
            put_and_claim(disk, 20)
    assert len(caught) == 1
    read(tmp_path, 20)


def put_and_claim(disk, batches: int) -> None:
    for number in range(batches):
        disk.put(batch(number))
        disk.claim([key(1000 + number)])


# ---------------------------------------------------------------------------------------------------------------------
# Crowds


def crowd(model: str, folder, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(PICTURES))
    embedder = PretrainedEmbedder(model, layer="embedding", cache=folder, batch_size=2, n_jobs=2)
    rows = embedder.transform([PICTURES[i] for i in order])
    np.testing.assert_allclose(rows, ROWS[order], rtol=1e-5)
    os._exit(7)


def test_many_processes_at_a_cold_folder_agree(tmp_path):
    model, folder = save_images(tmp_path), tmp_path / "rows"
    children = [FORK.Process(target=crowd, args=(model, folder, seed)) for seed in range(8)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [7] * 8
    assert cache.verify(folder) == (40, 0)
