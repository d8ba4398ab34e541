"""Images: path, bytes, PIL image or array to the uint8 pixels a card's `ImageSpec` asks for.

The room reads and decodes; it starts no thread and knows no graph. What it refuses it refuses by name, and it never
guesses: a float array could be 0 to 1 or 0 to 255, an array (3, h, w) could be an image three pixels high.
"""

from __future__ import annotations

import functools
import hashlib
import io
import os
import stat
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from skltransfer.cards import ImageSpec
from skltransfer.errors import InputWarning, Unreadable

if TYPE_CHECKING:
    from PIL import Image

Pixels = npt.NDArray[np.uint8]

#: Formats that Pillow decodes by itself; EPS would start Ghostscript.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
#: A longer file is no photograph.
MAX_BYTES = 256 * 2**20
#: Images above this number of pixels are decoded one at a time, so that many threads do not add up.
LARGE = 8_000_000
#: Images longer than this many times their width are cropped inside the scaling, whatever the spec: 30,000 x 2 pixels
#: scaled to a shorter side of 256 would take 3 GB.
LONGEST = 8

#: What is done to the length of the longer side, and to the place of the crop, in pixels.
ROUNDINGS: dict[str, tuple[Callable[[float], int], Callable[[float], int]]] = {
    "nearest": (round, int),
    "torchvision": (int, round),
    "transformers": (int, int),
}

_one_large_at_a_time = threading.Lock()
#: One of these, by the image's identity, is held while a PIL image is decoded: the same image may be several samples,
#: and two threads that decode it at once read each other's parts of its file.
_once_at_a_time = [threading.Lock() for _ in range(64)]

#: What files that are not images often are, by their first bytes.
SIGNATURES = (
    (b"version https://git-lfs", "a Git LFS pointer; fetch the file itself with: git lfs pull"),
    (b"<!doctype", "a web page"),
    (b"<html", "a web page"),
    (b"<?xml", "XML, perhaps SVG"),
    (b"<svg", "SVG, which has no pixels"),
    (b"%!ps", "PostScript, which is a program"),
    (b"%pdf", "a PDF document"),
    (b"pk\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "gzip data"),
)


class Source(NamedTuple):
    """A sample that has been read but not decoded.

    Attributes
    ----------
    data : bytes or ndarray
        An encoded file, or pixels (height, width, 3) uint8.
    path : str or None
        Where it came from.
    state : tuple of int or None
        What changes with the content of the file, see `_state`.
    """

    data: bytes | Pixels
    path: str | None = None
    state: State | None = None

    def digest(self) -> bytes:
        """Fingerprint the content: 16 bytes, the same for the same encoded file or the same pixels.

        SHA-256, which processors of today do at twice the speed of BLAKE2 (measured: 1.7 against 0.9 GB/s).
        """
        if isinstance(self.data, bytes):
            digest = _digest(b"file", self.data)
            _remember(self.state, digest)
            return digest
        return _digest(f"pixels {self.data.shape}".encode(), np.ascontiguousarray(self.data).data)


def _digest(kind: bytes, content: bytes | memoryview) -> bytes:
    hasher = hashlib.sha256(kind)
    hasher.update(content)
    return hasher.digest()[:16]


# ---------------------------------------------------------------------------------------------------------------------
# Files that were read before

#: Device, inode, length and change time of a file, which no program can set back.
State = tuple[int, int, int, int]

#: Digests of files that were read, by their state: a search asks for the same files dozens of times.
_digests: dict[State, bytes] = {}
MOST_DIGESTS = 100_000
#: A file that changed less than this many nanoseconds ago may change again without its change time showing it.
SETTLED = 2 * 10**9


def glance(sample: Any) -> bytes | None:
    """Give the fingerprint of a file that was read before and has not changed since, without reading it.

    Parameters
    ----------
    sample : object
        As for `read`.

    Returns
    -------
    bytes or None
        None if it has to be read.
    """
    if not isinstance(sample, (str, os.PathLike)):
        return None
    try:
        return _digests.get(_state(os.stat(sample)))
    except (OSError, ValueError):
        return None


def _state(status: os.stat_result) -> State:
    return status.st_dev, status.st_ino, status.st_size, status.st_ctime_ns


def _remember(state: State | None, digest: bytes) -> None:
    """Remember a digest, unless the file has just changed, or the system has no change times (Windows)."""
    if state is None or os.name == "nt" or time.time_ns() - state[-1] < SETTLED:
        return
    if len(_digests) >= MOST_DIGESTS:
        _digests.clear()
    _digests[state] = digest


# ---------------------------------------------------------------------------------------------------------------------
# Reading


def read(sample: Any) -> Source:
    """Read a sample of any kind, without decoding it.

    Parameters
    ----------
    sample : str, Path, bytes, PIL.Image.Image or ndarray
        A file, an encoded image, an image, or uint8 pixels of shape (height, width, 3) or (height, width).

    Returns
    -------
    Source

    Raises
    ------
    Unreadable
        With the reason.
    """
    if isinstance(sample, (str, os.PathLike)):
        return _read_file(os.fspath(sample))
    if isinstance(sample, (bytes, bytearray, memoryview)):
        return Source(bytes(sample))
    if isinstance(sample, np.ndarray):
        return Source(_check_array(sample))
    if _is_pil(sample):
        return Source(_check_array(_pixels_of(sample)))
    if _is_missing(sample):
        raise Unreadable(f"the sample is missing ({sample!r})")
    raise Unreadable(
        f"{type(sample).__name__} is no image; give a path, encoded bytes, a PIL image or uint8 (height, width, 3)"
    )


def _pixels_of(image: Image.Image) -> Pixels:
    """Decode an image that the caller has opened, perhaps lazily."""
    try:
        with _once_at_a_time[id(image) // 16 % len(_once_at_a_time)]:
            return np.asarray(_to_rgb(image))
    except Unreadable:
        raise
    except Exception as err:
        raise Unreadable(f"the image cannot be decoded ({type(err).__name__}: {err})") from err


def _is_missing(sample: Any) -> bool:
    """Tell None, NaN, and the NA and NaT of pandas, the first of which refuses to be compared."""
    if isinstance(sample, (float, np.floating)):
        return bool(np.isnan(sample))
    return sample is None or type(sample).__name__ in ("NAType", "NaTType")


def path_of(sample: Any) -> str | None:
    """Give the path a sample is, if it is one."""
    return os.fsdecode(sample) if isinstance(sample, (str, os.PathLike)) else None


def _read_file(path: str | bytes) -> Source:
    """Read a regular file; a FIFO or a device could block for ever."""
    shown = os.fsdecode(path)
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except ValueError as err:  # a NUL in the name
        raise Unreadable(f"not a file name ({err})") from err
    except OSError as err:
        raise Unreadable(f"cannot be opened ({err.strerror})") from err
    try:
        status = os.fstat(descriptor)
        _check_status(status)
        with os.fdopen(descriptor, "rb", buffering=0, closefd=False) as file:
            return Source(file.readall(), shown, _state(status))
    except OSError as err:
        raise Unreadable(f"cannot be read ({err.strerror})") from err
    finally:
        os.close(descriptor)


def _check_status(status: os.stat_result) -> None:
    """Refuse what is no regular file, or too long."""
    if stat.S_ISDIR(status.st_mode):
        raise Unreadable("is a folder; give its files, such as sorted(Path(folder).glob('*.jpg'))")
    if not stat.S_ISREG(status.st_mode):
        raise Unreadable("is not a regular file")
    if status.st_size > MAX_BYTES:
        raise Unreadable(f"has {status.st_size:,} bytes, more than the {MAX_BYTES:,} an image may have")


def _check_array(array: npt.NDArray[Any]) -> Pixels:
    """Take uint8 (h, w, 3) or (h, w); refuse what would have to be guessed."""
    if array.dtype != np.uint8:
        bad = " with values that are not finite" if array.dtype.kind == "f" and not np.isfinite(array).all() else ""
        raise Unreadable(
            f"a {array.dtype} array{bad}: its range is not known; give uint8, such as (255 * x).astype('uint8')"
        )
    if array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 1):
        array = np.repeat(array.reshape(*array.shape[:2], 1), 3, axis=2)
    if array.ndim != 3 or array.shape[2] != 3:
        hint = (
            "; if its channels come first, give x.transpose(1, 2, 0)"
            if array.ndim == 3 and array.shape[0] in (1, 3)
            else ""
        )
        raise Unreadable(f"an array of shape {array.shape} is not (height, width, 3) or (height, width){hint}")
    if 0 in array.shape:
        raise Unreadable(f"an array of shape {array.shape} has no pixels")
    return array


def _is_pil(sample: Any) -> bool:
    """Tell a PIL image, without importing PIL for those who have none."""
    return any(cls.__module__ == "PIL.Image" and cls.__name__ == "Image" for cls in type(sample).__mro__)


# ---------------------------------------------------------------------------------------------------------------------
# Decoding


def prepare(source: Source, spec: ImageSpec) -> Pixels:
    """Decode a sample and bring it to the size of the graph's input.

    Parameters
    ----------
    source : Source
        From `read`.
    spec : ImageSpec
        Of the card.

    Returns
    -------
    ndarray of shape (height, width, 3), uint8, RGB

    Raises
    ------
    Unreadable
        If it cannot be decoded; the reason says what it looks like instead.
    """
    from PIL import Image, UnidentifiedImageError

    if isinstance(source.data, np.ndarray):
        if source.data.shape[:2] == spec.size and spec.resize == "squash":
            return source.data
        return _fit(Image.fromarray(source.data), spec)
    _notice_truncation_allowed()
    try:
        return _decode(source.data, spec)
    except Unreadable:
        raise
    except UnidentifiedImageError as err:
        raise Unreadable(f"is no {', '.join(FORMATS)} file; {looks_like(source.data)}") from err
    except Exception as err:  # decoders throw OSError, ValueError, SyntaxError, struct.error, ...
        raise Unreadable(f"cannot be decoded ({type(err).__name__}: {err}); {looks_like(source.data)}") from err


def _decode(data: bytes, spec: ImageSpec) -> Pixels:
    from PIL import Image

    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        pixels = image.width * image.height
        if pixels > spec.max_pixels:
            raise Unreadable(
                f"has {image.width} x {image.height} pixels, more than the card's max_pixels={spec.max_pixels:,}"
            )
        if spec.draft:
            image.draft("RGB", _draft_size(image.size, spec))
        if pixels < LARGE:
            return _fit(_to_rgb(image), spec)
        with _one_large_at_a_time:
            return _fit(_to_rgb(image), spec)


def _draft_size(size: tuple[int, int], spec: ImageSpec) -> tuple[int, int]:
    """Give the size (width, height) below which the decoder must not scale down."""
    if spec.resize == "squash":
        return spec.size[1], spec.size[0]
    scale = spec.resize_to / min(size)
    return round(size[0] * scale), round(size[1] * scale)


def _to_rgb(image: Image.Image) -> Image.Image:
    """Turn the picture upright and into 8-bit RGB, what is transparent on white, the first frame of many."""
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


def _to_8_bit(image: Image.Image) -> Pixels:
    """Scale 16-bit grey to 8 bits; Pillow would clip it to white."""
    return (np.asarray(image).astype(np.uint32) * 255 // 65535).astype(np.uint8)


def _fit(image: Image.Image, spec: ImageSpec) -> Pixels:
    """Scale and crop."""
    from PIL import Image

    size, filter_ = (spec.size[1], spec.size[0]), Image.Resampling[spec.interpolation.upper()]
    if spec.resize == "squash":
        return np.asarray(image.resize(size, filter_))
    longer, middle = ROUNDINGS[spec.rounding]
    shorter = min(image.size)
    scaled = [max(crop, longer(spec.resize_to * n / shorter)) for n, crop in zip(image.size, size, strict=True)]
    left, top = (middle((length - crop) / 2) for length, crop in zip(scaled, size, strict=True))
    if spec.draft or max(scaled) > LONGEST * spec.resize_to:
        box = _seen_in_original((left, top, left + size[0], top + size[1]), scaled, image.size)
        return np.asarray(image.resize(size, filter_, box=box))
    image = image.resize((scaled[0], scaled[1]), filter_)
    return np.asarray(image.crop((left, top, left + size[0], top + size[1])))


def _seen_in_original(
    box: tuple[int, ...], scaled: Sequence[int], original: tuple[int, int]
) -> tuple[float, float, float, float]:
    """Give the part of the original that becomes a part of the scaled image.

    Scaling that part alone makes nothing that is thrown away. It is not the default because Pillow keeps the box in
    single precision: about one pixel in 400 comes out one grey level off, and embeddings follow by up to 2 %.
    """
    x, y = (length / size for length, size in zip(original, scaled, strict=True))
    left, top, right, bottom = box
    return left * x, top * y, min(right * x, original[0]), min(bottom * y, original[1])


def looks_like(data: bytes) -> str:
    """Say what the first bytes of a file suggest it is."""
    if not data:
        return "it is empty"
    head = data[:64].lstrip().lower()
    for signature, what in SIGNATURES:
        if head.startswith(signature):
            return f"it looks like {what}"
    return f"its first bytes are {data[:12]!r}"


@functools.cache
def _warn_truncation_allowed() -> None:
    warnings.warn(
        "PIL.ImageFile.LOAD_TRUNCATED_IMAGES is set: cut files are read as pictures that are half grey, not as errors.",
        InputWarning,
        stacklevel=2,
    )


def _notice_truncation_allowed() -> None:
    from PIL import ImageFile

    if ImageFile.LOAD_TRUNCATED_IMAGES:
        _warn_truncation_allowed()


def to_tensor(samples: Sequence[Any], spec: ImageSpec) -> npt.NDArray[np.float32]:
    """Prepare images, up to the numbers a backbone takes; when rows are computed, its graph does the last part.

    Parameters
    ----------
    samples : sequence
        Images, in any form `read` takes.
    spec : ImageSpec
        How they are prepared.

    Returns
    -------
    ndarray of shape (n, 3, height, width) or (n, height, width, 3), float32
    """
    pixels = np.stack([prepare(read(sample), spec) for sample in samples]).astype(np.float64)
    pixels = pixels[..., ::-1] if spec.color == "BGR" else pixels
    scaled = (spec.range * pixels / 255 - np.array(spec.mean)) / np.array(spec.std)
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2) if spec.layout == "NCHW" else scaled, np.float32)


def probe(spec: ImageSpec, like: Pixels | None = None) -> Pixels:
    """Make three images to try a graph on: a gradient, stripes and dim noise, the same on every machine.

    Parameters
    ----------
    spec : ImageSpec
        Gives the size.
    like : ndarray, optional
        Not needed here; a prepared sample.

    Returns
    -------
    ndarray of shape (3, height, width, 3), uint8
    """
    height, width = spec.size
    y, x = np.mgrid[:height, :width]
    gradient = np.stack([255 * x // width, 255 * y // height, 128 + 0 * x], axis=-1)
    stripes = np.stack([255 * (x // 8 % 2), 200 - 200 * (x // 8 % 2), 90 * (y // 16 % 2)], axis=-1)
    noise = (x * 2654435761 + y * 40503 + x * y * 69069)[..., None] // np.array([7, 11, 13]) % 97
    return np.stack([gradient, stripes, noise]).astype(np.uint8)


def _renew_lock_after_fork() -> None:
    """In a child: the thread that holds the lock in the parent is not there to give it back."""
    global _one_large_at_a_time, _once_at_a_time
    _one_large_at_a_time, _once_at_a_time = threading.Lock(), [threading.Lock() for _ in _once_at_a_time]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock_after_fork)
