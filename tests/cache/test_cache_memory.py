"""Rows in memory: bounded, kept rather than replaced; how rows become records."""

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


def test_memory_keeps_copies_that_cannot_be_written_to():
    memory, batch = MemoryCache(), np.ones((1000, 5), np.float32)
    memory.put({key(1): batch[0]})
    batch[:] = 0
    found = memory.get([key(1)])[key(1)]
    assert found.all()
    with pytest.raises(ValueError, match="read-only"):
        found[0] = 2


@pytest.mark.parametrize("shape", [(1,), (7,), (3, 2, 2), (0, 4)])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("room", [60, 4], ids=["memory", "file"])
def test_memory_keeps_shape_and_type_also_in_a_file(shape, dtype, room):
    put = {key(i): np.full(shape, i, dtype) for i in range(60)}
    memory = MemoryCache(60 * cache.OVERHEAD + room * put[key(0)].nbytes, 10**6)
    memory.put(put)
    assert (memory.spilled > 0) == (room == 4 and 0 not in shape)
    assert len(memory) == 60
    for name, row in memory.get([*put]).items():
        assert (row.dtype, row.shape) == (dtype, shape)
        np.testing.assert_array_equal(row, put[name])


def test_rows_of_one_recipe_may_have_different_shapes():
    memory = MemoryCache()
    sequences = {key(i): np.full((1 + i % 5, 3), i, np.float32) for i in range(100)}
    memory.put(sequences)
    found = memory.get([*sequences])
    assert all((found[name] == row).all() and found[name].shape == row.shape for name, row in sequences.items())


def test_full_memory_keeps_what_it_has():
    memory = MemoryCache(3 * COST, 0)
    memory.put(rows(1, 2, 3))
    memory.put(rows(4))
    assert_equal(memory.get([key(i) for i in range(9)]), rows(1, 2, 3))
    assert (len(memory), memory.bytes) == (3, 3 * COST)


def test_scan_larger_than_the_bound_finds_as_many_rows_as_fit_each_time():
    memory, found = MemoryCache(30 * COST, 0), []
    for _ in range(3):
        hits = 0
        for start in range(0, 100, 10):
            known = memory.get([key(i) for i in range(start, start + 10)])
            hits += len(known)
            memory.put({k: row for k, row in rows(*range(start, start + 10)).items() if k not in known})
        found.append(hits)
    assert found == [0, 30, 30]


def test_rows_of_the_recipe_unused_for_longest_go_first():
    memory = MemoryCache(4 * COST, 0)
    for recipe in (b"a" * 32, b"b" * 32):
        memory.put({key(i, recipe): ROW for i in range(2)})
    memory.get([key(0, b"a" * 32)])
    memory.put({key(i, b"c" * 32): ROW for i in range(2)})
    left = [len(memory.get([key(i, name * 32) for i in range(2)])) for name in (b"a", b"b", b"c")]
    assert left == [2, 0, 2]
    assert memory.bytes == 4 * COST


def test_memory_does_not_count_a_row_twice():
    memory = MemoryCache()
    memory.put(rows(1))
    memory.put(rows(1))
    assert memory.bytes == COST
    memory.clear()
    assert (len(memory), memory.bytes) == (0, 0)


def test_memory_is_used_by_many_threads_at_once():
    memory = MemoryCache(50 * COST, 100 * ROW.nbytes)
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
    assert wrong == []
    assert memory.bytes + memory.spilled == len(memory) * COST
    assert 0 < memory.spilled <= 100 * ROW.nbytes


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


@pytest.mark.parametrize("length", [0, 3, 4, 7, 8, 9, 17, 18, 21, 22, 28, 41])
def test_cut_record_is_a_miss(length):
    assert _record.decode(key(1), _record.encode(key(1), ROW)[:length]) is None


@pytest.mark.parametrize("record", [None, "text", 7, b"", b"SKR2" + b"\0" * 36, b"SKR3" + b"\0" * 36])
def test_record_of_another_kind_or_format_is_a_miss(record):
    assert _record.decode(key(1), record) is None


def test_record_of_another_key_is_a_miss():
    assert _record.decode(key(2), _record.encode(key(1), ROW)) is None
