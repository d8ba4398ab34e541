"""Large pictures: turned upright, converted to RGB and scaled a part at a time, beside the one decoded copy."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from skltransfer._engine.modalities.image._geometry import ORIENTATIONS, Box

if TYPE_CHECKING:
    from PIL import Image

#: Pixels converted at a time: 16 MB as RGB, which Pillow keeps in four bytes.
BAND = 4_000_000
#: Pixels that an output pixel is made of to either side, at full size, by the filter.
SUPPORT = {"NEAREST": 1, "BOX": 0.5, "BILINEAR": 1, "HAMMING": 1, "BICUBIC": 2, "LANCZOS": 3}


class Bands:
    """A decoded picture that looks like its upright RGB one; has what `fit` needs of ``PIL.Image.Image``.

    Nothing of its size is copied: 49 million pixels of RGBA take 196 MB, and each copy that is avoided as much again.

    Parameters
    ----------
    image : PIL.Image.Image
        As decoded.
    orientation : int
        EXIF orientation, 1 to 8.
    convert : callable
        Converts a part of the picture to RGB.
    """

    def __init__(self, image: Image.Image, orientation: int, convert: Callable[[Image.Image], Image.Image]) -> None:
        self._image, self._orientation, self._convert = image, orientation, convert
        self._exchanged, self._against_x, self._against_y = ORIENTATIONS[orientation]
        self.size = (image.height, image.width) if self._exchanged else image.size

    def resize(self, size: tuple[int, int], filter_: Image.Resampling, box: Box | None = None) -> Image.Image:
        """Scale the picture, or a box of it, as Pillow does; a pixel in some hundreds differs by one grey level.

        The axis that shrinks most goes first, and output by output: a picture 1 x 49,000,000 scaled to a width of 224
        before its height would take 44 GB.

        Parameters
        ----------
        size : (int, int)
            Width and height of the result.
        filter_ : PIL.Image.Resampling
            How it is scaled.
        box : (float, float, float, float), optional
            Left, top, right, bottom of the part.

        Returns
        -------
        PIL.Image.Image
            RGB.
        """
        left, top, right, bottom = self._stored(box or (0, 0, *self.size))
        width, height = size[::-1] if self._exchanged else size
        if (right - left) / width >= (bottom - top) / height:
            part = self._shrink(0, width, (left, right), filter_)
            scaled = part.resize((width, height), filter_, box=(0, top, width, bottom))
        else:
            part = self._shrink(1, height, (top, bottom), filter_)
            scaled = part.resize((width, height), filter_, box=(left, 0, right, height))
        method = _methods()[self._orientation]
        return scaled if method is None else scaled.transpose(method)

    def pixels(self) -> npt.NDArray[np.uint8]:
        """Return the upright picture.

        Returns
        -------
        ndarray of shape (height, width, 3), uint8
        """
        out = np.empty((self.size[1], self.size[0], 3), np.uint8)
        stored = out[:: -1 if self._against_y else 1, :: -1 if self._against_x else 1]
        stored = stored.swapaxes(0, 1) if self._exchanged else stored
        width, height = self._image.size
        columns = min(width, BAND)
        for left in range(0, width, columns):
            for top in range(0, height, rows := max(1, BAND // columns)):
                right, bottom = min(left + columns, width), min(top + rows, height)
                stored[top:bottom, left:right] = np.asarray(self._convert(self._image.crop((left, top, right, bottom))))
        return out

    def _stored(self, box: Box) -> Box:
        """Return where a box of the upright picture lies in the stored one."""
        left, top, right, bottom = box
        if self._against_x:
            left, right = self.size[0] - right, self.size[0] - left
        if self._against_y:
            top, bottom = self.size[1] - bottom, self.size[1] - top
        return (top, left, bottom, right) if self._exchanged else (left, top, right, bottom)

    def _shrink(self, axis: int, length: int, span: tuple[float, float], filter_: Image.Resampling) -> Image.Image:
        """Scale one axis (0: x) of the stored picture, a few outputs at a time.

        Parameters
        ----------
        axis : int
            The axis.
        length : int
            Pixels of the result along it.
        span : (float, float)
            Part of the axis that is scaled.
        filter_ : PIL.Image.Resampling
            How it is scaled.
        """
        from PIL import Image

        other = self._image.size[1 - axis]
        out = Image.new("RGB", _along(axis, length, other))
        for start, stop, low, high, inside in _pieces(self._image.size, axis, length, span, SUPPORT[filter_.name]):
            piece = self._convert(self._image.crop(_box(axis, low, high, other)))
            out.paste(
                piece.resize(_along(axis, stop - start, other), filter_, box=_box(axis, *inside, other)),
                _along(axis, start, 0),
            )
        return out


def _pieces(
    size: tuple[int, int], axis: int, length: int, span: tuple[float, float], support: float
) -> Iterator[tuple[int, int, int, int, tuple[float, float]]]:
    """Yield outputs from and to, the pixels along the axis they are made of, and their span within those."""
    scale = (span[1] - span[0]) / length
    margin = math.ceil(support * max(scale, 1)) + 1
    step = max(1, int(BAND / (scale * size[1 - axis])))
    for start in range(0, length, step):
        stop = min(start + step, length)
        first, last = span[0] + start * scale, min(span[0] + stop * scale, size[axis])
        low, high = max(0, int(first) - margin), min(size[axis], math.ceil(last) + margin)
        yield start, stop, low, high, (first - low, last - low)


def _along(axis: int, length: int, other: int) -> tuple[int, int]:
    """Return (x, y) of a length along an axis and one along the other."""
    return (length, other) if axis == 0 else (other, length)


def _box(axis: int, low: float, high: float, other: int) -> Any:
    """Return the box from low to high along an axis, and all of the other."""
    return (low, 0, high, other) if axis == 0 else (0, low, other, high)


def _methods() -> dict[int, Any]:
    """Return how Pillow turns a picture upright, by its EXIF orientation; None: it is."""
    from PIL.Image import Transpose as T

    return {
        1: None,
        2: T.FLIP_LEFT_RIGHT,
        3: T.ROTATE_180,
        4: T.FLIP_TOP_BOTTOM,
        5: T.TRANSPOSE,
        6: T.ROTATE_270,
        7: T.TRANSVERSE,
        8: T.ROTATE_90,
    }
