"""Sizes of batches: frozen, halved where memory is short, doubled while that is worth it."""

import numpy as np
import pytest

from skltransfer._engine import runtime
from skltransfer._engine.runtime import _bound, _failures
from skltransfer.errors import DeviceError, OutOfMemoryError
from tests.runtime.support import NUMBERS, bound, doubled


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


def test_a_run_that_gives_its_memory_back_has_the_same_rows():
    with runtime.time_limit(30, shrink=True) as cancel:
        np.testing.assert_array_equal(doubled("n").run(NUMBERS, cancel), 2 * NUMBERS)
