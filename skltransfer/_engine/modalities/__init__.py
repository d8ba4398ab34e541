"""Kinds of samples, a file or folder each, which ends in one row of the table here: `Modality`.

Everything that differs between kinds is in these rows; the rest of the package asks `of` for the row of a card, an
input specification or a name, and has no branch on the kind. A new kind is one file whose row is given to `register`.
"""

from __future__ import annotations

from skltransfer._engine.modalities._modality import File, Modality, Piece, Preparer, Room
from skltransfer._engine.modalities.array import ARRAY
from skltransfer._engine.modalities.image import IMAGE
from skltransfer._engine.modalities.text import TEXT
from skltransfer.cards import SPECS, GraphInfo, InputSpec
from skltransfer.errors import CardError

__all__ = ["TABLE", "File", "Modality", "Piece", "Preparer", "Room", "guess", "of", "register"]

#: Every kind, in the order in which they are asked whether a graph without a card is theirs.
TABLE: dict[str, Modality] = {}


def register(row: Modality) -> None:
    """Add a kind of sample, asked before the kinds that are there."""
    others = {name: other for name, other in TABLE.items() if name != row.name}
    TABLE.clear()
    TABLE.update({row.name: row, **others})
    SPECS[row.name] = row.spec


for _row in (ARRAY, IMAGE, TEXT):
    register(_row)


def of(kind: str | InputSpec) -> Modality:
    """Return the row of a kind, by its name or its input specification.

    Raises
    ------
    CardError
        If there is no such kind.
    """
    for name, row in TABLE.items():
        if kind == name or type(kind) is row.spec:
            return row
    raise CardError(f"modality is {kind!r}, not one of {', '.join(sorted(TABLE))}.")


def guess(info: GraphInfo) -> str:
    """Return the name of the kind a graph without a card takes."""
    return next(name for name, row in TABLE.items() if row.guess(info))
