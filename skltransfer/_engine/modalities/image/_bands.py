"""Large pictures: turned upright, converted to RGB and scaled a part at a time, beside the one decoded copy."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from skltransfer._engine.modalities.image._geometry import ORIENTATIONS, Box
from skltransfer._engine.modalities.image._orientation import methods

if TYPE_CHECKING:
    from PIL import Image

#: Pixels converted at a time: 4 MB as RGB, which Pillow keeps in four bytes; more no longer fit the processor's cache.
BAND = 1_000_000
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
        self._is_rgb = image.mode == "RGB" and "transparency" not in image.info
        self.size = (image.height, image.width) if self._exchanged else image.size

    def resize(self, size: tuple[int, int], filter_: Image.Resampling, box: Box | None = None) -> Image.Image:
        """Scale the picture, or a box of it, as Pillow does; a pixel in some hundreds differs by one level of gray.

        ``nearest`` may take the neighbor of a pixel that lies just between two.

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
        if self._is_rgb and self._orientation == 1 and size[0] <= self.size[0]:
            return self._image.resize(size, filter_, box=box)  # Pillow's intermediate result is no larger
        corners = self._stored(box or (0, 0, *self.size))
        spans, lengths = (corners[::2], corners[1::2]), size[::-1] if self._exchanged else size
        scales = [(high - low) / length for (low, high), length in zip(spans, lengths, strict=True)]
        axis = 0 if scales[0] >= scales[1] else 1
        other = _used(spans[1 - axis], scales[1 - axis], self._image.size[1 - axis], SUPPORT[filter_.name])
        part = self._shrink(axis, lengths[axis], spans[axis], other, filter_)
        low, high = (place - other[0] for place in spans[1 - axis])
        scaled = part.resize(lengths, filter_, box=_box(1 - axis, (low, high), (0, lengths[axis])))
        method = methods()[self._orientation]
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

    def _shrink(
        self,
        axis: int,
        length: int,
        span: tuple[float, float],
        other: tuple[int, int],
        filter_: Image.Resampling,
    ) -> Image.Image:
        """Scale one axis (0: x) of the stored picture, a few outputs at a time.

        Parameters
        ----------
        axis : int
            The axis.
        length : int
            Pixels of the result along it.
        span : (float, float)
            Part of the axis that is scaled.
        other : (int, int)
            Part of the other axis that is kept.
        filter_ : PIL.Image.Resampling
            How it is scaled.
        """
        from PIL import Image

        if self._is_rgb:  # needs no copy
            size = _along(axis, length, other[1] - other[0])
            return self._image.resize(size, filter_, box=_box(axis, span, other))
        out = Image.new("RGB", _along(axis, length, other[1] - other[0]))
        for outputs, lines in self._parts(axis, length, (span[1] - span[0]) / length, other):
            scale, whole = (span[1] - span[0]) / length, self._image.size[axis]
            first, last = span[0] + outputs[0] * scale, min(span[0] + outputs[1] * scale, whole)
            used = _used((first, last), scale, whole, SUPPORT[filter_.name])
            piece = self._convert(self._image.crop(_box(axis, used, lines)))
            inside = _box(axis, (first - used[0], last - used[0]), (0, lines[1] - lines[0]))
            shrunken = _along(axis, outputs[1] - outputs[0], lines[1] - lines[0])
            out.paste(piece.resize(shrunken, filter_, box=inside), _along(axis, outputs[0], lines[0] - other[0]))
        return out

    def _parts(
        self, axis: int, length: int, scale: float, other: tuple[int, int]
    ) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
        """Yield outputs along an axis and lines across it that are made at a time: all outputs, unless one is long."""
        lines = min(other[1] - other[0], max(1, BAND // self._image.size[axis]))
        step = length if lines * self._image.size[axis] <= BAND else max(1, int(BAND / scale))
        for line in range(other[0], other[1], lines):
            for start in range(0, length, step):
                yield (start, min(start + step, length)), (line, min(line + lines, other[1]))


def _used(span: tuple[float, float], scale: float, size: int, support: float) -> tuple[int, int]:
    """Return the pixels that a span is made of when it is scaled: the filter looks beyond its ends."""
    margin = math.ceil(support * max(scale, 1)) + 1
    return max(0, int(span[0]) - margin), min(size, math.ceil(span[1]) + margin)


def _along(axis: int, length: int, other: int) -> tuple[int, int]:
    """Return (x, y) of a length along an axis and one along the other."""
    return (length, other) if axis == 0 else (other, length)


def _box(axis: int, span: tuple[float, float], other: tuple[float, float]) -> Any:
    """Return the box of a span along an axis and one along the other."""
    return (span[0], other[0], span[1], other[1]) if axis == 0 else (other[0], span[0], other[1], span[1])
