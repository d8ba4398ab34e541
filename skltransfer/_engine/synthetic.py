"""Synthetic samples, the same on every machine: to calibrate, compare and measure with, if none are given."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from skltransfer.datasets import load_emoji


def images(sizes: Sequence[tuple[int, int]], *, seed: int = 0) -> list[Any]:
    """Return images with edges, gradients and noise.

    Parameters
    ----------
    sizes : sequence of (int, int)
        Width and height of each, in pixels.
    seed : int
        Seed of the noise.

    Returns
    -------
    list of PIL.Image.Image
    """
    from PIL import Image

    result, random = [], np.random.default_rng(seed)
    for width, height in sizes:
        y, x = np.mgrid[:height, :width]
        smooth = np.stack([255 * x / width, 255 * y / height, 127 + 120 * np.sin(x / 9 + y / 17)], axis=-1)
        edges = 60.0 * ((x // 21 + y // 13) % 2)[..., None]
        noise = random.normal(scale=12, size=(height, width, 3))
        result.append(Image.fromarray(np.clip(smooth + edges - 30 + noise, 0, 255).astype(np.uint8)))
    return result


def photographs(sizes: Sequence[tuple[int, int]]) -> list[bytes]:
    """Return `images` as JPEG files, as large and as slow to decode as photographs.

    Parameters
    ----------
    sizes : sequence of (int, int)
        Width and height of each, in pixels.

    Returns
    -------
    list of bytes
    """
    files = []
    for image in images(sizes):
        file = io.BytesIO()
        image.save(file, "JPEG", quality=88)
        files.append(file.getvalue())
    return files


def drawings(count: int) -> list[bytes]:
    """Return some of the emoji: encoded images with flat colors and outlines, which `images` lacks.

    Parameters
    ----------
    count : int
        Number of samples.

    Returns
    -------
    list of bytes
    """
    emoji: Any = load_emoji()
    return list(emoji.images[:: len(emoji.images) // count][:count])


def texts(count: int) -> list[str]:
    """Return texts of a few to a few hundred words, from the names and keywords of emoji.

    Parameters
    ----------
    count : int
        Number of samples.

    Returns
    -------
    list of str
    """
    emoji: Any = load_emoji()
    lines = emoji.texts
    return ["; ".join(lines[7 * i : 7 * i + 1 + i**2 % 23]) for i in range(count)]
