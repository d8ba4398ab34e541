"""Pipelines that take a moment to fit: a tiny backbone, images of plain colors, and a case for other runtimes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from skltransfer import PretrainedEmbedder, testing
from skltransfer.export import to_onnx

#: Images to train on, and to compare with.
TRAIN, TEST = 120, 210
NAMES = np.array(["red", "green", "blue"])


def backbone(folder: Path) -> PretrainedEmbedder:
    """Return an embedder whose rows are the means of three colors, and their sum."""
    return PretrainedEmbedder(testing.save_backbone(testing.image_backbone(), folder, layer="embedding"))


def images(count: int, seed: int = 0) -> tuple[list[np.ndarray], np.ndarray]:
    """Return images of noise around a color, and the index of its strongest channel."""
    rng = np.random.default_rng(seed)
    colors = rng.integers(60, 190, (count, 1, 1, 3))
    pixels = np.clip(colors + rng.integers(-40, 40, (count, 8, 8, 3)), 0, 255).astype(np.uint8)
    return list(pixels), colors.reshape(count, 3).argmax(axis=1)


def train() -> tuple[list[np.ndarray], np.ndarray]:
    """Return images to train on, and the names of their colors."""
    X, y = images(TRAIN)
    return X, NAMES[y]


def test() -> list[np.ndarray]:
    """Return images to compare with."""
    return images(TEST, seed=1)[0]


def case(path: Path, feeds: dict[str, np.ndarray], rows: int = 8) -> Path:
    """Write the inputs of some rows and what this ONNX Runtime computes of them, for another one to compare with."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    feeds = {name: values[:rows] for name, values in feeds.items()}
    names = [one.name for one in session.get_outputs()]
    found = dict(zip(names, session.run(None, feeds), strict=True))
    described = {
        name: {
            "dtype": "str" if values.dtype.kind in "OU" else str(values.dtype),
            "shape": values.shape,
            "data": values.ravel().tolist(),
        }
        for name, values in feeds.items()
    }
    written = path.with_suffix(".case.json")
    outputs = {name: values.ravel().tolist() for name, values in found.items()}
    written.write_text(json.dumps({"feeds": described, "outputs": outputs}))
    return written


def exported(pipeline, folder: Path, name: str = "model", **choices):
    """Export a pipeline of images of colors."""
    return to_onnx(pipeline, folder / f"{name}.onnx", samples=test(), **choices)
