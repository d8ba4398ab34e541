"""Rows in memory: bounded, the least recently used let go; how rows become records."""

import threading

import numpy as np
import pytest

from skltransfer._engine import cache
from skltransfer._engine.cache import MemoryCache, _record
from tests.cache.support import ROW, assert_equal, key, rows

#: What a row of five numbers costs in memory.
COST = ROW.nbytes + cache.OVERHEAD


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


def test_record_survives_the_way_there_and_back():
    np.testing.assert_array_equal(_record.decode(key(1), _record.encode(key(1), ROW)), ROW)


@pytest.mark.parametrize("row", [ROW.astype(">f4"), np.repeat(ROW, 2)[::2], ROW[:0], ROW * np.nan])
def test_record_holds_little_endian_numbers_whatever_the_row_was(row):
    np.testing.assert_array_equal(_record.decode(key(1), _record.encode(key(1), row)), row)


@pytest.mark.parametrize("shape", [(), (4,), (2, 3), (4, 3, 3), (0, 5)])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_record_keeps_shape_and_type(shape, dtype):
    row = np.arange(np.prod(shape, dtype=int), dtype=dtype).reshape(shape)
    got = _record.decode(key(1), _record.encode(key(1), row))
    assert (got.shape, got.dtype) == (shape, dtype)
    np.testing.assert_array_equal(got, row)


@pytest.mark.parametrize("bit", range(8))
def test_flipped_bit_anywhere_in_a_record_is_a_miss(bit):
    record = _record.encode(key(1), ROW)
    wrong = []
    for place in range(len(record)):
        damaged = bytearray(record)
        damaged[place] ^= 1 << bit
        wrong += [place] if _record.decode(key(1), bytes(damaged)) is not None else []
    assert wrong == []


@pytest.mark.parametrize("length", [0, 3, 4, 19, 20, 21, 29, 30, 33, 34, 40, 49])
def test_cut_record_is_a_miss(length):
    assert _record.decode(key(1), _record.encode(key(1), ROW)[:length]) is None


@pytest.mark.parametrize("record", [None, "text", 7, b"", b"SKR1" + b"\0" * 36, b"SKR2" + b"\0" * 36])
def test_record_of_another_kind_or_format_is_a_miss(record):
    assert _record.decode(key(1), record) is None


def test_record_of_another_key_is_a_miss():
    assert _record.decode(key(2), _record.encode(key(1), ROW)) is None
