"""The recipe of `vision-mini`: a few steps, from images to a card folder; bytes and devices of its parts."""

import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from skltransfer import PretrainedEmbedder, load_card
from skltransfer._engine import golden
from skltransfer.datasets import load_emoji
from tests.paths import ROOT

pytest.importorskip("torch", reason="the recipe needs torch")

import torch

from distill_vision import export, losses, pace, student, views, warm_start

RECIPE = ROOT / "models" / "recipes" / "distill_vision"


def run(*words: object) -> str:
    """Run a command of the recipe."""
    done = subprocess.run([sys.executable, str(RECIPE), *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with images, of two classes in two parts, and a teacher with its description."""
    folder, emoji = tmp_path_factory.mktemp("recipe"), load_emoji()
    for i, image in enumerate(emoji.images[:80:2]):
        place = folder / "images" / ("train" if i % 4 else "test") / str(i % 2) / f"{i}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(image)
    teacher = load_card("vision-mini")
    (folder / "teacher.onnx").write_bytes((teacher.folder / "model.onnx").read_bytes())
    pixels = {"colour_order": "RGB", "mean": [127.5] * 3, "std": [127.5] * 3}
    (folder / "teacher.json").write_text(json.dumps({"embedding": {"tensor": "embedding"}, "input": pixels}))
    cache = ("--cache", folder / "cache", "--images", folder / "images")
    run("prepare", *cache, "--teachers", f"{folder / 'teacher.onnx'}:64", "--components", 16, "--side", 64)
    return folder


def train(folder: Path, *words: object) -> subprocess.Popen:
    """Start to train, or go on."""
    said = ("--device", "cpu", "--sizes", "0:32", "--batch", 8, "--save-minutes", 0.001, *words)
    places = ("--cache", folder / "cache", "--run", folder / "run", "--start", folder / "teacher.onnx")
    return subprocess.Popen([sys.executable, str(RECIPE), "train", *map(str, (*places, *said))])


def views_seen(folder: Path) -> int:
    return torch.load(folder / "run" / "last.pt", weights_only=True)["samples"]


def test_student_is_trained_stopped_trained_on_exported_and_described(folder):
    training = train(folder, "--minutes", 5)
    while not (folder / "run" / "last.pt").exists() and training.poll() is None:
        time.sleep(0.05)
    training.terminate()
    assert training.wait(timeout=60) == 0
    before = views_seen(folder)
    assert train(folder, "--minutes", 0.02).wait(timeout=60) == 0
    assert views_seen(folder) > before > 0
    run("export", "--checkpoint", folder / "run" / "last.pt", "--output", folder / "student.onnx", "--size", 64)
    run("card", "--model", folder / "student.onnx", "--output", folder / "student", "--photographs", folder / "images")
    card = load_card(folder / "student")
    assert card.pinned
    assert golden.drift(card) < 1e-4
    assert card.measured.keys() == {"probe accuracy images", "CPU ms per image in the graph, one core"}
    assert PretrainedEmbedder(folder / "student").fit_transform(load_emoji().images[:2]).shape == (2, 704)


#: Of the graph of `numbered_student`, at 64 px.
SHA256 = "77603dc7991c3022b4527eb198ba7fc62d55a3dad23dde60c61b9f5f73f3ad63"


def numbered_student() -> student.Student:
    """A student whose weights depend on no random numbers of torch."""
    made, random = student.Student(), np.random.default_rng(0)
    for tensor in made.state_dict().values():
        if tensor.is_floating_point():
            numbers = random.uniform(0.5, 1.5, tensor.shape)  # no variance may be negative
            tensor.copy_(torch.from_numpy(numbers.astype(np.float32)))
    return made


def test_same_weights_are_exported_as_the_same_bytes():
    """The hash changes only if the graph does, and then the shipped backbone should be exported again."""
    average = {f"student.{name}": tensor for name, tensor in numbered_student().state_dict().items()}
    model = export.build_onnx(export.fold_student(export.load_student({"average": average})), 64)
    digest = hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()
    assert digest == SHA256


def test_every_tensor_of_a_step_is_on_the_device():
    """The device "meta" computes nothing, but refuses to mix with another, as a GPU would."""
    device, draw = torch.device("meta"), torch.Generator().manual_seed(0)
    crops = views.random_views(4, 0.3, draw).to(device)
    pixels = views.jitter(views.crop(np.zeros((4, 48, 48, 3), np.uint8), crops, 32), 0.25, draw)
    target = views.region_mean(np.zeros((4, 9, 8), np.float16), crops)
    predicted = student.Distiller(8).to(device)(pixels)
    loss = losses.distillation_loss(predicted, [target], [torch.empty(9, 5, device=device)])
    assert {tensor.device.type for tensor in (pixels, target, predicted, loss)} == {"meta"}


def test_narrower_student_begins_with_the_strongest_channels():
    random = torch.Generator().manual_seed(0)
    weights = {
        "block_1_first_weight": torch.randn(6, 3, 3, 3, generator=random),
        "block_1_first_bias": torch.arange(6.0),
        "block_1_second_weight": torch.randn(5, 6, 3, 3, generator=random),
    }
    weights["block_1_first_weight"][[0, 4]] *= 100
    weights["block_1_second_weight"][:, 2] *= 1000
    warm_start.prune_channels(weights, "block_1", 3)
    assert weights["block_1_first_bias"].tolist() == [0, 2, 4]
    assert weights["block_1_second_weight"].shape == (5, 3, 3, 3)


def test_deadline_clock_ends_at_its_deadline_and_moves_it_on_request(tmp_path):
    clock = pace.DeadlineClock(time.time() + 1000, tmp_path / "anneal", soon=0)
    clock.advance(1, seconds=2)
    assert clock.progress == pytest.approx(2 / 1002, rel=1e-2)
    (tmp_path / "anneal").touch()
    clock.advance(2, seconds=2)
    assert clock.progress == 1
    assert not (tmp_path / "anneal").exists()


def test_stopped_process_loses_no_schedule():
    clock = pace.DeadlineClock(time.time() + 1000, longest=3)
    clock.advance(1, seconds=900)
    assert clock.progress == pytest.approx(3 / 1003, rel=1e-2)
