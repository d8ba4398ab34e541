"""What the tests of `convert` share."""

import importlib.util
import os

import numpy as np
import pytest

from skltransfer import PretrainedEmbedder
from skltransfer._engine.modalities import image
from skltransfer.convert import TOLERANCE
from tests.convert.torch_extras import torchvision_beside_any_torch

NEEDED = ("torch", "onnxscript", "timm", "torchvision", "transformers")
missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
MARKS = [
    pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}"),
    pytest.mark.filterwarnings("ignore"),  # torch and its libraries warn about themselves, more in every version
]
#: Nothing is ever fetched; must be set before huggingface_hub is imported.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
torchvision_beside_any_torch()
#: Other images than those the conversion itself compares.
PHOTOS = image.pictures(((320, 241), (77, 200), (500, 499)))


def assert_agree(rows: np.ndarray, want: np.ndarray) -> None:
    assert np.abs(rows - want).max() <= TOLERANCE * np.abs(want).max()
    assert np.ptp(want, axis=0).max() > 0


def embed(folder) -> np.ndarray:
    return PretrainedEmbedder(str(folder), cache=None).fit_transform(PHOTOS)


def inferred(model, batches):
    """Run a model on each of several batches of one."""
    import torch

    with torch.inference_mode():
        return np.concatenate([model(batch).numpy() for batch in batches])
