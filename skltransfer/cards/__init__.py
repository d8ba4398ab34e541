"""Facts: what a backbone is (`Card`) and every choice that changes its numbers (`Recipe`).

The room owns the card format and nothing else: it reads JSON, imports no library, opens no graph and writes no file.

The format carries a number, `SCHEMA`. To change it: raise the number, teach `Card.from_dict` to read the old form
(`UPGRADES` maps an old number to a function on the dictionary), keep a card of every old number in the tests.
"""

from skltransfer.cards._card import (
    NUMERICS,
    POOLS,
    PRECISIONS,
    SCHEMA,
    UPGRADES,
    Card,
    ModelFile,
    Recipe,
    card_path,
    find,
    names,
)
from skltransfer.cards._inputs import (
    COLOURS,
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

__all__ = [
    "COLOURS",
    "INTERPOLATIONS",
    "LAYOUTS",
    "LONG_TEXTS",
    "NUMERICS",
    "POOLS",
    "PRECISIONS",
    "RESIZES",
    "ROUNDINGS",
    "SCHEMA",
    "SPECS",
    "UPGRADES",
    "ArraySpec",
    "Card",
    "ImageSpec",
    "InputSpec",
    "ModelFile",
    "Recipe",
    "TextSpec",
    "card_path",
    "find",
    "names",
]
