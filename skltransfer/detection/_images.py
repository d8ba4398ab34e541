"""Images at the scales of a pyramid: read once, scaled by the longer side, padded, perhaps mirrored."""

from __future__ import annotations

import dataclasses
import io
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from skltransfer._engine.modalities import image
from skltransfer.cards import ImageSpec
from skltransfer.detection._backbone import MULTIPLE
from skltransfer.errors import Failure, SampleError, Unreadable

Placement = image.Placement

#: An input that every image fits, to ask for its orientation.
SMALL = ImageSpec(size=(MULTIPLE, MULTIPLE), resize="squash", mean=(0.0,) * 3, std=(1.0,) * 3)


class Picture(NamedTuple):
    """An image that has been read, not decoded.

    Attributes
    ----------
    number : int
        Position in X.
    source : Source
        File or pixels; None once it is not needed.
    size : (int, int)
        Width and height, upright.
    """

    number: int
    source: image.Source | None
    size: tuple[int, int]

    @property
    def path(self) -> str | None:
        """The file, if it is one."""
        return None if self.source is None else image.path_of(self.source)

    def error(self, reason: object) -> SampleError:
        """Return the error that names the image."""
        return SampleError(Failure(self.number, self.path, str(reason)))


def read(index: int, sample: Any) -> Picture:
    """Read an image and its size.

    Raises
    ------
    SampleError
        If it cannot be read; the message names it.
    """
    try:
        source = image.read(sample)
        return Picture(index, source, _size(source))
    except Unreadable as err:
        raise SampleError(Failure(index, image.path_of(sample), str(err))) from err


def size_of(sample: Any) -> tuple[int, int]:
    """Return width and height of an upright image, from the head of its file.

    Raises
    ------
    SampleError
        If it cannot be read.
    """
    try:
        source = sample if isinstance(sample, image.Source) else image.read(sample)
        return _size(source)
    except Unreadable as err:
        raise SampleError(Failure(0, image.path_of(sample), str(err))) from err


def _size(source: image.Source) -> tuple[int, int]:
    if isinstance(source.data, np.ndarray):
        return source.data.shape[1], source.data.shape[0]
    from PIL import Image

    try:
        with Image.open(io.BytesIO(source.data), formats=tuple(image.FORMATS)) as opened:
            return image.placement_of(opened, SMALL).original
    except Exception as err:
        image.prepare(source, SMALL)  # says what is wrong with the file
        raise Unreadable(f"its size cannot be read ({type(err).__name__})") from err


def placement(size: tuple[int, int], longer: int) -> Placement:
    """Compute where an image lies in the input: at the left upper corner, its longer side scaled to a length.

    Parameters
    ----------
    size : (int, int)
        Width and height of the image.
    longer : int
        Pixels of its longer side in the input.
    """
    scaled = _scaled(size, longer)
    padded = tuple(-(-length // MULTIPLE) * MULTIPLE for length in scaled)
    scale = (size[0] / scaled[0], size[1] / scaled[1])
    return Placement(scale, (0.0, 0.0), (padded[0], padded[1]), size)


def _scaled(size: tuple[int, int], longer: int) -> tuple[int, int]:
    return max(1, round(size[0] * longer / max(size))), max(1, round(size[1] * longer / max(size)))


def pixels(picture: Picture, longer: int, spec: ImageSpec, *, mirrored: bool) -> npt.NDArray[np.uint8]:
    """Decode an image to the input of the graph, (height, width, 3).

    Raises
    ------
    SampleError
        If it cannot be decoded.
    """
    assert picture.source is not None
    width, height = _scaled(picture.size, longer)
    try:
        seen = image.prepare(picture.source, dataclasses.replace(spec, size=(height, width), resize="squash"))
    except Unreadable as err:
        raise picture.error(err) from err
    across, down = placement(picture.size, longer).size
    # The mean of the training images becomes 0, which is what convolutions pad with.
    mean = np.round(255 * np.broadcast_to(spec.mean, 3) / spec.range).clip(0, 255)
    padded = np.empty((down, across, 3), np.uint8)
    padded[:] = mean[::-1] if spec.color == "BGR" else mean
    padded[:height, :width] = seen[:, ::-1] if mirrored else seen
    return padded
