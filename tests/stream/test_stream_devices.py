"""Several devices share the samples; sizes of batches are tuned. On the CPU."""

import threading

import numpy as np
import pytest

from skltransfer._engine import runtime, stream
from skltransfer._engine.modalities.image._prepare import ImagePreparer
from skltransfer._engine.stream import _line, _work
from tests.stream.support import PICTURES, ROWS, embed


@pytest.fixture
def three_devices(monkeypatch):
    """Let the CPU be three devices, that take large batches."""
    monkeypatch.setitem(stream.LINES, "cpu", _line.Pipelined)
    monkeypatch.setattr(runtime.Device, "each", lambda self: tuple(runtime.Device("cpu", i) for i in range(3)))
    return ["cpu", "cpu:1", "cpu:2"]


def test_devices_share_the_samples_and_keep_their_order(three_devices, plan):
    rows = embed(PICTURES, plan, workers=3, batch_size=5).rows
    np.testing.assert_allclose(rows, ROWS, rtol=1e-5)
    run = {device: session.rows_run for (_, device), session in runtime.open_sessions().items()}
    assert run.keys() <= set(three_devices)
    assert sum(run.values()) == 100


def test_devices_run_at_once(three_devices, plan, monkeypatch):
    meeting, real = threading.Barrier(6), runtime.Session.run
    embed(PICTURES[:1], plan, workers=1)  # opened, and probed, by one thread

    def run(session, samples, cancel=None, output=None):
        if len(samples) == 5 and not meeting.broken:
            meeting.wait(timeout=10)
        return real(session, samples, cancel, output)

    monkeypatch.setattr(runtime.Session, "run", run)
    embed(PICTURES[:30], plan, workers=6, batch_size=5)
    assert not meeting.broken


def test_size_of_a_batch_is_tuned_once_some_were_run(three_devices, plan, monkeypatch):
    seen, real = [], runtime.Session.tune

    def tune(session, samples):
        seen.append(len(samples))
        return real(session, samples, clock=lambda: 0.0)  # no time passes: the largest size is the best

    monkeypatch.setattr(runtime.Session, "tune", tune)
    monkeypatch.setattr(ImagePreparer, "batch_size", lambda self, form: 4)
    items = [_work.Item(i, picture) for i, picture in enumerate(PICTURES)]
    with _line.Pipelined(plan, stream.Options(n_jobs=2)) as line:
        for start in (0, 3, *range(4, 28, 4)):
            line.submit(items[start : start + (3 if start == 0 else 4)]).result()
        assert (seen, line.window) == ([], 4)
        line.submit(items[40:44]).result()
        assert (seen, line.window) == ([4], 64)


def test_size_of_a_batch_that_was_given_is_kept(three_devices, plan, monkeypatch):
    monkeypatch.setattr(runtime.Session, "tune", lambda *_: pytest.fail("tuned"))
    np.testing.assert_allclose(embed(PICTURES, plan, workers=2, batch_size=4).rows, ROWS, rtol=1e-5)


def test_rows_are_right_while_the_size_is_tuned(three_devices, plan, monkeypatch):
    monkeypatch.setattr(ImagePreparer, "batch_size", lambda self, form: 4)
    np.testing.assert_allclose(embed(PICTURES * 4, plan, workers=2).rows, np.tile(ROWS, (4, 1)), rtol=1e-5)
