"""Images of folders and archives as squares of pixels: one array on disk."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.lib.format import open_memmap
from PIL import Image

IMAGE_SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".webp"}


def iterate_images(sources: Sequence[Path]) -> Iterator[Image.Image]:
    """Yield the RGB images of folders (recursively) and zip archives, in sorted order."""
    for source in sources:
        for suffix, stream in folder_files(source) if source.is_dir() else archive_files(source):
            if suffix.lower() in IMAGE_SUFFIXES:
                yield Image.open(stream).convert("RGB")


def folder_files(folder: Path) -> Iterator[tuple[str, BinaryIO]]:
    """Yield the suffix and the content of each file below a folder."""
    for path in sorted(folder.rglob("*.*")):
        yield path.suffix, io.BytesIO(path.read_bytes())


def archive_files(path: Path) -> Iterator[tuple[str, BinaryIO]]:
    """Yield the suffix and the content of each file of a zip archive."""
    with zipfile.ZipFile(path) as archive:
        for name in sorted(archive.namelist()):
            yield Path(name).suffix, io.BytesIO(archive.read(name))


def square_boxes(width: int, height: int, tolerance: float = 1.15) -> list[tuple[int, ...]]:
    """Return the boxes of the squares that are cut from an image, whose proportions stay.

    A nearly square image has one, its centre; any other has two, at its ends.
    """
    side = min(width, height)
    slack_x, slack_y = width - side, height - side
    corners = [(0, 0), (slack_x, slack_y)]
    if max(width, height) <= tolerance * side:
        corners = [(slack_x // 2, slack_y // 2)]
    return [(x, y, x + side, y + side) for x, y in corners]


def cache_images(sources: Sequence[Path], side: int, path: Path) -> np.ndarray:
    """Write the squares of all images as one uint8 array (n, side, side, 3), RGB, and return it."""
    squares = [
        np.asarray(image.resize((side, side), Image.Resampling.BICUBIC, box=box))
        for image in iterate_images(sources)
        for box in square_boxes(*image.size)
    ]
    array = open_memmap(path, "w+", np.uint8, (len(squares), side, side, 3))
    for row, square in enumerate(squares):
        array[row] = square
    array.flush()
    return array
