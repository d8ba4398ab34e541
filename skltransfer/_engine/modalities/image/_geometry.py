"""Geometry: decoded picture to the size of the graph's input, and back from a place there to the original."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from skltransfer._engine.modalities.image._orientation import orientation as orientation_of
from skltransfer.cards import ImageSpec

if TYPE_CHECKING:
    from PIL import Image

Pixels = npt.NDArray[np.uint8]
Box = tuple[float, float, float, float]

#: Images longer than this many times their width are cropped inside the scaling, whatever the spec: 30,000 x 2 pixels
#: scaled to a shorter side of 256 would take 3 GB.
LONGEST = 8

#: What is done to the length of the longer side, and to the place of the crop, in pixels.
ROUNDINGS: dict[str, tuple[Callable[[float], int], Callable[[float], int]]] = {
    "nearest": (round, int),
    "torchvision": (int, round),
    "transformers": (int, int),
}


class Picture(Protocol):
    """An upright RGB picture, as far as scaling needs it: a ``PIL.Image.Image``, or a large one in parts."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""

    def resize(self, size: tuple[int, int], filter_: Image.Resampling, box: Box | None = None) -> Image.Image:
        """Scale the picture, or a box of it."""


class _Crop(NamedTuple):
    """Size (width, height) a picture is scaled to, and the left upper corner of the crop."""

    scaled: tuple[int, int]
    corner: tuple[int, int]


def _crop(size: tuple[int, int], spec: ImageSpec) -> _Crop:
    """Compute scaling and crop of an upright picture (width, height)."""
    wanted = spec.size[1], spec.size[0]
    if spec.resize == "squash":
        return _Crop(wanted, (0, 0))
    longer, middle = ROUNDINGS[spec.rounding]
    scaled = [max(crop, longer(spec.resize_to * n / min(size))) for n, crop in zip(size, wanted, strict=True)]
    left, top = (middle((length - crop) / 2) for length, crop in zip(scaled, wanted, strict=True))
    return _Crop((scaled[0], scaled[1]), (left, top))


def fit(image: Picture, spec: ImageSpec, left: int | None = None) -> Pixels:
    """Scale and crop an upright RGB picture.

    Parameters
    ----------
    image : Picture
        The picture.
    spec : ImageSpec
        Of the card.
    left : int, optional
        Where the crop begins in the scaled picture; by default in the middle.

    Returns
    -------
    ndarray of shape (height, width, 3), uint8
    """
    from PIL import Image

    size, filter_ = (spec.size[1], spec.size[0]), Image.Resampling[spec.interpolation.upper()]
    if spec.resize == "squash":
        return np.asarray(image.resize(size, filter_))
    scaled, (middle, top) = _crop(image.size, spec)
    left = middle if left is None else left
    if spec.draft or max(scaled) > LONGEST * spec.resize_to:
        box = _in_original((left, top, left + size[0], top + size[1]), scaled, image.size)
        return np.asarray(image.resize(size, filter_, box=box))
    whole = image.resize(scaled, filter_)
    return np.asarray(whole.crop((left, top, left + size[0], top + size[1])))


def fit_views(image: Picture, spec: ImageSpec, views: str | None, seed: bytes = b"") -> list[Pixels]:
    """Scale and crop an upright RGB picture to the views that `Recipe.views` names.

    Parameters
    ----------
    image : Picture
        The picture.
    spec : ImageSpec
        Of the card.
    views : str or None
        ``"flip"``: the picture and its mirror image.
    seed : bytes
        What random parts depend on, besides their number: the fingerprint of the sample.

    Returns
    -------
    list of ndarray of shape (height, width, 3), uint8
    """
    if views is None:
        return [fit(image, spec)]
    if views.startswith("crop"):
        return [fit_part(image, spec, seed + views.encode())]
    seen = fit(image, spec)
    return [_mirrored(image, spec, seen)] if views == "mirror" else [seen, _mirrored(image, spec, seen)]


def _mirrored(image: Picture, spec: ImageSpec, seen: Pixels) -> Pixels:
    """Scale and crop the mirror image of a picture, of which it is known what is seen."""
    if spec.resize == "squash":
        return seen[:, ::-1]
    scaled, (left, _) = _crop(image.size, spec)
    rest = scaled[0] - spec.size[1] - left  # an odd margin is cut on the other side of the mirror image
    return (seen if rest == left else fit(image, spec, rest))[:, ::-1]


#: Share of the picture that a random part has at least; smaller ones too often miss what the picture is of.
LEAST_PART = 0.5


def fit_part(image: Picture, spec: ImageSpec, seed: bytes) -> Pixels:
    """Scale a random part of a picture, of the proportions of the input, and mirror every second one.

    References
    ----------
    .. [1] Szegedy et al., "Going Deeper with Convolutions", CVPR 2015, for training on parts of random size.
    """
    from PIL import Image

    dice = np.random.default_rng(np.frombuffer(hashlib.blake2b(seed, digest_size=16).digest(), np.uint64))
    height, width = spec.size
    fitted = min(image.size[0] / width, image.size[1] / height)
    largest = image.size if spec.resize == "squash" else (width * fitted, height * fitted)
    side = math.sqrt(dice.uniform(LEAST_PART, 1))
    x, y = (dice.uniform(0, whole - side * most) for whole, most in zip(image.size, largest, strict=True))
    box = (x, y, min(image.size[0], x + side * largest[0]), min(image.size[1], y + side * largest[1]))
    part = np.asarray(image.resize((width, height), Image.Resampling[spec.interpolation.upper()], box=box))
    return part[:, ::-1] if dice.random() < 0.5 else part


def _in_original(box: Box, scaled: tuple[int, int], original: tuple[int, int]) -> Box:
    """Return the part of the original that becomes a part of the scaled image.

    Scaling that part alone computes no pixel that is thrown away. It is not the default because Pillow keeps the box in
    single precision: about one pixel in 400 comes out one gray level off, and embeddings follow by up to 2 %.
    """
    x, y = (length / size for length, size in zip(original, scaled, strict=True))
    left, top, right, bottom = box
    return left * x, top * y, min(right * x, original[0]), min(bottom * y, original[1])


def draft_size(size: tuple[int, int], spec: ImageSpec) -> tuple[int, int]:
    """Return the size (width, height) below which a JPEG decoder must not scale down."""
    if spec.resize == "squash":
        return spec.size[1], spec.size[0]
    scale = spec.resize_to / min(size)
    return round(size[0] * scale), round(size[1] * scale)


# ---------------------------------------------------------------------------------------------------------------------
# Back to the original

#: EXIF orientation to: axes are exchanged, the upright x runs against the stored axis it comes from, so does y.
ORIENTATIONS = {
    1: (False, False, False),
    2: (False, True, False),
    3: (False, True, True),
    4: (False, False, True),
    5: (True, False, False),
    6: (True, True, False),
    7: (True, True, True),
    8: (True, False, True),
}


class Placement(NamedTuple):
    """Where the graph's input lies in the upright original: ``original = offset + scale * input``, axis by axis.

    Attributes
    ----------
    scale : (float, float)
        Pixels of the original per pixel of the input, along x and y.
    offset : (float, float)
        x and y, in the original, of the left upper corner of the input.
    size : (int, int)
        Width and height of the input, in its pixels.
    original : (int, int)
        Width and height of the upright original, in its pixels.
    """

    scale: tuple[float, float]
    offset: tuple[float, float]
    size: tuple[int, int]
    original: tuple[int, int]

    def to_original(self, boxes: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Map boxes (..., 4), xyxy in pixels of the input, to pixels of the upright original."""
        return np.asarray(np.asarray(boxes, float) * np.tile(self.scale, 2) + np.tile(self.offset, 2), float)

    def to_input(self, boxes: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Map boxes (..., 4), xyxy in pixels of the upright original, to pixels of the input."""
        return np.asarray((np.asarray(boxes, float) - np.tile(self.offset, 2)) / np.tile(self.scale, 2), float)

    def cell(self, row: int, column: int, cells: tuple[int, int]) -> Box:
        """Return the box, in the original, of one cell of a feature map of ``cells`` = (rows, columns)."""
        width, height = self.size[0] / cells[1], self.size[1] / cells[0]
        box = self.to_original([column * width, row * height, (column + 1) * width, (row + 1) * height])
        return tuple(map(float, box))  # type: ignore[return-value]  # four, as `box` has


def placement(size: tuple[int, int], spec: ImageSpec, *, orientation: int = 1, jpeg: bool = False) -> Placement:
    """Compute where the input of a graph lies in the original photograph.

    Parameters
    ----------
    size : (int, int)
        Width and height of the original as it is stored, in pixels.
    spec : ImageSpec
        How it is prepared.
    orientation : int
        EXIF orientation, 1 to 8: the stored picture is turned upright by it.
    jpeg : bool
        Whether it is a JPEG file, whose decoder scales down where ``spec.draft`` allows it.

    Returns
    -------
    Placement
    """
    exchanged, against_x, against_y = ORIENTATIONS[orientation]
    shrink = _shrink(size, draft_size(size, spec)) if jpeg and spec.draft else 1
    decoded = tuple(-(-length // shrink) for length in size)
    if exchanged:
        size, decoded = (size[1], size[0]), (decoded[1], decoded[0])
    # A shrunken pixel covers `shrink` of the original, also the last one, which juts out over the edge.
    start = [
        n - shrink * m if against else 0 for n, m, against in zip(size, decoded, (against_x, against_y), strict=True)
    ]
    scaled, corner = _crop((decoded[0], decoded[1]), spec)
    scale = [shrink * n / m for n, m in zip(decoded, scaled, strict=True)]
    offset = [s + k * c for s, k, c in zip(start, scale, corner, strict=True)]
    return Placement((scale[0], scale[1]), (offset[0], offset[1]), (spec.size[1], spec.size[0]), (size[0], size[1]))


def _shrink(size: tuple[int, int], wanted: tuple[int, int]) -> int:
    """Return the factor by which a JPEG decoder scales down, as ``PIL.JpegImagePlugin.JpegImageFile.draft`` chooses."""
    most = min(size[0] // wanted[0], size[1] // wanted[1])
    return next((factor for factor in (8, 4, 2) if most >= factor), 1)


def placement_of(image: Any, spec: ImageSpec) -> Placement:
    """Compute the placement of an image that Pillow has opened, or of an array (height, width, ...).

    Parameters
    ----------
    image : PIL.Image.Image or ndarray
        An image as opened, before anything was done to it.
    spec : ImageSpec
        How it is prepared.
    """
    if isinstance(image, np.ndarray):
        return placement((image.shape[1], image.shape[0]), spec)
    return placement(image.size, spec, orientation=orientation_of(image), jpeg=image.format == "JPEG")
