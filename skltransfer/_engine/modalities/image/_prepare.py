"""A sample that has been read to the pixels, or the tensor, a graph takes."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from skltransfer._engine.modalities._modality import File, Piece, Plain
from skltransfer._engine.modalities.image import _apart, _limits
from skltransfer._engine.modalities.image._decode import decode
from skltransfer._engine.modalities.image._geometry import Pixels, draft_size, fit_views
from skltransfer._engine.modalities.image._read import Source, glance, path_of, read
from skltransfer.cards import ImageSpec
from skltransfer.errors import shorten


def prepare(source: Source, spec: ImageSpec, note: Callable[[int], object] = lambda bits: None) -> Pixels:
    """Decode a sample and scale it to the size of the graph's input, as `prepare_views` does."""
    return prepare_views(source, spec, None, note)[0]


def prepare_views(
    source: Source,
    spec: ImageSpec,
    views: str | None = None,
    note: Callable[[int], object] = lambda bits: None,
) -> list[Pixels]:
    """Decode a sample and scale it to the size of the graph's input, as many views as are asked for.

    Parameters
    ----------
    source : Source
        From `read`.
    spec : ImageSpec
        Of the card.
    views : str or None
        As in `fit_views`.
    note : callable
        As in `decode`.

    Returns
    -------
    list of ndarray of shape (height, width, 3), uint8, RGB

    Raises
    ------
    Unreadable
        If it cannot be decoded; the reason describes the file.
    """
    from PIL import Image

    if isinstance(source.data, np.ndarray):
        if source.data.shape[:2] == spec.size and spec.resize == "squash" and views is None:
            return [source.data]
        return fit_views(Image.fromarray(source.data), spec, views, _seed(source, views))
    care = _limits.check(source.data, spec.max_pixels)
    spec = _for_views(spec, views)
    if care.apart:
        seed = _seed(source, views)
        return list(_apart.prepare(source.data, spec, hurried=care.hurried, views=views, seed=seed, note=note))
    draft = partial(draft_size, spec=spec) if spec.draft else None
    finish = partial(fit_views, spec=spec, views=views, seed=_seed(source, views))
    return decode(source.data, max_pixels=spec.max_pixels, finish=finish, draft=draft, hurried=care.hurried, note=note)


def _seed(source: Source, views: str | None) -> bytes:
    """Return what random parts of a sample depend on; it is not computed where there are none."""
    return source.digest() if views is not None and views.startswith("crop") else b""


def _for_views(spec: ImageSpec, views: str | None) -> ImageSpec:
    """Return how a picture is decoded: a part of it is scaled up, and needs all of its pixels."""
    return dataclasses.replace(spec, draft=False) if views is not None and views.startswith("crop") else spec


#: Weights of red, green and blue in a gray pixel, and their sum: those of Pillow, after ITU-R 601-2.
GRAY, GRAY_UNIT = (19595, 38470, 7471), 65536

#: Turns colors (..., 3) into the channels of a graph.
COLORS: dict[str, Callable[[npt.NDArray[Any]], npt.NDArray[Any]]] = {
    "RGB": lambda pixels: pixels,
    "BGR": lambda pixels: pixels[..., ::-1],
    "L": lambda pixels: np.floor((pixels @ np.array(GRAY) + GRAY_UNIT / 2) / GRAY_UNIT)[..., np.newaxis],
}


def to_tensor(samples: Sequence[Any], spec: ImageSpec) -> npt.NDArray[np.float32]:
    """Prepare images up to the numbers a backbone takes; when rows are computed, its graph does the last part.

    Parameters
    ----------
    samples : sequence
        Images, in any form `read` takes.
    spec : ImageSpec
        How they are prepared.

    Returns
    -------
    ndarray of shape (n, channels, height, width) or (n, height, width, channels), float32
    """
    pixels = np.stack([prepare(read(sample), spec) for sample in samples]).astype(np.float64)
    pixels = COLORS[spec.color](pixels)
    scaled = (spec.range * pixels / 255 - np.array(spec.mean)) / np.array(spec.std)
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2) if spec.layout == "NCHW" else scaled, np.float32)


def probe(spec: ImageSpec) -> Pixels:
    """Return three images to try a graph on: a gradient, stripes and dim noise, the same on every machine.

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


class ImagePreparer(Plain):
    """Prepares images: a piece for each view, uint8 pixels (height, width, 3)."""

    #: Pixels of a batch: two images of 224 x 224, ten of 96 x 96. More no longer fit the processor's cache (measured: 4
    #: of 224 x 224 take 7 % more time each), less is spent on handing batches around.
    sizes: ClassVar = {"fused": 2 * 224 * 224, "pipelined": 64 * 224 * 224}
    #: Images of a batch however small the input: originals of any size wait for it in memory.
    most: ClassVar = {"fused": 16, "pipelined": 256}
    glance = staticmethod(glance)
    path = staticmethod(path_of)

    def __init__(self, spec: ImageSpec, files: Mapping[str, File] | None = None, *, views: str | None = None) -> None:
        super().__init__(spec, files)
        self.views = views
        #: Bits that the largest values need, of images that say 16, and what the images are called.
        self._noted: list[tuple[int, str | None]] = []

    def batch_size(self, form: str) -> int:
        """Return the number of images of a batch."""
        height, width = self.spec.size
        pixels = height * width * (2 if self.views == "flip" else 1)
        return max(1, min(int(self.most[form]), int(self.sizes[form] // pixels)))

    def read(self, sample: Any) -> Source:
        """Read a sample."""
        return read(sample, partial(self._note, sample))

    def prepare(self, sources: Sequence[Source]) -> list[list[Piece]]:
        """Decode and scale each image."""
        return [self._pieces(source) for source in sources]

    def _pieces(self, source: Source) -> list[Piece]:
        note = partial(self._note, source)
        if self.views is None:
            return [prepare(source, self.spec, note)]
        return list(prepare_views(source, self.spec, self.views, note))

    def _note(self, sample: Any, bits: int) -> None:
        self._noted.append((bits, path_of(sample)))

    def notes(self) -> list[str]:
        """Return which images may have fewer bits than they say."""
        if not (noted := self._noted):
            return []
        bits, names = max(bits for bits, _ in noted), [name for _, name in noted if name]
        first = f" ({shorten(repr(names[0]))}{' first' if len(noted) > 1 else ''})" if names else ""
        plural = "" if len(noted) == 1 else "s"
        return [
            f"{len(noted)} image{plural} of 16 bits{first}: no value is above {2**bits - 1}, as if of {bits} bits. "
            f"Taken as 16 bits, it is nearly one color. If they have {bits}, give uint8 arrays: "
            f"{'x' if bits == 8 else f'(x >> {bits - 8})'}.astype('uint8')."
        ]

    def probe(self, like: Sequence[Piece] | None) -> npt.NDArray[Any]:
        """Return the three images of `probe`."""
        return probe(self.spec)

    def strangers(self, samples: npt.NDArray[Any], like: Sequence[Piece] | None) -> npt.NDArray[Any] | None:
        """Return three of the user's own images: a detector may see the same, nothing, in all images of `probe`."""
        own = {piece.tobytes(): piece for piece in (like or ())[:OWN]}
        return self.collate([*own.values()][:3]) if len(own) > 1 else None


#: Images of the user that are looked at to find different ones.
OWN = 8


def with_resize_to(known: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Add what the caller gave; set the length of the shorter side where nobody did.

    It scales with the size of the input; where there was none, the crop is that of 7/8 usual for tests on ImageNet.
    """
    spec = {**known, **given}
    if "resize_to" not in given and spec["resize"] == "shorter":
        with contextlib.suppress(TypeError, ValueError):  # a size that is no pair of numbers is refused later
            before = known.get("resize_to") or max(known["size"]) * 256 / 224
            spec["resize_to"] = round(max(spec["size"]) * before / max(known["size"]))
    return spec
