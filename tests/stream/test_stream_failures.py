"""The assembly line: whatever fails, the samples are named and no thread is left."""

import threading

import numpy as np
import pytest

from skltransfer import testing
from skltransfer._engine.cache import MemoryCache
from skltransfer._engine.modalities import image as images
from skltransfer.errors import ModelError, ProbeError, SampleError
from skltransfer.testing import save_backbone
from tests.graphs import save_numbers
from tests.stream.support import NUMBERED, PICTURES, embed, plan_of, slowly


def line_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("skltransfer")]


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("workers", [1, 8])
@pytest.mark.parametrize("step", ["read", "prepare"])
@pytest.mark.parametrize("at", [{0}, {57, 58}, {199}, {60, 65, 61, 110}])
def test_error_names_the_first_sample_that_failed(form, plan, replace, at, step, workers, kept):
    replace(**{step: slowly(getattr(images, step), at)})
    cache = MemoryCache() if kept else None
    with pytest.raises(SampleError, match=rf"^sample {min(at)}: number {min(at)}\."):
        embed(NUMBERED, plan, workers=workers, batch_size=2, cache=cache)


def test_error_names_the_first_sample_whichever_step_failed(form, plan, replace):
    replace(read=slowly(images.read, {70}), prepare=slowly(images.prepare, {64, 69}))
    with pytest.raises(SampleError, match=r"^sample 64: number 64"):
        embed(NUMBERED, plan, workers=4, batch_size=50, cache=MemoryCache())


def test_rows_finished_before_an_error_are_kept(form, plan, replace):
    replace(prepare=slowly(images.prepare, {90}))
    cache = MemoryCache()
    with pytest.raises(SampleError, match="sample 90"):
        embed(NUMBERED, plan, workers=2, batch_size=4, cache=cache)
    assert 90 <= len(cache) < 200


def test_failures_are_listed_in_the_order_of_samples(form, plan, replace):
    at = {3, 60, 61, 150, 199}
    replace(prepare=slowly(images.prepare, at))
    embedded = embed(NUMBERED, plan, workers=8, batch_size=2, skip_bad=True)
    assert [failure.index for failure in embedded.failures] == sorted(at)
    assert np.flatnonzero(np.isnan(embedded.rows).all(axis=1)).tolist() == sorted(at)


def test_error_of_the_generator_comes_through_and_leaves_no_thread(form, plan):
    def samples():
        yield from PICTURES
        raise OSError("the camera was unplugged")

    with pytest.raises(OSError, match="the camera was unplugged"):
        embed(samples(), plan, workers=4)
    assert not line_threads()


def test_interruption_comes_through_and_leaves_no_thread(form, plan):
    def progress(done):
        raise KeyboardInterrupt("pressed")

    with pytest.raises(KeyboardInterrupt, match="pressed"):
        embed(PICTURES, plan, workers=4, progress=progress)
    assert not line_threads()


def test_threads_end_with_the_run(form, plan, replace):
    seen = set()
    prepare = images.prepare
    replace(prepare=lambda *args: (seen.add(threading.current_thread()), prepare(*args))[1])
    embed(PICTURES, plan, workers=4)
    assert not any(thread.is_alive() for thread in seen)
    assert not line_threads()


def test_graph_that_fails_on_samples_is_told_which(form, tmp_path):
    plan = plan_of(save_backbone(testing.array_backbone(4), tmp_path))
    with pytest.raises(ProbeError, match=r"fails on three probe samples of shape \(3, 5\)"):
        embed(np.ones((3, 5), np.float32), plan)
    embed(np.ones((3, 4), np.float32), plan)
    with pytest.raises(ModelError, match=r"fails on samples 0 to 2, prepared to shape \(5,\)"):
        embed(np.ones((3, 5), np.float32), plan)


def test_samples_of_different_shapes_are_refused(form, tmp_path):
    plan = plan_of(save_numbers(tmp_path))
    with pytest.raises(ModelError, match="fails on samples 0 to 1"):
        embed([np.ones(3, np.float32), np.ones(4, np.float32)], plan)
