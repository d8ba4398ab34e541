"""The recipe of `vision-mini`: a few steps of it, from a folder of images to a card folder; where its tensors lie."""

import importlib.util
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

torch = pytest.importorskip("torch", reason="the recipe needs torch")

RECIPE = ROOT / "models" / "recipes" / "distill_vision.py"


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


def views(folder: Path) -> int:
    return torch.load(folder / "run" / "last.pt", weights_only=True)["views"]


def test_student_is_trained_stopped_trained_on_exported_and_described(folder):
    training = train(folder, "--minutes", 5)
    while not (folder / "run" / "last.pt").exists() and training.poll() is None:
        time.sleep(0.05)
    training.terminate()
    assert training.wait(timeout=60) == 0
    before = views(folder)
    assert train(folder, "--minutes", 0.02).wait(timeout=60) == 0
    assert views(folder) > before > 0
    run("export", "--checkpoint", folder / "run" / "last.pt", "--output", folder / "student.onnx", "--size", 64)
    run("card", "--model", folder / "student.onnx", "--output", folder / "student", "--photographs", folder / "images")
    card = load_card(folder / "student")
    assert card.pinned
    assert golden.drift(card) < 1e-4
    assert card.measured.keys() == {"probe accuracy images", "CPU ms per image in the graph, one core"}
    assert PretrainedEmbedder(folder / "student").fit_transform(load_emoji().images[:2]).shape == (2, 704)


@pytest.fixture(scope="module")
def recipe():
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("distill_vision", RECIPE)
    module = importlib.util.module_from_spec(spec)
    sys.modules["distill_vision"] = module  # its dataclasses ask for it
    spec.loader.exec_module(module)
    return module


def test_every_tensor_of_a_step_is_on_the_device(recipe):
    """The device "meta" computes nothing, but refuses to mix with another, as a GPU would."""
    device, draw = torch.device("meta"), torch.Generator().manual_seed(0)
    views = recipe.random_views(4, 0.3, draw).to(device)
    pixels = recipe.jitter(recipe.crop(np.zeros((4, 48, 48, 3), np.uint8), views, 32), 0.25, draw)
    target = recipe.region_mean(np.zeros((4, 9, 8), np.float16), views)
    predicted = recipe.Distiller(8).to(device)(pixels)
    loss = recipe.distillation_loss(predicted, [target], [torch.empty(9, 5, device=device)])
    assert {tensor.device.type for tensor in (pixels, target, predicted, loss)} == {"meta"}


def test_narrower_student_begins_with_the_strongest_channels(recipe):
    random = torch.Generator().manual_seed(0)
    weights = {
        "block_1_first_weight": torch.randn(6, 3, 3, 3, generator=random),
        "block_1_first_bias": torch.arange(6.0),
        "block_1_second_weight": torch.randn(5, 6, 3, 3, generator=random),
    }
    weights["block_1_first_weight"][[0, 4]] *= 100
    weights["block_1_second_weight"][:, 2] *= 1000
    recipe.narrow(weights, "block_1", 3)
    assert weights["block_1_first_bias"].tolist() == [0, 2, 4]
    assert weights["block_1_second_weight"].shape == (5, 3, 3, 3)
