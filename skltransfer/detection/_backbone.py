"""Which layers of a backbone are read, and how the flat row of an image becomes maps again."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from skltransfer._engine import plan as plans
from skltransfer._engine import planning, process
from skltransfer._engine.catalog import load_card
from skltransfer.cards import Card, ImageSpec
from skltransfer.errors import LayerError

#: Sides of the input are multiples of it, so that the deepest layer has whole cells.
MULTIPLE = 32
#: Pixels of the input for each cell of the layers that ``layers="auto"`` looks for.
STRIDES = (8, 16, 32)

Map = npt.NDArray[Any]


class Backbone(NamedTuple):
    """A card and the layers of it that are read, the finest first.

    Attributes
    ----------
    card : Card
        At its own size.
    layers : tuple of str
        Names of tensors.
    strides : tuple of int
        Pixels of the input for each cell.
    """

    card: Card
    layers: tuple[str, ...]
    strides: tuple[int, ...]

    @property
    def spec(self) -> ImageSpec:
        """How images are prepared."""
        return cast(ImageSpec, self.card.input)  # `open_backbone` refuses others


def open_backbone(model: str | os.PathLike[str] | Card, layers: str | Sequence[str] = "auto") -> Backbone:
    """Find a backbone and the layers to read.

    Parameters
    ----------
    model : str, path or Card
        As in `PretrainedEmbedder`.
    layers : "auto" or sequence of str
        Names of feature maps; ``"auto"``: the deepest with a cell for every 8, 16 and 32 pixels.

    Raises
    ------
    LayerError
        If there are no such maps.
    """
    card = load_card(model)
    if not isinstance(card.input, ImageSpec):
        raise LayerError(f"{card.name!r} takes {card.modality} samples; detection needs a backbone of images.")
    known = card.layers()
    names = list(known) if layers == "auto" else [layers] if isinstance(layers, str) else list(layers)
    strides = dict(zip(names, (_stride(card, name, shape) for name, shape in _shapes(card, names)), strict=True))
    if layers == "auto":
        names = [max((n for n in names if strides[n] == wanted), key=names.index, default="") for wanted in STRIDES]
        names = [name for name in names if name]
    if not names or 0 in (strides[name] for name in names):
        flat = [name for name in names if not strides[name]]
        raise LayerError(
            f"{card.name!r} has no feature map {flat[0]!r}; layers=[...] takes names of feature maps."
            if flat
            else f"{card.name!r} lists no feature map with a cell for every {', '.join(map(str, STRIDES))} pixels; "
            "name some: layers=[...]. `skltransfer models layers` lists them."
        )
    names.sort(key=lambda name: strides[name])
    return Backbone(card, tuple(names), tuple(strides[name] for name in names))


def _shapes(card: Card, names: Sequence[str]) -> list[tuple[str, Any]]:
    return list(zip(names, plans.shapes_of(card, names), strict=True))


def _stride(card: Card, name: str, shape: Any) -> int:
    """Return the pixels for each cell of a layer, as a power of 2; 0 for one that is no map."""
    if len(shape) != 3 or None in shape:
        return 0
    (channel,) = plans.channels_of(card, [name], [shape])
    places = [length for axis, length in enumerate(shape, 1) if axis != channel]
    return int(2 ** round(math.log2(cast(ImageSpec, card.input).size[0] / places[0])))


class Sized(NamedTuple):
    """A backbone whose input has a size.

    Attributes
    ----------
    plan : Plan
        What is run: a row is all numbers of all layers.
    shapes : tuple of (int, int, int)
        Channels, height and width of each layer.
    last : tuple of bool
        Whether the channels of a layer come last in its part of the row.
    """

    plan: plans.Plan
    shapes: tuple[tuple[int, int, int], ...]
    last: tuple[bool, ...]

    def maps(self, row: Map) -> list[Map]:
        """Cut a row into maps (height, width, channels)."""
        maps, start = [], 0
        for (channels, height, width), last in zip(self.shapes, self.last, strict=True):
            part = row[start : start + channels * height * width]
            start += len(part)
            maps.append(part.reshape(height, width, channels) if last else _last(part, channels, height, width))
        return maps


def _last(part: Map, channels: int, height: int, width: int) -> Map:
    return np.moveaxis(part.reshape(channels, height, width), 0, -1)


def sized(backbone: Backbone, size: tuple[int, int], choices: Mapping[str, Any]) -> Sized:
    """Return a backbone for inputs of a size (height, width), planned once per process and size.

    Parameters
    ----------
    backbone : Backbone
        From `open_backbone`.
    size : (int, int)
        Height and width, multiples of `MULTIPLE`.
    choices : mapping
        ``device`` and ``precision``.
    """
    key = (backbone.card.name, id(backbone.card), backbone.layers, size, *choices.values())
    if (kept := _sized.get_recent(key)) is not None and kept[0] is backbone.card:
        return kept[1]
    card = load_card(backbone.card, size=size, resize="squash")
    plan = _flat_plan(card, backbone.layers, choices)
    shapes = plans.shapes_of(card, backbone.layers)
    channels = plans.channels_of(card, backbone.layers, shapes)
    last = tuple(channel == 3 for channel in channels)
    ordered = tuple(
        (shape[2], shape[0], shape[1]) if end else tuple(shape) for shape, end in zip(shapes, last, strict=True)
    )
    made = Sized(plan, ordered, last)  # type: ignore[arg-type]  # three axes each, as `_stride` checked
    _sized.keep(key, (backbone.card, made))
    return made


#: Plans by card, layers and size; the card is kept, so that no other has its identity.
_sized: process.Table[Any, tuple[Card, Sized]] = process.Table(256)


def _flat_plan(card: Card, layers: tuple[str, ...], choices: Mapping[str, Any]) -> plans.Plan:
    """Return the plan that keeps every number; nothing wider is shared with a search."""
    chosen = {"layer": list(layers), "pool": "flatten", **choices}
    key = planning.key_of(card, list(layers), ("detection", *choices.values()))
    made = planning.find(key) or planning.make(key, card, **chosen)
    return dataclasses.replace(made.plan, wider=None)
