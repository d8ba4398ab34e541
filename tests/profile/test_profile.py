"""`doctor --bench`: what is measured, what it says bounds the machine, and which advice it names."""

import dataclasses
import math
import re

import pytest

from skltransfer import load_card, testing
from skltransfer._engine import profile, quantization, runtime
from skltransfer._engine.modalities import image
from skltransfer._engine.modalities.image import _synthetic
from skltransfer._engine.modalities.text import _graph
from skltransfer._engine.profile import Profile, advice, measure
from skltransfer.errors import CardError, SampleError
from tests import graphs

CPU = Profile(
    "net", "cpu", 64, 4, prepare=300, draft=600, graph=100, batch_size=2, end_to_end=280, bus=None, sample_bytes=1000
)
GPU = dataclasses.replace(CPU, device="cuda:0", graph=5000, bus=1e9)


@pytest.mark.parametrize(
    ("found", "bound", "share"),
    [
        (CPU, "graph", 0.75),
        (dataclasses.replace(CPU, graph=900), "prepare", 0.75),
        (GPU, "prepare", 1),
        (dataclasses.replace(GPU, prepare=2000), "graph", 1),
        (dataclasses.replace(GPU, prepare=2000, bus=1e6), "transfer", 1),
    ],
)
def test_bound_is_where_a_sample_takes_longest(found, bound, share):
    assert (found.bottleneck, found.share) == (bound, pytest.approx(share))


KNOBS = {
    "prepare": (dataclasses.replace(CPU, graph=900), r"draft=True\): images are prepared 2\.0 times as fast"),
    "prepare, nothing to shrink": (dataclasses.replace(CPU, graph=900, draft=310), "More cores"),
    "graph": (CPU, "precision='int8': the graph is often"),
    "graph of a GPU": (dataclasses.replace(GPU, prepare=2000), "precision='fp16'"),
    "transfer": (dataclasses.replace(GPU, prepare=2000, bus=1e6), "smaller input size"),
}


@pytest.mark.parametrize("kind", KNOBS)
def test_knob_that_helps_most_comes_first(kind, tmp_path):
    found, tip = KNOBS[kind]
    assert re.search(tip, advice(found, load_card(graphs.save_images(tmp_path)))[0])


def test_knob_of_texts_is_their_length(tmp_path):
    card = load_card(testing.save_text_backbone(testing.text_backbone(), tmp_path))
    assert advice(dataclasses.replace(CPU, graph=900, draft=None), card)[0].startswith(
        "A smaller max_length: fewer tokens"
    )


def test_knob_has_the_figure_of_a_variant_that_is_there(tmp_path):
    card = load_card(graphs.save_images(tmp_path, graphs.deep()))
    speed = quantization.quantize(card, "int8").measured["speed"]
    assert advice(CPU, card)[0] == f"precision='int8': the graph is {speed} times as fast, measured."


@pytest.fixture
def few(monkeypatch):
    """Make few samples up, and measure once."""
    monkeypatch.setattr(_synthetic, "MEASURED", [(64, 48)] * 5)
    monkeypatch.setitem(_graph.COUNTS, "measure", 5)
    monkeypatch.setattr(profile, "PASSES", 1)


@pytest.mark.parametrize("kind", ["images", "texts"])
def test_everything_is_measured_on_samples_that_are_made_up(kind, few, tmp_path):
    model = (
        graphs.save_images(tmp_path)
        if kind == "images"
        else testing.save_text_backbone(testing.text_backbone(), tmp_path)
    )
    found = measure(model, "cpu")
    assert (found.samples, found.device, found.bus) == (5, "cpu", None)
    assert all(math.isfinite(speed) and speed > 0 for speed in (found.prepare, found.graph, found.end_to_end))
    assert (found.draft is None) == (kind == "texts")
    assert found.sample_bytes == 8 * 8 * 3 or kind == "texts"


def test_samples_may_be_given(few, tmp_path):
    found = measure(graphs.save_images(tmp_path), "cpu", testing.noise_images(7))
    assert (found.samples, found.batch_size) == (7, 7)


def test_texts_are_run_with_others_of_their_length(few, tmp_path):
    lengths = [9, 1, 1, 9, 2]
    cut = profile._batches([range(n) for n in lengths], 18, by_length=True)
    assert [[len(piece) for piece in batch] for batch in cut] == [[9, 9], [2, 1, 1]]


def test_sample_that_cannot_be_read_is_named(few, tmp_path):
    with pytest.raises(SampleError, match="sample 0"):
        measure(graphs.save_images(tmp_path), "cpu", [b"no image"])


def test_model_of_numbers_is_refused(tmp_path):
    with pytest.raises(CardError, match="takes array samples, which need no preparation"):
        measure(graphs.save_numbers(tmp_path))


def test_bus_is_measured():
    assert runtime.bus_speed(runtime.Device(), megabytes=1) > 1e6


def test_photographs_are_files_with_sizes():
    files = image.photographs([(64, 48), (33, 20)])
    assert [file[:2] for file in files] == [b"\xff\xd8"] * 2
    assert files == image.photographs([(64, 48), (33, 20)])
