"""The assembly line: every row in its place, in both forms, whatever is slow."""

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest

from skltransfer._engine import runtime
from skltransfer._engine.cache import MemoryCache
from skltransfer._engine.modalities import image as images
from skltransfer._engine.stream import Options, _batches, _intake, _ledger, _rows
from tests.stream.support import PICTURES, ROWS, embed, slowly


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("workers", [1, 2, 8])
@pytest.mark.parametrize("batch_size", [1, 3, 20, 99, 100, 101, None])
def test_rows_are_in_the_order_of_samples(form, plan, batch_size, workers, kept):
    cache = MemoryCache() if kept else None
    rows = embed(PICTURES, plan, batch_size=batch_size, workers=workers, cache=cache).rows
    np.testing.assert_allclose(rows, ROWS, rtol=1e-5)


@pytest.mark.parametrize("step", ["read", "prepare"])
@pytest.mark.parametrize("kept", [False, True])
def test_order_is_kept_when_samples_take_different_times(form, plan, replace, step, kept):
    replace(**{step: slowly(getattr(images, step))})
    cache = MemoryCache() if kept else None
    rows = embed(PICTURES, plan, batch_size=3, workers=8, cache=cache).rows
    np.testing.assert_allclose(rows, ROWS, rtol=1e-5)


@pytest.mark.parametrize("count", [None, 100])
@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("room", [1, 7, 99, 100, 101])
def test_generator_is_taken_whatever_is_known_of_it(form, plan, monkeypatch, count, known, room):
    monkeypatch.setattr(_rows, "FIRST_ROOM", room)
    plan = plan if known else dataclasses.replace(plan, shape=None)
    rows = embed(iter(PICTURES), plan, count=count, workers=2).rows
    np.testing.assert_allclose(rows, ROWS, rtol=1e-5)
    assert rows.flags.c_contiguous


@pytest.mark.parametrize("known", [False, True])
def test_no_samples_give_no_rows(form, plan, known):
    plan = plan if known else dataclasses.replace(plan, shape=None)
    assert embed([], plan).rows.shape == (0, 4)


def test_samples_are_drawn_lazily_and_a_bounded_number_ahead(form, plan, replace):
    drawn = finished = ahead = 0
    replace(prepare=slowly(images.prepare))

    def samples() -> Iterator[np.ndarray]:
        nonlocal drawn, ahead
        for i in range(1000):
            drawn, ahead = drawn + 1, max(ahead, drawn - finished)
            yield np.full((8, 8, 3), i % 256, np.uint8) ^ np.uint8(i // 256)

    def progress(done: int) -> None:
        nonlocal finished
        finished = done

    embed(samples(), plan, batch_size=4, workers=2, cache=MemoryCache(), progress=progress)
    line = form(plan, Options(n_jobs=2, batch_size=4))
    line.close()
    assert finished == 1000
    assert ahead <= (line.workers + 3) * _intake.CHUNK + (line.in_flight + 1) * line.window


def test_batches_in_flight_are_bounded(form, plan, monkeypatch):
    most, submit = 0, form.submit

    def count(line, items):
        nonlocal most
        most = max(most, len(run.running) + 1)
        return submit(line, items)

    monkeypatch.setattr(form, "submit", count)
    with form(plan, Options(n_jobs=3, batch_size=2)) as line:
        run = _batches._Coordinator(line, _ledger.Ledger(plan, None), Options())
        assert sum(len(finished.rows) for finished in run.run(PICTURES)) == 100
    assert 1 < most <= line.in_flight


@pytest.mark.parametrize("kept", [False, True])
def test_progress_only_grows_and_ends_with_every_sample(form, plan, kept):
    told = []
    samples = [*PICTURES, None, *PICTURES[:50], b"bad"]
    cache = MemoryCache() if kept else None
    embed(samples, plan, workers=4, batch_size=3, cache=cache, skip_bad=True, progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 152


def test_copies_of_a_sample_that_is_still_on_its_way_wait_for_it(form, plan, replace):
    replace(prepare=slowly(images.prepare))
    samples = [PICTURES[i % 7] for i in range(300)]
    rows = embed(samples, plan, workers=4, batch_size=2, cache=MemoryCache()).rows
    np.testing.assert_allclose(rows, np.array([ROWS[i % 7] for i in range(300)]), rtol=1e-5)
    assert [session.rows_run for session in runtime.open_sessions().values()] == [7]
