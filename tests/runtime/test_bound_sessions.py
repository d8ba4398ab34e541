"""Sessions as on a GPU: the memory they run through, page locks and recorded graphs."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from skltransfer._engine.runtime import Device, _bound, _cudart, _driver, _providers, _session, _staging
from tests.runtime.support import CPU, NUMBERS, bound, doubled

CUDA = Device("cuda")


def has_gpu() -> bool:
    return _driver.query().devices > 0


def test_session_runs_and_counts_rows():
    session = doubled()
    np.testing.assert_array_equal(session.run(NUMBERS), 2 * NUMBERS)
    session.run(NUMBERS[:2])
    assert (session.rows_run, session.providers) == (9, ("CPUExecutionProvider",))


def test_buffers_are_filled_up_to_powers_of_two_and_used_again():
    session = bound()
    for n in (5, 6, 7, 8, 3, 1, 2, 4, 8, 5):
        np.testing.assert_array_equal(session.run(np.resize(NUMBERS, (n, 4))), 2 * np.resize(NUMBERS, (n, 4)))
    assert [shape[0] for shape, _ in session._bound.shapes] == [1, 2, 4, 8]
    assert [len(slots) for slots in session._bound._free.values()] == [1] * 4


def test_rows_are_not_overwritten_by_the_next_run():
    session = bound()
    first = session.run(NUMBERS)
    session.run(-NUMBERS)
    np.testing.assert_array_equal(first, 2 * NUMBERS)


def test_buffers_are_not_shared_by_threads():
    session, blocks = bound(), [np.full((6, 4), i, np.float32) for i in range(64)]
    with ThreadPoolExecutor(4) as pool:
        for block, rows in zip(blocks, pool.map(session.run, blocks), strict=True):
            np.testing.assert_array_equal(rows, 2 * block)
    assert len(session._bound._free[(8, 4), "float32"]) <= 4


def test_buffers_unused_for_longest_are_let_go(monkeypatch):
    monkeypatch.setattr(_bound, "MAX_SLOTS", 2)
    session = bound()
    for n in (1, 2, 4):
        session.run(NUMBERS[:n])
    assert [shape[0] for shape, _ in session._bound.shapes] == [2, 4]


def test_bound_session_keeps_a_frozen_batch():
    session = bound(batch=3)
    np.testing.assert_array_equal(session.run(NUMBERS), 2 * NUMBERS)
    assert [shape[0] for shape, _ in session._bound.shapes] == [3]


def put_together(rows):
    """Collate as a preparer does: into room that is asked for."""

    def collate(room):
        out = room(rows.shape, rows.dtype)
        out[:] = rows
        return out

    return collate


def test_batch_is_put_together_in_the_memory_it_is_copied_from(monkeypatch):
    session, seen = bound(), []
    real = _bound._Slot.run
    monkeypatch.setattr(_bound._Slot, "run", lambda slot, x, *rest: (seen.append(x), real(slot, x, *rest))[1])
    for n in (5, 3, 7):
        np.testing.assert_array_equal(session.run_batch(put_together(NUMBERS[:n])), 2 * NUMBERS[:n])
    (block,) = session._bound.staging._free
    assert [len(x) for x in seen] == [8, 4, 8]
    assert all(np.shares_memory(x, block._bytes) for x in seen)
    assert session.rows_run == 15


def test_memory_of_batches_is_not_shared_by_threads():
    session, blocks = bound(), [np.full((6, 4), i, np.float32) for i in range(64)]
    with ThreadPoolExecutor(4) as pool:
        for block, rows in zip(blocks, pool.map(session.run_batch, map(put_together, blocks)), strict=True):
            np.testing.assert_array_equal(rows, 2 * block)
    assert 1 <= len(session._bound.staging._free) <= 4


def test_memory_of_a_batch_that_fails_is_given_back():
    session = bound()

    def fail(room):
        room((2, 4), np.float32)
        raise ValueError("of other shapes")

    with pytest.raises(ValueError, match="of other shapes"):
        session.run_batch(fail)
    np.testing.assert_array_equal(session.run_batch(put_together(NUMBERS)), 2 * NUMBERS)
    assert len(session._bound.staging._free) == 1


@pytest.mark.parametrize("session", [lambda: doubled(), lambda: doubled(3), lambda: bound(batch=3)])
def test_other_sessions_run_what_is_put_together_likewise(session):
    np.testing.assert_array_equal(session().run_batch(put_together(NUMBERS)), 2 * NUMBERS)


def test_memory_locks_are_an_offer():
    assert _cudart.lock_pages(np.empty(0, np.uint8)) is False
    if not has_gpu():
        assert _cudart.lock_pages(np.empty(4096, np.uint8)) is False
        assert _cudart.free_memory(CUDA) is None
    assert _cudart.free_memory(CPU) is None


class Library:
    """Stands in for the CUDA runtime, which does not start where there is no GPU: counts what it is asked for."""

    def __init__(self, code=0):
        self.code, self.locked = code, {}

    def cudaHostRegister(self, address, size, flags):
        if not self.code:
            self.locked[address.value] = size.value
        return self.code

    def cudaHostUnregister(self, address):
        del self.locked[address.value]

    def cudaSetDevice(self, index):
        return self.code

    def cudaMemGetInfo(self, free, total):
        free._obj.value, total._obj.value = 3 << 33, 1 << 36
        return self.code


def test_locks_end_with_the_memory(monkeypatch):
    library = Library()
    monkeypatch.setattr(_cudart, "_library", lambda: library)
    block = _staging.Block(lock=True)
    address = block.room((2, 3), np.float32).ctypes.data
    assert library.locked == {address: 24}
    block.room((3,), np.uint8)
    assert library.locked == {address: 24}
    block.room((100, 3), np.float32)
    assert list(library.locked.values()) == [1200]
    del block
    assert library.locked == {}


def test_free_memory_is_what_the_runtime_says(monkeypatch):
    monkeypatch.setattr(_cudart, "_library", Library)
    assert _cudart.free_memory(CUDA) == 3 << 33
    monkeypatch.setattr(_cudart, "_library", lambda: Library(code=35))
    assert _cudart.free_memory(CUDA) is None
    assert _cudart.lock_pages(np.empty(8)) is False


def test_graphs_are_recorded_one_at_a_time_and_each_slot_has_its_own(monkeypatch):
    monkeypatch.setattr(_bound, "MAX_GRAPHS", 2)
    session, busy, numbers = bound(), threading.Lock(), []
    session._bound = _bound.Bound(_providers.import_onnxruntime(), session._session, CPU, graphs=True)
    real = _bound._Slot.run

    def run(slot, *rest):
        assert busy.acquire(blocking=False), "two at a time"
        numbers.append((len(rest[0]), slot._options[not slot._fresh].get_run_config_entry("gpu_graph_id")))
        rows = real(slot, *rest)
        busy.release()
        return rows

    monkeypatch.setattr(_bound._Slot, "run", run)
    for n in (1, 2, 4, 1, 2, 4):
        session.run(NUMBERS[:n])
    with ThreadPoolExecutor(4) as pool:
        for rows in pool.map(session.run, [NUMBERS[:2]] * 50):
            np.testing.assert_array_equal(rows, 2 * NUMBERS[:2])
    assert numbers[:6] == [(1, "-1"), (2, "-1"), (4, "-1"), (1, "1"), (2, "2"), (4, "-1")]
    assert {number for _, number in numbers[6:]} == {"2"}


@pytest.mark.filterwarnings("ignore:Duplicate provider")  # the CPU stands for both
@pytest.mark.parametrize("others", [[], [("CPUExecutionProvider", {})]], ids=["CUDA", "CUDA behind TensorRT"])
def test_graphs_are_recorded_where_the_options_say_so(others, monkeypatch):
    assert bound()._bound._numbers is None
    options = [*others, ("CPUExecutionProvider", {"enable_cuda_graph": "1"})]
    monkeypatch.setattr(_session, "provider_options", lambda *_, **__: options)
    assert bound()._bound._numbers is not None
