"""Cards: the description of a backbone (`Card`) and every choice that changes its numbers (`Recipe`).

The room owns the card format and nothing else: it reads JSON, imports no library, opens no graph and writes no file.

The format carries a number, `SCHEMA`; `_card` says how to change it.
"""

# Names in `__all__` are public; the others, imported `as` themselves, are for the rooms above.
from skltransfer.cards._card import ASKED as ASKED
from skltransfer.cards._card import POOLS as POOLS
from skltransfer.cards._card import PRECISIONS as PRECISIONS
from skltransfer.cards._card import SCHEMA, Card, ModelFile
from skltransfer.cards._card import UPGRADES as UPGRADES
from skltransfer.cards._card import mistakes_of_tables as mistakes_of_tables
from skltransfer.cards._find import beside as beside
from skltransfer.cards._find import card_path
from skltransfer.cards._find import check_link as check_link
from skltransfer.cards._find import describes as describes
from skltransfer.cards._find import find as find
from skltransfer.cards._find import names as names
from skltransfer.cards._graph import BESIDE as BESIDE
from skltransfer.cards._graph import GraphInfo as GraphInfo
from skltransfer.cards._graph import InputInfo as InputInfo
from skltransfer.cards._graph import Shape as Shape
from skltransfer.cards._graph import main_input as main_input
from skltransfer.cards._inputs import COLORS as COLORS
from skltransfer.cards._inputs import DTYPES as DTYPES
from skltransfer.cards._inputs import INTERPOLATIONS as INTERPOLATIONS
from skltransfer.cards._inputs import LAYOUTS as LAYOUTS
from skltransfer.cards._inputs import LONG_TEXTS as LONG_TEXTS
from skltransfer.cards._inputs import RESIZES as RESIZES
from skltransfer.cards._inputs import ROUNDINGS as ROUNDINGS
from skltransfer.cards._inputs import SPECS as SPECS
from skltransfer.cards._inputs import ArraySpec, ImageSpec, InputSpec, TextSpec
from skltransfer.cards._recipe import Axes as Axes
from skltransfer.cards._recipe import Recipe
from skltransfer.cards._recipe import spatial_axes as spatial_axes
from skltransfer.cards._renamed import GONE as GONE
from skltransfer.cards._renamed import RenamedFields as RenamedFields

__all__ = [
    "SCHEMA",
    "ArraySpec",
    "Card",
    "ImageSpec",
    "InputSpec",
    "ModelFile",
    "Recipe",
    "TextSpec",
    "card_path",
]
