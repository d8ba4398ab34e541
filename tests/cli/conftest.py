"""Fixtures of the tests of the command line."""

import shutil

import numpy as np
import pytest
from PIL import Image

from skltransfer import cli, testing
from tests.cli.support import SAID


@pytest.fixture(scope="module")
def baked(tmp_path_factory):
    """Two graphs of images with cards that `models card` wrote: each takes a child process, so once for all tests."""
    folder = tmp_path_factory.mktemp("baked")
    free = testing.save_backbone(testing.image_backbone(side="side"), folder, "free", pin=False)
    plain = testing.save_backbone(testing.image_backbone(), folder, pin=False)
    assert cli.main(["models", "card", str(free), *SAID]) == 0
    assert cli.main(["models", "card", str(plain), "--preset", "raw", "--resize", "squash"]) == 0
    return folder


@pytest.fixture
def model(baked, tmp_path):
    """A graph of images with its card, golden rows included."""
    return shutil.copytree(baked, tmp_path / "models") / "tiny.onnx"


@pytest.fixture
def photos(tmp_path):
    folder, rng = tmp_path / "photos", np.random.default_rng(0)
    for name, low in {"bright": 150, "dark": 0}.items():
        (folder / name).mkdir(parents=True)
        for i in range(5):
            Image.fromarray(rng.integers(low, low + 100, (8, 8, 3), np.uint8)).save(folder / name / f"{i}.png")
    return folder
