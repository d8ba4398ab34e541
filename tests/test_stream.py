"""The assembly line: every row in its place, in both forms, whatever is slow and whatever fails."""

import threading
import time
import warnings
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from skltransfer import load_card
from skltransfer._engine import catalog, runtime, stream
from skltransfer._engine.cache import MemoryCache
from skltransfer._engine.modalities import image as images
from skltransfer._engine.stream import _embed, _line
from skltransfer.cards import ImageSpec
from skltransfer.errors import ModelError, ModelWarning, ProbeError, SampleError, Unreadable
from tests import graphs
from tests.graphs import expected, mates, means, pictures, save, save_images, save_numbers

PICTURES = pictures(100)
ROWS = expected(PICTURES)
FORMS = {"fused": _line._Fused, "pipelined": _line._Pipelined}


@pytest.fixture(params=FORMS)
def form(request, monkeypatch):
    """Either form of the line, on the CPU."""
    monkeypatch.setitem(stream.LINES, "cpu", FORMS[request.param])
    return FORMS[request.param]


@pytest.fixture
def plan(tmp_path):
    return plan_of(save_images(tmp_path))


def plan_of(path) -> stream.Plan:
    return catalog.plan(load_card(path), runtime.Device())[0]


@pytest.fixture
def replace(monkeypatch):
    """Replace a step of preparing images."""

    def replace(**steps):
        for step, work in steps.items():
            monkeypatch.setattr(images, step, work)
        monkeypatch.setattr(stream.PREPARERS[ImageSpec], "read", staticmethod(images.read))

    return replace


def slowly(step, failing: Collection[int] = ()):
    """Make a step take its time, which differs from sample to sample, and fail on some; a sample's red corner tells."""

    def slow(first, *rest):
        number = int((first if isinstance(first, np.ndarray) else first.data)[0, 0, 0])
        time.sleep(0.0005 * (number % 5))
        if number in failing:
            raise Unreadable(f"number {number}")
        return step(first, *rest)

    return slow


def line_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("skltransfer")]


# ---------------------------------------------------------------------------------------------------------------------
# Rows in their places


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("workers", [1, 2, 8])
@pytest.mark.parametrize("batch_size", [1, 3, 20, 99, 100, 101, None])
def test_rows_are_in_the_order_of_samples(form, plan, batch_size, workers, kept):
    cache = MemoryCache() if kept else None
    rows = stream.embed(PICTURES, plan, batch_size=batch_size, workers=workers, cache=cache).rows
    np.testing.assert_allclose(rows, ROWS, rtol=1e-5)


@pytest.mark.parametrize("step", ["read", "prepare"])
@pytest.mark.parametrize("kept", [False, True])
def test_order_is_kept_when_samples_take_different_times(form, plan, replace, step, kept):
    replace(**{step: slowly(getattr(images, step))})
    cache = MemoryCache() if kept else None
    rows = stream.embed(PICTURES, plan, batch_size=3, workers=8, cache=cache).rows
    np.testing.assert_allclose(rows, ROWS, rtol=1e-5)


@pytest.mark.parametrize("count", [None, 100])
@pytest.mark.parametrize("width", [None, 4])
@pytest.mark.parametrize("room", [1, 7, 99, 100, 101])
def test_generator_is_taken_whatever_is_known_of_it(form, plan, monkeypatch, count, width, room):
    monkeypatch.setattr(_embed, "FIRST_ROOM", room)
    rows = stream.embed(iter(PICTURES), plan, count=count, width=width, workers=2).rows
    np.testing.assert_allclose(rows, ROWS, rtol=1e-5)
    assert rows.flags.c_contiguous


@pytest.mark.parametrize("width", [None, 4])
def test_no_samples_give_no_rows(form, plan, width):
    assert stream.embed([], plan, width=width).rows.shape == (0, 4)


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

    stream.embed(samples(), plan, batch_size=4, workers=2, cache=MemoryCache(), progress=progress)
    line = form(plan, 2, 4)
    line.close()
    assert finished == 1000
    assert ahead <= (line.ahead + 2) * _embed.CHUNK + (line.in_flight + 1) * line.batch


def test_batches_in_flight_are_bounded(form, plan, monkeypatch):
    most, submit = 0, form.submit

    def count(line, items):
        nonlocal most
        most = max(most, len(run.running) + 1)
        return submit(line, items)

    monkeypatch.setattr(form, "submit", count)
    with form(plan, 3, 2) as line:
        run = _embed._Run(line, None, None, _embed._Rows(100, 4), False, None)
        run.drive(PICTURES)
    assert 1 < most <= line.in_flight


@pytest.mark.parametrize("kept", [False, True])
def test_progress_only_grows_and_ends_with_every_sample(form, plan, kept):
    told = []
    samples = [*PICTURES, None, *PICTURES[:50], b"bad"]
    cache = MemoryCache() if kept else None
    stream.embed(samples, plan, workers=4, batch_size=3, cache=cache, skip_bad=True, progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 152


def test_copies_of_a_sample_that_is_still_on_its_way_wait_for_it(form, plan, replace):
    replace(prepare=slowly(images.prepare))
    samples = [PICTURES[i % 7] for i in range(300)]
    rows = stream.embed(samples, plan, workers=4, batch_size=2, cache=MemoryCache()).rows
    np.testing.assert_allclose(rows, np.array([ROWS[i % 7] for i in range(300)]), rtol=1e-5)
    assert [session.rows_run for session in runtime.open_sessions().values()] == [7]


# ---------------------------------------------------------------------------------------------------------------------
# Failures


NUMBERED = [np.full((8, 8, 3), i, np.uint8) for i in range(200)]


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("workers", [1, 8])
@pytest.mark.parametrize("step", ["read", "prepare"])
@pytest.mark.parametrize("at", [{0}, {57, 58}, {199}, {60, 65, 61, 110}])
def test_error_names_the_first_sample_that_failed(form, plan, replace, at, step, workers, kept):
    replace(**{step: slowly(getattr(images, step), at)})
    cache = MemoryCache() if kept else None
    with pytest.raises(SampleError, match=rf"^sample {min(at)}: number {min(at)}\."):
        stream.embed(NUMBERED, plan, workers=workers, batch_size=2, cache=cache)


def test_error_names_the_first_sample_whichever_step_failed(form, plan, replace):
    replace(read=slowly(images.read, {70}), prepare=slowly(images.prepare, {64, 69}))
    with pytest.raises(SampleError, match=r"^sample 64: number 64"):
        stream.embed(NUMBERED, plan, workers=4, batch_size=50, cache=MemoryCache())


def test_rows_finished_before_an_error_are_kept(form, plan, replace):
    replace(prepare=slowly(images.prepare, {90}))
    cache = MemoryCache()
    with pytest.raises(SampleError, match="sample 90"):
        stream.embed(NUMBERED, plan, workers=2, batch_size=4, cache=cache)
    assert 90 <= len(cache) < 200


def test_failures_are_listed_in_the_order_of_samples(form, plan, replace):
    at = {3, 60, 61, 150, 199}
    replace(prepare=slowly(images.prepare, at))
    embedded = stream.embed(NUMBERED, plan, workers=8, batch_size=2, skip_bad=True)
    assert [failure.index for failure in embedded.failures] == sorted(at)
    assert np.flatnonzero(np.isnan(embedded.rows).all(axis=1)).tolist() == sorted(at)


def test_error_of_the_generator_comes_through_and_leaves_no_thread(form, plan):
    def samples():
        yield from PICTURES
        raise OSError("the camera was unplugged")

    with pytest.raises(OSError, match="the camera was unplugged"):
        stream.embed(samples(), plan, workers=4)
    assert not line_threads()


def test_interruption_comes_through_and_leaves_no_thread(form, plan):
    def progress(done):
        raise KeyboardInterrupt("pressed")

    with pytest.raises(KeyboardInterrupt, match="pressed"):
        stream.embed(PICTURES, plan, workers=4, progress=progress)
    assert not line_threads()


def test_threads_are_no_daemons_and_end_with_the_run(form, plan, replace):
    seen = set()
    prepare = images.prepare
    replace(prepare=lambda *args: (seen.add(threading.current_thread()), prepare(*args))[1])
    stream.embed(PICTURES, plan, workers=4)
    assert not any(thread.daemon or thread.is_alive() for thread in seen)
    assert not line_threads()


def test_graph_that_fails_on_samples_is_told_which(form, tmp_path):
    plan = plan_of(save(graphs.doubled(4), tmp_path))
    with pytest.raises(ProbeError, match=r"fails on three probe samples of shape \(3, 5\)"):
        stream.embed(np.ones((3, 5), np.float32), plan)
    stream.embed(np.ones((3, 4), np.float32), plan)
    with pytest.raises(ModelError, match=r"fails on samples 0 to 2, prepared to shape \(5,\)"):
        stream.embed(np.ones((3, 5), np.float32), plan)


def test_samples_of_different_shapes_are_refused(form, tmp_path):
    plan = plan_of(save_numbers(tmp_path))
    with pytest.raises(ModelError, match="fails on samples 0 to 1"):
        stream.embed([np.ones(3, np.float32), np.ones(4, np.float32)], plan)


# ---------------------------------------------------------------------------------------------------------------------
# Graphs with batches of their own mind


def test_rows_that_depend_on_their_mates_are_run_alone_with_a_warning(form, tmp_path):
    plan = plan_of(save_images(tmp_path, mates()))
    with pytest.warns(ModelWarning, match="Model 'tiny': a row alone differs .*It is run one sample at a time"):
        rows = stream.embed(PICTURES, plan, workers=2).rows
    np.testing.assert_allclose(rows, means(PICTURES), rtol=1e-5)


def test_dynamic_quantisation_is_named(tmp_path):
    plan = plan_of(save(graphs.quantized(), tmp_path))
    with pytest.warns(ModelWarning, match="it quantises its activations dynamically: DynamicQuantizeLinear"):
        stream.open_backbone(plan, np.ones(4, np.float32))


@pytest.mark.parametrize("batch", [1, 4])
def test_frozen_batch_is_freed_where_that_is_sound(form, tmp_path, batch):
    plan = plan_of(save_images(tmp_path, graphs.conv(batch=batch)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rows = stream.embed(PICTURES[:10], plan).rows
    np.testing.assert_allclose(rows, ROWS[:10], rtol=1e-5)
    assert stream.open_backbone(plan).batch is None


def test_frozen_batch_is_filled_up_where_it_cannot_be_freed(form, tmp_path):
    plan = plan_of(save(graphs.frozen("fails", 4), tmp_path))
    samples = np.arange(40, dtype=np.float32).reshape(10, 4)
    np.testing.assert_allclose(stream.embed(samples, plan, batch_size=3).rows, 2 * samples)
    assert stream.open_backbone(plan).batch == 4


def test_frozen_batch_whose_rows_depend_on_each_other_holds_copies_of_one(form, tmp_path):
    plan = plan_of(save_images(tmp_path, mates(4)))
    with pytest.warns(ModelWarning, match="It is run one sample at a time"):
        rows = stream.embed(PICTURES[:10], plan).rows
    np.testing.assert_allclose(rows, means(PICTURES[:10]), rtol=1e-5)


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (graphs.not_finite(), "12 of 12 numbers are not finite; is the model damaged"),
        (graphs.random_rows(), "other rows at every run; was the graph exported in training mode"),
        (graphs.constant(), "gave the same row; is this layer dead, or the model damaged"),
    ],
)
def test_graph_without_embeddings_is_refused(tmp_path, graph, message):
    plan = plan_of(save(graph, tmp_path))
    with pytest.raises(ProbeError, match=message):
        stream.embed(np.ones((2, 4), np.float32), plan)


# ---------------------------------------------------------------------------------------------------------------------
# Others at the same rows


@pytest.fixture
def claimed(plan):
    """A cache in which somebody else is about to compute the rows of the first ten pictures."""
    cache = MemoryCache()
    keys = [images.read(picture).digest() + plan.recipe.key.encode() for picture in PICTURES]
    cache.claim(keys[:10])
    return cache, keys


def in_thread(plan, cache, samples=PICTURES):
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(stream.embed, samples, plan, cache=cache, batch_size=4)
        while len(cache) < len(samples) - 10:
            time.sleep(0.001)
        yield future
        yield future.result(timeout=10).rows


def test_rows_that_others_compute_are_waited_for_and_not_run(form, plan, claimed):
    cache, keys = claimed
    running = in_thread(plan, cache)
    assert not next(running).done()
    cache.put({key: ROWS[i] for i, key in enumerate(keys[:10])})
    np.testing.assert_allclose(next(running), ROWS, rtol=1e-5)
    assert runtime.open_sessions()[plan.recipe.key, "cpu"].rows_run == 90


def test_rows_that_others_gave_up_are_run(form, plan, claimed):
    cache, keys = claimed
    running = in_thread(plan, cache)
    assert not next(running).done()
    cache.release(set(keys[:10]))
    np.testing.assert_allclose(next(running), ROWS, rtol=1e-5)
    assert runtime.open_sessions()[plan.recipe.key, "cpu"].rows_run == 100


def test_few_samples_wait_in_memory_for_others(plan, claimed, monkeypatch):
    cache, keys = claimed
    monkeypatch.setattr(_embed, "MOST_DEFERRED", 5)
    threading.Timer(0.3, cache.release, [set(keys[:10])]).start()
    np.testing.assert_allclose(stream.embed(PICTURES, plan, cache=cache).rows, ROWS, rtol=1e-5)


def test_claims_end_with_an_error(form, plan, replace):
    replace(prepare=slowly(images.prepare, failing={50}))
    cache = MemoryCache()
    with pytest.raises(SampleError, match="number 50"):
        stream.embed(NUMBERED, plan, workers=2, batch_size=4, cache=cache)
    keys = [images.read(picture).digest() + plan.recipe.key.encode() for picture in NUMBERED]
    assert cache.claim(keys) == set(keys)


# ---------------------------------------------------------------------------------------------------------------------
# Several devices, and what a GPU wants, on the CPU


@pytest.fixture
def three_devices(monkeypatch):
    """Let the CPU be three devices, that take large batches."""
    monkeypatch.setitem(stream.LINES, "cpu", _line._Pipelined)
    monkeypatch.setattr(runtime.Device, "each", lambda self: tuple(runtime.Device("cpu", i) for i in range(3)))
    return ["cpu", "cpu:1", "cpu:2"]


def test_devices_share_the_samples_and_keep_their_order(three_devices, plan):
    rows = stream.embed(PICTURES, plan, workers=3, batch_size=5).rows
    np.testing.assert_allclose(rows, ROWS, rtol=1e-5)
    run = {device: session.rows_run for (_, device), session in runtime.open_sessions().items()}
    assert run.keys() <= set(three_devices)
    assert sum(run.values()) == 100


def test_devices_run_at_once(three_devices, plan, monkeypatch):
    meeting, real = threading.Barrier(6), runtime.Session.run
    stream.embed(PICTURES[:1], plan, workers=1)  # opened, and probed, by one thread

    def run(session, samples, cancel=None, output=None):
        if len(samples) == 5 and not meeting.broken:
            meeting.wait(timeout=10)
        return real(session, samples, cancel, output)

    monkeypatch.setattr(runtime.Session, "run", run)
    stream.embed(PICTURES[:30], plan, workers=6, batch_size=5)
    assert not meeting.broken


def test_size_of_a_batch_is_tuned_once_some_were_run(three_devices, plan, monkeypatch):
    seen, real = [], runtime.Session.tune

    def tune(session, samples):
        seen.append(len(samples))
        return real(session, samples, clock=lambda: 0.0)  # no time passes: the largest size is the best

    monkeypatch.setattr(runtime.Session, "tune", tune)
    monkeypatch.setattr(stream.PREPARERS[ImageSpec], "batch", lambda self, form: 4)
    items = [_line.Item(i, picture) for i, picture in enumerate(PICTURES)]
    with _line._Pipelined(plan, 2, None) as line:
        for start in (0, 3, *range(4, 28, 4)):
            line.submit(items[start : start + (3 if start == 0 else 4)]).result()
        assert (seen, line.window) == ([], 4)
        line.submit(items[40:44]).result()
        assert (seen, line.window) == ([4], 64)


def test_size_of_a_batch_that_was_given_is_kept(three_devices, plan, monkeypatch):
    monkeypatch.setattr(runtime.Session, "tune", lambda *_: pytest.fail("tuned"))
    np.testing.assert_allclose(stream.embed(PICTURES, plan, workers=2, batch_size=4).rows, ROWS, rtol=1e-5)


def test_rows_are_right_while_the_size_is_tuned(three_devices, plan, monkeypatch):
    monkeypatch.setattr(stream.PREPARERS[ImageSpec], "batch", lambda self, form: 4)
    np.testing.assert_allclose(stream.embed(PICTURES * 4, plan, workers=2).rows, np.tile(ROWS, (4, 1)), rtol=1e-5)
