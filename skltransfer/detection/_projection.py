"""Projections of layers on their principal components, from images that every installation has.

They do not depend on the images of a fit, so that the folds and candidates of a search share every map in the cache.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from skltransfer._engine import process
from skltransfer._engine.modalities import image
from skltransfer.datasets import load_emoji
from skltransfer.detection._backbone import Backbone, Map
from skltransfer.detection._images import read
from skltransfer.detection._maps import Projection, Settings, levels

#: Boards of emoji and drawn pictures: on photographs of fruit their components were no worse than those of the
#: photographs themselves (mAP .407 and .405 in cross-validation).
BOARDS, PICTURES = 24, 12
#: Emoji along a side of a board, their pixels, and the pixels of the longer side of the input.
SIDE, EMOJI, LONGER = 4, 72, 256

#: Projections by card, layers, components and device.
_kept: process.Table[Any, tuple[Any, tuple[Projection, ...]]] = process.Table(16)


def generic(backbone: Backbone, components: Sequence[int], choices: Any) -> tuple[Projection, ...]:
    """Return the projections of a backbone's layers.

    Parameters
    ----------
    backbone : Backbone
        What runs.
    components : sequence of int
        Of each layer; fewer are kept where a layer has fewer channels.
    choices : mapping
        ``device`` and ``precision``.
    """
    key = (id(backbone.card), backbone.layers, tuple(components), *choices.values())
    if (kept := _kept.get_recent(key)) is not None and kept[0] is backbone.card:
        return kept[1]
    settings = Settings(backbone, None, choices, cache=None, n_jobs=1)
    pictures = [read(index, sample) for index, sample in enumerate(_samples())]
    maps = [level.maps() for level in levels(pictures, LONGER, settings)]
    made = tuple(
        principal([one[layer] for one in maps], min(n, maps[0][layer].shape[2])) for layer, n in enumerate(components)
    )
    _kept.keep(key, (backbone.card, made))
    return made


def principal(maps: Sequence[Map], n: int) -> Projection:
    """Compute the principal components of the places of maps, scaled so that the first has variance 1."""
    places = np.concatenate([one.reshape(-1, one.shape[-1]) for one in maps]).astype(np.float64)
    mean = places.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(places - mean, rowvar=False))
    chosen = vectors[:, ::-1][:, :n]
    chosen = chosen * np.where(chosen[np.abs(chosen).argmax(axis=0), np.arange(n)] < 0, -1, 1)  # a sign of its own
    scaled = chosen / np.sqrt(max(values[-1], np.finfo(float).tiny))
    return Projection(mean.astype(np.float32), scaled.astype(np.float32))


def _samples() -> list[Any]:
    """Return boards of emoji on gray of several shades, and drawn pictures."""
    return [*_boards(), *image.pictures([(LONGER, LONGER)] * PICTURES)]


def _boards() -> list[Any]:
    from PIL import Image

    random = np.random.default_rng(0)
    emoji, _ = load_emoji(return_X_y=True)
    boards = []
    for board in range(BOARDS):
        canvas = Image.new("RGB", (SIDE * EMOJI,) * 2, (int(255 * board / (BOARDS - 1)),) * 3)
        for place, member in enumerate(random.choice(len(emoji), SIDE * SIDE, replace=False)):
            shown = Image.open(io.BytesIO(emoji[member])).convert("RGBA")
            canvas.paste(shown, (place % SIDE * EMOJI, place // SIDE * EMOJI), shown)
        boards.append(np.asarray(canvas))
    return boards
