"""Bits of a picture: what its file says of them, and the way from there to 8.

Nothing is guessed: a file that says 12 bits is scaled as 12, one that says 16 as 16, and where the largest value of 16
bits looks like fewer, the user is asked by a warning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from skltransfer.errors import Unreadable

if TYPE_CHECKING:
    from PIL import Image

#: Tags of TIFF files.
_BITS, _PHOTOMETRIC, _FORMAT = 258, 262, 339
#: Bits that cameras and scanners put into 16.
USUAL = (8, 10, 12)
#: Pixels looked at a time.
PART = 1_000_000
#: Modes that Pillow cannot convert to RGB.
FOREIGN = {"LAB": "CIELAB colors"}


class Depth(NamedTuple):
    """Kind of the values of a picture, as its file says.

    Attributes
    ----------
    bits : int
        Of each value.
    inverted : bool
        Whether zero is white, and Pillow leaves it so.
    signed : bool
        Whether values may be negative.
    """

    bits: int = 8
    inverted: bool = False
    signed: bool = False


def depth_of(image: Image.Image) -> Depth:
    """Return the depth of a picture, which knows it only until it is loaded."""
    tags: Any = getattr(image, "tag_v2", None)
    if tags is not None:
        bits, photometric = max(_numbers(tags.get(_BITS, 1))), tags.get(_PHOTOMETRIC, 0)
        return Depth(bits, photometric == 0 and image.mode.startswith("I;16"), 2 in _numbers(tags.get(_FORMAT, 1)))
    if image.mode.startswith("I;16") or (image.format == "PNG" and _is_reduced(image)):
        return Depth(16)
    return Depth()


def _numbers(value: Any) -> tuple[int, ...]:
    return value if isinstance(value, tuple) and value else (value,)


def _is_reduced(image: Any) -> bool:
    """Return whether Pillow will keep the upper 8 of 16 bits."""
    return any(isinstance(tile[3], str) and tile[3].endswith(";16B") for tile in image.tile)


def refuse_unknown_range(image: Image.Image, depth: Depth) -> None:
    """Refuse pixels that cannot be scaled to 8 bits without a guess.

    Raises
    ------
    Unreadable
        With their kind.
    """
    if depth.signed and depth.bits <= 16:
        raise Unreadable(f"holds signed {depth.bits}-bit pixels, whose range is not known; save it with unsigned ones")
    if image.mode in ("I", "F"):
        kind = "32-bit" if image.mode == "I" else "floating-point"
        raise Unreadable(f"holds {kind} pixels, whose range is not known; save it with 8 or 16 bits")
    if image.mode in FOREIGN:
        raise Unreadable(f"holds {FOREIGN[image.mode]}, which Pillow does not convert to RGB; save it as RGB")


def to_8_bit(image: Image.Image, depth: Depth) -> npt.NDArray[np.uint8]:
    """Scale gray of 9 to 16 bits to 8; Pillow would clip it to white."""
    top = 2**depth.bits - 1 if 8 < depth.bits < 16 else 65535
    values = np.asarray(image).astype(np.uint32)
    return ((top - values if depth.inverted else values) * 255 // top).astype(np.uint8)


def note_unused_bits(image: Image.Image, depth: Depth, note: Callable[[int], object]) -> None:
    """Note how many bits the largest value of a loaded picture of 16 bits needs, if they are a usual number below 16.

    Parameters
    ----------
    image : PIL.Image.Image
        Gray of 16 bits, or colors of which Pillow has kept the upper 8.
    depth : Depth
        Of its file.
    note : callable
        Takes the number of bits.
    """
    if depth.bits != 16 or image.mode == "CMYK":  # where few bits are white
        return
    gray = image.mode.startswith("I;16")
    needed = _largest(image).bit_length() + (0 if gray else 8)
    if (0 if gray else 8) < needed <= USUAL[-1]:
        note(next(bits for bits in USUAL if needed <= bits))


def _largest(image: Image.Image) -> int:
    """Return the largest value of a picture, its transparency left out."""
    colors = len(image.getbands()) - (image.getbands()[-1] in "Aa")
    return max(int(np.asarray(part).reshape(*part.size[::-1], -1)[..., :colors].max()) for part in _parts(image))


def _parts(image: Image.Image) -> Iterator[Image.Image]:
    """Yield a picture in parts that take little memory."""
    columns = min(image.width, PART)
    for left in range(0, image.width, columns):
        for top in range(0, image.height, rows := max(1, PART // columns)):
            yield image.crop((left, top, min(left + columns, image.width), min(top + rows, image.height)))
