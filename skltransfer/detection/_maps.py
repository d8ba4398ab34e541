"""Maps of images: found in the cache or computed, projected on few components, in the order of the images."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from skltransfer._engine import cache as caches
from skltransfer._engine import stream
from skltransfer._engine.samples import Samples
from skltransfer.detection._backbone import Backbone, Map, Sized, sized
from skltransfer.detection._images import Picture, Placement, pixels, placement


class Projection(NamedTuple):
    """From the channels of a layer to components.

    Attributes
    ----------
    mean : ndarray of shape (channels,)
        Subtracted first.
    matrix : ndarray of shape (channels, components)
        Directions, scaled.
    """

    mean: Map
    matrix: Map

    def apply(self, maps: Map) -> Map:
        """Project a map (height, width, channels)."""
        return np.asarray(maps @ self.matrix - self.mean @ self.matrix, np.float32)


@dataclass(frozen=True)
class Settings:
    """How maps are computed.

    Parameters
    ----------
    backbone : Backbone
        What runs.
    projections : tuple of Projection or None
        One for each layer; None keeps all channels.
    choices : mapping
        ``device`` and ``precision``.
    cache : object
        As in `PretrainedEmbedder`.
    n_jobs : int or None
        As there.
    shrink : bool
        Whether runs give their memory back, which takes a little longer: other steps need it afterwards.
    """

    backbone: Backbone
    projections: tuple[Projection, ...] | None = None
    choices: Mapping[str, Any] = field(default_factory=lambda: {"device": "auto", "precision": "auto"})
    cache: str | os.PathLike[str] | bool | None = "memory"
    n_jobs: int | None = None
    shrink: bool = False

    @property
    def digest(self) -> str:
        """Name of the projections in keys of the cache."""
        hasher = hashlib.blake2b(digest_size=8)
        for projection in self.projections or ():
            hasher.update(projection.mean.tobytes() + projection.matrix.tobytes())
        return hasher.hexdigest()


class Level(NamedTuple):
    """The maps of an image at one scale.

    Attributes
    ----------
    row : ndarray of shape (n,), float16
        All maps, flat: a row of the cache.
    shapes : sequence of (int, int, int)
        Height, width and channels of each map.
    placement : Placement
        Where the input lies in the image.
    """

    row: Map
    shapes: Sequence[tuple[int, int, int]]
    placement: Placement

    def maps(self) -> list[Map]:
        """Cut the row into maps (height, width, channels), float32."""
        ends = np.cumsum([height * width * channels for height, width, channels in self.shapes])
        parts = np.split(self.row.astype(np.float32), ends[:-1])
        return [part.reshape(shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def grid(self) -> Map:
        """Put the maps side by side at the places of the middle one: (height, width, components)."""
        maps = self.maps()
        height, width = self.shapes[len(maps) // 2][:2]
        return np.concatenate([at_places(one, height, width) for one in maps], axis=2)

    def cell(self) -> tuple[float, float]:
        """Return width and height, in pixels of the image, of a cell of the grid."""
        rows, columns = self.shapes[len(self.shapes) // 2][:2]
        size, scale = self.placement.size, self.placement.scale
        return size[0] / columns * scale[0], size[1] / rows * scale[1]


def at_places(one: Map, height: int, width: int) -> Map:
    """Bring a map to other places: finer cells become components of the one they lie in, coarser ones are repeated."""
    fine = one.shape[0] // height
    if fine > 1 and one.shape[:2] == (height * fine, width * fine):
        split = one.reshape(height, fine, width, fine, -1)
        return split.transpose(0, 2, 1, 3, 4).reshape(height, width, -1)
    rows = ((np.arange(height) + 0.5) * one.shape[0] / height).astype(np.intp)
    columns = ((np.arange(width) + 0.5) * one.shape[1] / width).astype(np.intp)
    return np.asarray(one[rows[:, None], columns])


def levels(
    pictures: Sequence[Picture],
    longer: int,
    settings: Settings,
    *,
    mirrored: bool = False,
    progress: Callable[[int], object] = lambda done: None,
) -> list[Level]:
    """Return the maps of pictures at one scale.

    Parameters
    ----------
    pictures : sequence of Picture
        Read, in any order.
    longer : int
        Pixels of the longer side.
    settings : Settings
        How.
    mirrored : bool
        Whether the mirror images are meant.
    progress : callable
        Called with the number of pictures that are finished.

    Returns
    -------
    list of Level
        In the order of the pictures.
    """
    groups: dict[tuple[int, int], list[int]] = defaultdict(list)
    places = [placement(picture.size, longer) for picture in pictures]
    for index, place in enumerate(places):
        groups[place.size].append(index)
    finished: dict[int, Level] = {}
    for (width, height), members in groups.items():
        at_size = sized(settings.backbone, (height, width), settings.choices)
        own = [pictures[index] for index in members]
        rows = _rows(own, longer, at_size, settings, mirrored=mirrored)
        shapes = _shapes(at_size, settings.projections)
        finished.update((i, Level(row, shapes, places[i])) for i, row in zip(members, rows, strict=True))
        progress(len(finished))
    return [finished[index] for index in range(len(pictures))]


def _shapes(at_size: Sized, projections: tuple[Projection, ...] | None) -> list[tuple[int, int, int]]:
    """Return height, width and components of each layer."""
    kept = [shape[0] for shape in at_size.shapes] if projections is None else [p.matrix.shape[1] for p in projections]
    return [(height, width, n) for (_, height, width), n in zip(at_size.shapes, kept, strict=True)]


def _rows(pictures: Sequence[Picture], longer: int, at_size: Sized, settings: Settings, *, mirrored: bool) -> list[Map]:
    """Return the flat rows of pictures with inputs of one size: those the cache has, and the others computed."""
    cache = caches.open_cache(settings.cache)
    if cache is None:
        return list(_computed(pictures, longer, at_size, settings, mirrored=mirrored))
    kind = f"{at_size.plan.recipe.key} {settings.digest} {longer}{' mirrored' if mirrored else ''}"
    recipe = hashlib.blake2b(kind.encode(), digest_size=16).hexdigest().encode()
    keys = [picture.source.digest() + recipe for picture in pictures if picture.source is not None]
    known = cache.get(list(dict.fromkeys(keys)))
    missing = {key: picture for key, picture in zip(keys, pictures, strict=True) if key not in known}
    computed = _computed(list(missing.values()), longer, at_size, settings, mirrored=mirrored)
    for key, row in zip(missing, computed, strict=True):
        cache.put({key: row})
        known[key] = row
    if missing:
        cache.end_call(recipe, len(missing))
        known |= cache.get(list(missing))  # the rows as the cache holds them, not a second copy
    return [known[key] for key in keys]


def _computed(
    pictures: Sequence[Picture], longer: int, at_size: Sized, settings: Settings, *, mirrored: bool
) -> Iterator[Map]:
    """Run the backbone on pictures and yield a row each, projected as soon as it is there."""
    if not pictures:
        return
    spec = settings.backbone.spec
    inputs = (pixels(picture, longer, spec, mirrored=mirrored) for picture in pictures)
    options = stream.Options(n_jobs=settings.n_jobs, shrink=settings.shrink)
    for batch in stream.batches(Samples(inputs, len(pictures)).items, at_size.plan, options=options):
        for row in batch.rows:
            yield _flat(at_size.maps(row), settings.projections)


def _flat(maps: Sequence[Map], projections: tuple[Projection, ...] | None) -> Map:
    """Project maps and put them in one row of half the size: float16 is finer than what a component is worth."""
    if projections is not None:
        maps = [projection.apply(one) for one, projection in zip(maps, projections, strict=True)]
    return np.concatenate([np.ravel(one) for one in maps]).astype(np.float16)
