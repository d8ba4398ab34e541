"""Synthetic images, the same on every machine: to calibrate, compare and measure with."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from skltransfer.datasets import load_emoji

#: Sizes (width, height) of pictures that two models are compared on.
COMPARED = [(300 + 23 * i, 500 - 11 * i) for i in range(16)]
#: Emoji that are added to them: flat colors and outlines, which the pictures have not.
DRAWINGS = 32
#: Sizes (width, height) that cameras and shops make of photographs: what is timed.
MEASURED = [(640, 480), (480, 640), (1024, 768), (500, 500)] * 16


def pictures(sizes: Sequence[tuple[int, int]], *, seed: int = 0) -> list[Any]:
    """Draw images with edges, gradients and noise.

    Parameters
    ----------
    sizes : sequence of (int, int)
        Width and height of each, in pixels.
    seed : int
        Chooses the noise.

    Returns
    -------
    list of PIL.Image.Image
    """
    from PIL import Image

    drawn, random = [], np.random.default_rng(seed)
    for width, height in sizes:
        y, x = np.mgrid[:height, :width]
        smooth = np.stack([255 * x / width, 255 * y / height, 127 + 120 * np.sin(x / 9 + y / 17)], axis=-1)
        edges = 60.0 * ((x // 21 + y // 13) % 2)[..., None]
        noise = random.normal(scale=12, size=(height, width, 3))
        drawn.append(Image.fromarray(np.clip(smooth + edges - 30 + noise, 0, 255).astype(np.uint8)))
    return drawn


def photographs(sizes: Sequence[tuple[int, int]]) -> list[bytes]:
    """Encode `pictures` as JPEG files, as large and as slow to decode as photographs.

    Parameters
    ----------
    sizes : sequence of (int, int)
        Width and height of each, in pixels.

    Returns
    -------
    list of bytes
    """
    files = []
    for image in pictures(sizes):
        file = io.BytesIO()
        image.save(file, "JPEG", quality=88)
        files.append(file.getvalue())
    return files


def drawings(count: int) -> list[bytes]:
    """Return evenly spaced emoji as encoded images.

    Parameters
    ----------
    count : int
        How many.
    """
    emoji: Any = load_emoji()
    return list(emoji.images[:: len(emoji.images) // count][:count])


def synthetic(purpose: str) -> list[Any]:
    """Return samples to ``"compare"`` two models on, or to ``"measure"`` one with."""
    return photographs(MEASURED) if purpose == "measure" else [*pictures(COMPARED), *drawings(DRAWINGS)]
