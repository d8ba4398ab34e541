"""GraphInfo: what a backbone is (`Card`) and every choice that changes its numbers (`Recipe`).

The room owns the card format and nothing else: it reads JSON, imports no library, opens no graph and writes no file.

The format carries a number, `SCHEMA`; `_card` says how to change it.
"""

from skltransfer.cards._card import POOLS, PRECISIONS, SCHEMA, UPGRADES, Card, ModelFile
from skltransfer.cards._find import card_path, check_link, find, names
from skltransfer.cards._graph import GraphInfo, Shape
from skltransfer.cards._inputs import (
    COLORS,
    INTERPOLATIONS,
    LAYOUTS,
    LONG_TEXTS,
    RESIZES,
    ROUNDINGS,
    SPECS,
    ArraySpec,
    ImageSpec,
    InputSpec,
    TextSpec,
)
from skltransfer.cards._recipe import Axes, Recipe, spatial_axes
from skltransfer.cards._renamed import GONE, RenamedFields

__all__ = [
    "COLORS",
    "GONE",
    "INTERPOLATIONS",
    "LAYOUTS",
    "LONG_TEXTS",
    "POOLS",
    "PRECISIONS",
    "RESIZES",
    "ROUNDINGS",
    "SCHEMA",
    "SPECS",
    "UPGRADES",
    "ArraySpec",
    "Axes",
    "Card",
    "GraphInfo",
    "ImageSpec",
    "InputSpec",
    "ModelFile",
    "Recipe",
    "RenamedFields",
    "Shape",
    "TextSpec",
    "card_path",
    "check_link",
    "find",
    "names",
    "spatial_axes",
]
