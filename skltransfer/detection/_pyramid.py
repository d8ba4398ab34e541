"""The scales at which images are seen, and the maps of many images at all of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from skltransfer.detection._backbone import MULTIPLE
from skltransfer.detection._images import Picture, read
from skltransfer.detection._maps import Level, Settings, levels
from skltransfer.errors import Failure, SampleError

#: Images whose files, and maps before they are in the cache, are in memory at once.
CHUNK = 16
#: Shares of the training boxes, if each class had as many, below the small and above the large objects that scales are
#: chosen for: a few outliers would double the price.
SMALL, LARGE = 0.05, 0.95
#: Size of these objects at the finest and at the coarsest scale, in multiples of the object size.
AT_FINEST, AT_COARSEST = 0.55, 1.35
#: Largest factor from one scale to the next: a level takes objects of a range of 3.6, and more levels take time.
STEP = 3.0
#: Pixels of the longer side beyond which ``scales="auto"`` does not go: time grows with its square.
LONGEST = 1024


class Seen(NamedTuple):
    """An image at all scales.

    Attributes
    ----------
    picture : Picture
        Without its content.
    views : tuple of tuple of Level
        Levels of the image and, if wanted, of its mirror image.
    """

    picture: Picture
    views: tuple[tuple[Level, ...], ...]


def choose_scales(shares: Sequence[Sequence[float]], object_size: float) -> tuple[int, ...]:
    """Choose scales from the sizes of the training boxes.

    Parameters
    ----------
    shares : sequence of sequences of float
        For each class the square roots of the boxes' areas, divided by the longer sides of their images. Classes count
        the same, however many boxes they have.
    object_size : float
        Pixels of objects as the backbone knows them.

    Returns
    -------
    tuple of int
        Pixels of the longer side, ascending.
    """
    weights = np.concatenate([np.full(len(own), 1 / len(own)) for own in shares])
    small, large = np.quantile(np.concatenate(shares), (SMALL, LARGE), weights=weights, method="inverted_cdf")
    coarsest = AT_COARSEST * object_size / large
    finest = max(AT_FINEST * object_size / small, coarsest)
    steps = math.ceil(round(math.log(finest / coarsest, STEP), 6))
    scales = coarsest * (finest / coarsest) ** (np.arange(steps + 1) / max(steps, 1))
    rounded = {min(max(round(scale / MULTIPLE), 2) * MULTIPLE, LONGEST) for scale in scales.tolist()}
    return tuple(sorted(rounded))


def seen(
    samples: Sequence[Any],
    scales: Sequence[int],
    settings: Settings,
    *,
    mirror: bool = False,
    failures: list[Failure] | None = None,
    progress: Callable[[int], object] = lambda done: None,
) -> Iterator[Seen | None]:
    """Yield images at all scales, in their order; None for one that cannot be read, if `failures` is given.

    Parameters
    ----------
    samples : sequence
        Images.
    scales : sequence of int
        Pixels of the longer side.
    settings : Settings
        How maps are computed.
    mirror : bool
        Whether mirror images are wanted, too.
    failures : list of Failure, optional
        Takes what cannot be read; by default the first raises an error.
    progress : callable
        Called with the number of images that are finished.
    """
    for start in range(0, len(samples), CHUNK):
        chunk = samples[start : start + CHUNK]
        pictures = list(read_some(chunk, failures, start))
        yield from _of_chunk(pictures, scales, settings, mirror=mirror, failures=failures)
        progress(start + len(chunk))


def read_some(samples: Sequence[Any], failures: list[Failure] | None, start: int = 0) -> Iterator[Picture | None]:
    """Read images one by one; None for one that cannot be read, if `failures` is given."""
    for index, sample in enumerate(samples, start):
        try:
            yield read(index, sample)
        except SampleError as err:
            if failures is None:
                raise
            failures.append(Failure(err.index, err.path, err.reason))
            yield None


def _of_chunk(
    pictures: Sequence[Picture | None],
    scales: Sequence[int],
    settings: Settings,
    *,
    mirror: bool,
    failures: list[Failure] | None,
) -> Iterator[Seen | None]:
    """Compute the levels of images that have been read; without those that turn out to be undecodable."""
    good = [picture for picture in pictures if picture is not None]
    try:
        sides = (False, True) if mirror else (False,)
        views = [[levels(good, scale, settings, mirrored=side) for scale in scales] for side in sides]
    except SampleError as err:
        if failures is None:
            raise
        failures.append(Failure(err.index, err.path, err.reason))
        rest = [picture if picture is not None and picture.number != err.index else None for picture in pictures]
        yield from _of_chunk(rest, scales, settings, mirror=mirror, failures=failures)
        return
    each = iter(zip(*(zip(*view, strict=True) for view in views), strict=True))
    for picture in pictures:
        yield None if picture is None else Seen(picture._replace(source=None), next(each))
