"""Sessions, the memory they run through, the table they are kept in; threads."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from skltransfer._engine import runtime
from skltransfer._engine.runtime import (
    Device,
    _bound,
    _cudart,
    _driver,
    _failures,
    _providers,
    _session,
    _staging,
    _table,
    _threads,
)
from skltransfer.errors import DeviceError, ModelError, OutOfMemoryError
from tests import graphs

CPU = Device()
CUDA = Device("cuda")
NUMBERS = np.random.default_rng(0).standard_normal((7, 4)).astype(np.float32)


def has_gpu() -> bool:
    return _driver.query().devices > 0


def doubled(batch="n") -> runtime.Session:
    return runtime.Session(
        graphs.doubled(batch=batch).SerializeToString(), CPU, batch_size=None if batch == "n" else batch
    )


# ---------------------------------------------------------------------------------------------------------------------
# One session


def test_session_runs_and_counts_rows():
    session = doubled()
    np.testing.assert_array_equal(session.run(NUMBERS), 2 * NUMBERS)
    session.run(NUMBERS[:2])
    assert (session.rows_run, session.providers) == (9, ("CPUExecutionProvider",))


def bound(batch="n"):
    """A session as on a GPU: through buffers of its own, in few shapes."""
    model = graphs.doubled(batch=batch).SerializeToString()
    return runtime.Session(model, CPU, bound=True, batch_size=None if batch == "n" else batch)


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


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("batch", [1, 3])
def test_frozen_batch_is_filled_up_and_cut_again(batch, n):
    got = doubled(batch).run(NUMBERS[:n])
    np.testing.assert_array_equal(got, 2 * NUMBERS[:n])


def test_frozen_batch_may_hold_one_sample_many_times():
    session = doubled(3)
    session.fix_batch(3, most=1)
    np.testing.assert_array_equal(session.run(NUMBERS), 2 * NUMBERS)


def _scarce(session, monkeypatch, most):
    """Let a session run out of memory for more than `most` rows; give the sizes it was asked for."""
    real, sizes = session._session, []

    class Scarce:
        def run(self, names, feeds, options):
            sizes.append(len(feeds["x"]))
            if sizes[-1] > most:
                raise RuntimeError("Failed to allocate memory for requested buffer of size 1234")
            return real.run(names, feeds, options)

    monkeypatch.setattr(session, "_session", Scarce())
    return sizes


def test_batch_that_does_not_fit_is_halved_and_the_size_remembered(monkeypatch):
    session = doubled()
    sizes = _scarce(session, monkeypatch, most=2)
    np.testing.assert_array_equal(session.run(NUMBERS), 2 * NUMBERS)
    assert sizes == [7, 3, 1, 1, 1, 1, 1, 1, 1]
    session.run(NUMBERS)
    assert sizes[9:] == [1] * 7


def test_buffers_are_let_go_where_memory_is_short(monkeypatch):
    session, real = bound(), _bound._Slot.run
    session.run(NUMBERS)

    def scarce(slot, samples, *rest):
        if len(samples) > 4:
            raise RuntimeError("CUDA failure 2: out of memory")
        return real(slot, samples, *rest)

    monkeypatch.setattr(_bound._Slot, "run", scarce)
    np.testing.assert_array_equal(session.run(NUMBERS), 2 * NUMBERS)
    assert [shape[0] for shape, _ in session._bound.shapes] == [3, 1]


SHORT = [
    "bfc_arena.cc:376 Failed to allocate memory for requested buffer of size 411041792",
    "bfc_arena.cc:347 Available memory of 0 is smaller than requested bytes of 411041792",
    "CUDA failure 2: out of memory ; GPU=0 ; hostname=vm ; expr=cudaMalloc((void**)&p, size);",
    "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0",
    "CUDNN failure 4001: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED ; GPU=0",
    "std::bad_alloc",
]


@pytest.mark.parametrize("message", SHORT)
def test_messages_of_short_memory_are_known(message):
    assert _failures.is_out_of_memory(RuntimeError(message))
    assert not _failures.is_out_of_memory(RuntimeError("Got invalid dimensions for input: x"))


@pytest.mark.parametrize("batch", ["n", 7])
def test_memory_that_does_not_suffice_for_one_batch_is_a_named_error(monkeypatch, batch):
    session = doubled(batch)
    _scarce(session, monkeypatch, most=0)
    with pytest.raises(OutOfMemoryError, match=r"CPUExecutionProvider has no memory for a batch of \d: .*device='cpu'"):
        session.run(NUMBERS)


class Clock:
    """Tells a time that goes on by what the runs of a session cost."""

    def __init__(self, session, monkeypatch, cost):
        self.now, self.sizes, run = 0.0, [], session._rows

        def timed(samples, *rest):
            self.sizes.append(len(samples))
            self.now += cost(len(samples))
            return run(samples, *rest)

        monkeypatch.setattr(session, "_rows", timed)

    def __call__(self):
        return self.now


def test_batch_is_doubled_for_as_long_as_that_is_worth_it(monkeypatch):
    session = doubled()
    clock = Clock(session, monkeypatch, lambda n: (1 + max(0, n - 28) / 28) / 8)
    assert session.tune(NUMBERS, clock) == 28
    assert clock.sizes == [7, 7, 14, 14, 28, 28, 56, 56]
    assert session.tune(NUMBERS[:1], clock) == session.best == 28
    assert len(clock.sizes) == 8
    assert session.rows_run == 0


def test_batch_is_doubled_for_as_long_as_it_fits(monkeypatch):
    session = doubled()
    _scarce(session, monkeypatch, most=14)
    clock = Clock(session, monkeypatch, lambda n: 0.1)
    assert session.tune(NUMBERS, clock) == 14
    np.testing.assert_array_equal(session.run(np.resize(NUMBERS, (30, 4))), 2 * np.resize(NUMBERS, (30, 4)))


def test_batch_is_doubled_for_as_long_as_two_of_them_fit_into_free_memory(monkeypatch):
    session = doubled()
    clock = Clock(session, monkeypatch, lambda n: 0.1)
    # 7 samples take 200 bytes, 14 take 400 more, 28 take 600 more: for 56 twice 1200 would have to be free.
    left = iter([9999, 9799, 9799, 9399, 3000, 2400, 2399])
    assert session.tune(NUMBERS, clock, lambda device: next(left)) == 28
    assert clock.sizes == [7, 7, 14, 14, 28, 28]


def test_no_larger_batch_is_tried_where_one_takes_long(monkeypatch):
    session = doubled()
    clock = Clock(session, monkeypatch, lambda n: 1)
    assert session.tune(NUMBERS, clock) == 7
    assert clock.sizes == [7, 7]


def test_out_of_memory_is_a_device_error_and_a_memory_error():
    assert issubclass(OutOfMemoryError, DeviceError)
    assert issubclass(OutOfMemoryError, MemoryError)


@pytest.mark.parametrize("model", [b"", b"\0" * 9, b"not a model"])
def test_graph_that_cannot_be_opened_is_a_named_error(model):
    with pytest.raises(ModelError, match=r"ONNX Runtime cannot open this graph on device='cpu'"):
        runtime.Session(model, CPU)


def test_error_of_a_run_is_not_printed(capfd):
    session = doubled()
    with pytest.raises(Exception, match=r"Got invalid dimensions"):
        session.run(NUMBERS[:, :3].copy())
    assert capfd.readouterr() == ("", "")


def test_switch_ends_a_run():
    session = runtime.Session(graphs.endless().SerializeToString(), CPU)
    cancel = runtime.cancel_switch()
    threading.Timer(0.2, lambda: setattr(cancel, "terminate", True)).start()
    with pytest.raises(Exception, match=r"(?i)terminate"):
        session.run(NUMBERS, cancel)


def test_one_session_gives_many_threads_the_right_rows():
    session, wrong = doubled(), []

    def work(seed):
        numbers = np.random.default_rng(seed).standard_normal((3, 4)).astype(np.float32)
        wrong.extend(i for i in range(100) if not np.array_equal(session.run(numbers), 2 * numbers))

    in_threads(8, work)
    assert (wrong, session.rows_run) == ([], 2400)


def in_threads(n, work):
    threads = [threading.Thread(target=work, args=(i,)) for i in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


# ---------------------------------------------------------------------------------------------------------------------
# The table


def test_eight_cold_threads_open_one_session_between_them():
    opened, got, together = [], [], threading.Barrier(8)

    def open_session():
        opened.append(1)
        threading.Event().wait(0.05)
        return doubled()

    def work(i):
        together.wait()
        got.append(runtime.session("key", CPU, open_session))

    in_threads(8, work)
    assert (len(opened), len(set(map(id, got)))) == (1, 1)


def test_sessions_of_other_keys_are_opened_side_by_side():
    together = threading.Barrier(4, timeout=10)
    in_threads(4, lambda i: runtime.session(f"key {i}", CPU, lambda: (together.wait(), doubled())[1]))
    assert len(runtime.open_sessions()) == 4


@pytest.mark.parametrize("other", [("other", CPU), ("key", Device("cuda")), ("key", Device("cuda", 1))])
def test_session_is_one_per_key_and_device(other):
    first = runtime.session("key", CPU, doubled)
    assert runtime.session("key", CPU, doubled) is first
    assert runtime.session(*other, doubled) is not first


def test_session_that_fails_to_open_is_tried_again():
    def fail():
        raise ModelError("no")

    with pytest.raises(ModelError, match="no"):
        runtime.session("key", CPU, fail)
    assert runtime.session("key", CPU, doubled) is runtime.session("key", CPU, fail)


def test_table_is_bounded_and_lets_go_of_what_was_unused_for_longest():
    for i in range(_table.MAX_SESSIONS):
        runtime.session(str(i), CPU, doubled)
    runtime.session("0", CPU, doubled)
    runtime.session("new", CPU, doubled)
    keys = [key for key, _ in runtime.open_sessions()]
    assert keys == [*map(str, range(2, _table.MAX_SESSIONS)), "0", "new"]


def test_clear_lets_go_of_every_session():
    session = runtime.session("key", CPU, doubled)
    runtime.clear()
    assert runtime.open_sessions() == {}
    assert runtime.session("key", CPU, doubled) is not session
    np.testing.assert_array_equal(session.run(NUMBERS), 2 * NUMBERS)  # a run under way is not disturbed


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")  # it is what is tested
def test_forked_child_opens_its_own_session():
    runtime.session("key", CPU, doubled)
    if not (child := os.fork()):
        empty = runtime.open_sessions() == {}
        fine = np.array_equal(runtime.session("key", CPU, doubled).run(NUMBERS), 2 * NUMBERS)
        os._exit(0 if empty and fine else 1)
    assert os.waitpid(child, 0)[1] == 0


# ---------------------------------------------------------------------------------------------------------------------
# Threads


@pytest.mark.parametrize(
    ("limit", "share"),
    [("1", 1), ("3", 3), ("99", 8), ("2,1", 2), ("", 8), ("0", 8), ("-1", 8), ("many", 8)],
)
def test_share_is_at_most_what_omp_num_threads_says(monkeypatch, limit, share):
    monkeypatch.setattr("joblib.cpu_count", lambda: 8)
    monkeypatch.setenv("OMP_NUM_THREADS", limit)
    assert runtime.cpu_share() == share


def test_share_is_that_of_the_process_without_a_limit(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert 1 <= runtime.cpu_share() <= len(os.sched_getaffinity(0))


@pytest.mark.parametrize(("n_jobs", "threads"), [(None, 8), (1, 1), (3, 3), (-1, 8), (-2, 7)])
def test_n_jobs_is_taken_as_joblib_takes_it(monkeypatch, n_jobs, threads):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("joblib._parallel_backends.cpu_count", lambda *_, **__: 8)
    monkeypatch.setattr("joblib.cpu_count", lambda: 8)
    assert _threads.workers(n_jobs) == threads
