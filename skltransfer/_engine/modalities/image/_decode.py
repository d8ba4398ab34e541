"""Decoding: an encoded image to upright 8-bit RGB, bounded in pixels, without a guess about bits or alpha."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from skltransfer._engine import process
from skltransfer._engine.modalities.image._bands import Bands
from skltransfer._engine.modalities.image._depth import (
    Depth,
    depth_of,
    note_unused_bits,
    refuse_unknown_range,
    to_8_bit,
)
from skltransfer._engine.modalities.image._described import describe
from skltransfer._engine.modalities.image._formats import FORMATS, begins_like, looks_like
from skltransfer._engine.modalities.image._geometry import Picture
from skltransfer._engine.modalities.image._orientation import methods, orientation, prepare_turning
from skltransfer.errors import InputWarning, Unreadable, shorten, warn

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
    note: Callable[[int], object] = lambda bits: None,
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
    note : callable
        Takes the number of bits that the largest value needs, where it is a usual one below the 16 of the file.

    Raises
    ------
    Unreadable
        If it cannot be decoded; the reason describes the file.
    """
    from PIL import UnidentifiedImageError

    _notice_truncation_allowed()
    try:
        return _decode(data, max_pixels, finish, draft, hurried, note)
    except Unreadable:
        raise
    except UnidentifiedImageError as err:
        raise Unreadable(_unidentified(data)) from err
    except Exception as err:  # decoders throw OSError, ValueError, SyntaxError, struct.error, ...
        said = f"{type(err).__name__}: {shorten(str(err))}"
        raise Unreadable(f"cannot be decoded ({said}); {looks_like(data)}") from err


def _unidentified(data: bytes) -> str:
    """Return the reason why Pillow does not know a file."""
    kind = begins_like(data)
    if kind == "TIFF" and (described := describe(data)) is not None:
        return described
    return looks_like(data).removeprefix("it ") if kind else f"is no {', '.join(FORMATS)} file; {looks_like(data)}"


def _decode(
    data: bytes,
    max_pixels: int,
    finish: Callable[[Picture], T],
    draft: Callable[[tuple[int, int]], tuple[int, int]] | None,
    hurried: bool,
    note: Callable[[int], object],
) -> T:
    from PIL import Image

    file = Timed(data)
    with Image.open(file, formats=tuple(FORMATS)) as image:
        pixels = image.width * image.height
        if pixels > max_pixels:
            raise Unreadable(
                f"has {image.width} x {image.height} pixels, more than the card's max_pixels={max_pixels:,}; to allow "
                f"it: load_card(model, max_pixels={pixels:_})"
            )
        if image.height > MOST_ROWS:
            raise Unreadable(
                f"has {image.height:,} rows, more than the {MOST_ROWS:,} that are decoded; cut it, or store it turned"
            )
        if not hurried:
            file.seconds += pixels / 1e6 * (OF_PNG if image.format == "PNG" else SECONDS_A_MEGAPIXEL)
        if draft is not None:
            image.draft("RGB", draft(image.size))
        prepare_turning(image, data)
        if pixels < LARGE:
            return finish(to_rgb(image, note))
        with _one_large_at_a_time:
            return finish(in_bands(image, note))


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


def to_rgb(image: Image.Image, note: Callable[[int], object] = lambda bits: None) -> Image.Image:
    """Convert a picture to upright 8-bit RGB: transparent parts on white, the first frame of an animation."""
    depth = _loaded(image, note)
    method = methods()[orientation(image)]
    return _colors(image if method is None else image.transpose(method), depth)


def in_bands(image: Image.Image, note: Callable[[int], object] = lambda bits: None) -> Bands:
    """Return a large picture as upright 8-bit RGB that is made a part at a time."""
    depth = _loaded(image, note)
    return Bands(image, orientation(image), partial(_colors, depth=depth))


def _loaded(image: Image.Image, note: Callable[[int], object]) -> Depth:
    """Load a picture whose pixels can be scaled to 8 bits, and return its depth."""
    depth = depth_of(image)
    refuse_unknown_range(image, depth)
    image.load()
    note_unused_bits(image, depth, note)
    return depth


def _colors(image: Image.Image, depth: Depth) -> Image.Image:
    """Convert colors to 8-bit RGB, each pixel by itself."""
    from PIL import Image

    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I;16"):
        return Image.fromarray(to_8_bit(image, depth)).convert("RGB")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        white.alpha_composite(image.convert("RGBA"))
        image = white
    return image.convert("RGB")


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
