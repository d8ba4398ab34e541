"""Decoding: an encoded image to upright 8-bit RGB, bounded in pixels, without a guess about bits or alpha."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from skltransfer._engine import process
from skltransfer._engine.modalities.image._bands import Bands
from skltransfer._engine.modalities.image._formats import FORMATS, begins_like, looks_like
from skltransfer._engine.modalities.image._geometry import ORIENTATION_TAG, ORIENTATIONS, Picture
from skltransfer.errors import InputWarning, Unreadable, warn

if TYPE_CHECKING:
    from PIL import Image

T = TypeVar("T")

#: Images above this number of pixels are decoded one at a time, so that many threads do not add up.
LARGE = 8_000_000
#: Processor time to decode a picture, and what each million of pixels may take on top. Measured with 12 million pixels
#: of noise: JPEG takes 0.019 s a million, progressive 0.052, WEBP 0.058; PNG 0.008, with alpha 0.022.
SECONDS = 1.5
SECONDS_A_MEGAPIXEL = 0.08
OF_PNG = 0.04
#: Pillow keeps a pointer to each row: 49 million rows of one pixel take 390 MB for them, beside 49 MB of pixels.
MOST_ROWS = 8_200_000
#: Looks at the clock: every so many reads, and before one of more bytes.
LOOKS = 256
_one_large_at_a_time = process.lock()


def decode(
    data: bytes,
    *,
    max_pixels: int,
    finish: Callable[[Picture], T],
    draft: Callable[[tuple[int, int]], tuple[int, int]] | None = None,
    hurried: bool = False,
) -> T:
    """Decode an image file and hand the upright RGB picture to `finish`.

    Parameters
    ----------
    data : bytes
        The file.
    max_pixels : int
        Larger images are refused before they are decoded.
    finish : callable
        Takes the picture; large ones are decoded and finished one at a time, and come as `Bands`.
    draft : callable, optional
        Maps the size (width, height) to the one below which a JPEG decoder must not scale down; None: full size.
    hurried : bool
        Whether it gets `SECONDS` however large it is.

    Raises
    ------
    Unreadable
        If it cannot be decoded; the reason describes the file.
    """
    from PIL import UnidentifiedImageError

    _notice_truncation_allowed()
    try:
        return _decode(data, max_pixels, finish, draft, hurried)
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
    finish: Callable[[Picture], T],
    draft: Callable[[tuple[int, int]], tuple[int, int]] | None,
    hurried: bool,
) -> T:
    from PIL import Image

    file = Timed(data)
    with Image.open(file, formats=tuple(FORMATS)) as image:
        pixels = image.width * image.height
        if pixels > max_pixels:
            raise Unreadable(
                f"has {image.width} x {image.height} pixels, more than the card's max_pixels={max_pixels:,}"
            )
        if image.height > MOST_ROWS:
            raise Unreadable(
                f"has {image.height:,} rows, more than the {MOST_ROWS:,} that are decoded; cut it, or store it turned"
            )
        if not hurried:
            file.seconds += pixels / 1e6 * (OF_PNG if image.format == "PNG" else SECONDS_A_MEGAPIXEL)
        if draft is not None:
            image.draft("RGB", draft(image.size))
        if pixels < LARGE:
            return finish(to_rgb(image))
        with _one_large_at_a_time:
            return finish(in_bands(image))


class Timed(io.BytesIO):
    """A file in memory that ends the decoder which reads from it for too long.

    Decoders that read a piece at a time, which are all but those of WEBP and compressed TIFF files, come by here often.

    Parameters
    ----------
    data : bytes
        The file.

    Attributes
    ----------
    seconds : float
        Processor time of this thread from now on, after which reading raises `Unreadable`.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.seconds, self._start, self._reads = SECONDS, time.thread_time(), 0

    def read(self, size: int | None = -1, /) -> bytes:
        """Read bytes.

        Raises
        ------
        Unreadable
            If the time is over.
        """
        self._reads += 1
        if not self._reads % LOOKS or size is None or size > LOOKS:
            used = time.thread_time() - self._start
            if used > self.seconds:
                raise Unreadable(
                    f"takes longer to decode than the {self.seconds:.1f} s of processor time a picture of its size may "
                    "take; it is built or damaged, save it again"
                )
        return super().read(size)


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert a picture to upright 8-bit RGB: transparent parts on white, the first frame of an animation."""
    from PIL import ImageOps

    return _colors(ImageOps.exif_transpose(image) if _may_be_turned(image) else image)


def in_bands(image: Image.Image) -> Bands:
    """Return a large picture as upright 8-bit RGB that is made a part at a time."""
    image.load()
    found = image.getexif().get(ORIENTATION_TAG, 1) if _may_be_turned(image) else 1
    _refuse_unknown_range(image)
    return Bands(image, found if found in ORIENTATIONS else 1, _colors)


def _may_be_turned(image: Image.Image) -> bool:
    """Return whether there may be an orientation: a JPEG without EXIF data has none to look for."""
    return image.format != "JPEG" or "exif" in image.info


def _colors(image: Image.Image) -> Image.Image:
    """Convert colors to 8-bit RGB, each pixel by itself."""
    from PIL import Image

    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    _refuse_unknown_range(image)
    if image.mode.startswith("I;16"):
        return Image.fromarray(_to_8_bit(image)).convert("RGB")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        white.alpha_composite(image.convert("RGBA"))
        image = white
    return image.convert("RGB")


def _refuse_unknown_range(image: Image.Image) -> None:
    if image.mode in ("I", "F"):
        kind = "32-bit" if image.mode == "I" else "floating-point"
        raise Unreadable(f"holds {kind} pixels, whose range is not known; save it with 8 or 16 bits")


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
