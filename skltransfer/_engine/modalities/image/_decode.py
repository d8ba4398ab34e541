"""Decoding: an encoded image to upright 8-bit RGB, bounded in pixels, without a guess about bits or alpha."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from skltransfer._engine import process
from skltransfer._engine.modalities.image._formats import FORMATS, begins_like, looks_like
from skltransfer.errors import InputWarning, Unreadable, warn

if TYPE_CHECKING:
    from PIL import Image

T = TypeVar("T")

#: Images above this number of pixels are decoded one at a time, so that many threads do not add up.
LARGE = 8_000_000
_one_large_at_a_time = process.lock()


def decode(
    data: bytes,
    *,
    max_pixels: int,
    finish: Callable[[Image.Image], T],
    draft: Callable[[tuple[int, int]], tuple[int, int]] | None = None,
) -> T:
    """Decode an image file and hand the upright RGB picture to `finish`.

    Parameters
    ----------
    data : bytes
        The file.
    max_pixels : int
        Larger images are refused before they are decoded.
    finish : callable
        Takes the picture; large ones are decoded and finished one at a time.
    draft : callable, optional
        Maps the size (width, height) to the one below which a JPEG decoder must not scale down; None: full size.

    Raises
    ------
    Unreadable
        If it cannot be decoded; the reason describes the file.
    """
    from PIL import UnidentifiedImageError

    _notice_truncation_allowed()
    try:
        return _decode(data, max_pixels, finish, draft)
    except Unreadable:
        raise
    except UnidentifiedImageError as err:
        kind = begins_like(data)
        reason = (
            looks_like(data).removeprefix("it ") if kind else f"is no {', '.join(FORMATS)} file; {looks_like(data)}"
        )
        raise Unreadable(reason) from err
    except Exception as err:  # decoders throw OSError, ValueError, SyntaxError, struct.error, ...
        raise Unreadable(f"cannot be decoded ({type(err).__name__}: {err}); {looks_like(data)}") from err


def _decode(
    data: bytes,
    max_pixels: int,
    finish: Callable[[Image.Image], T],
    draft: Callable[[tuple[int, int]], tuple[int, int]] | None,
) -> T:
    from PIL import Image

    with Image.open(io.BytesIO(data), formats=tuple(FORMATS)) as image:
        pixels = image.width * image.height
        if pixels > max_pixels:
            raise Unreadable(
                f"has {image.width} x {image.height} pixels, more than the card's max_pixels={max_pixels:,}"
            )
        if draft is not None:
            image.draft("RGB", draft(image.size))
        if pixels < LARGE:
            return finish(to_rgb(image))
        with _one_large_at_a_time:
            return finish(to_rgb(image))


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert a picture to upright 8-bit RGB: transparent parts on white, the first frame of an animation."""
    from PIL import Image, ImageOps

    if image.format != "JPEG" or "exif" in image.info:  # a JPEG without EXIF data has no orientation to look for
        image = ImageOps.exif_transpose(image)
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode in ("I", "F"):
        kind = "32-bit" if image.mode == "I" else "floating-point"
        raise Unreadable(f"holds {kind} pixels, whose range is not known; save it with 8 or 16 bits")
    if image.mode.startswith("I;16"):
        return Image.fromarray(_to_8_bit(image)).convert("RGB")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        white.alpha_composite(image.convert("RGBA"))
        image = white
    return image.convert("RGB")


def _to_8_bit(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Scale 16-bit gray to 8 bits; Pillow would clip it to white."""
    return (np.asarray(image).astype(np.uint32) * 255 // 65535).astype(np.uint8)


@process.memo(1)
def _warn_truncation_allowed() -> None:
    warn(
        InputWarning(
            "PIL.ImageFile.LOAD_TRUNCATED_IMAGES is set: cut files are read as pictures that are half gray, not as "
            "errors."
        )
    )


def _notice_truncation_allowed() -> None:
    from PIL import ImageFile

    if ImageFile.LOAD_TRUNCATED_IMAGES:
        _warn_truncation_allowed()
