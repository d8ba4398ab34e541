"""Kinds of samples, a file or folder each, which ends in one row of the table here: `Modality`.

Everything that differs between kinds is in these rows; the rest of the package asks `of` for the row of a card, an
input specification or a name, and has no branch on the kind. A new kind is one file whose row is given to `register`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

from skltransfer._engine.modalities._modality import File, Modality, Piece, Preparer, Room
from skltransfer._engine.modalities.array import ARRAY
from skltransfer._engine.modalities.image import IMAGE
from skltransfer._engine.modalities.text import TEXT
from skltransfer.cards import SPECS, GraphInfo, InputSpec
from skltransfer.errors import CardError

__all__ = ["TABLE", "File", "Modality", "Piece", "Preparer", "Room", "guess", "meant", "of", "register"]

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


def meant(given: Mapping[str, Any]) -> str:
    """Return the one kind whose input has the fields, or the preset, that a caller gives; empty if none or several."""
    shared = set.intersection(*(_fields(row) for row in TABLE.values()))
    found = [
        name
        for name, row in TABLE.items()
        if (_fields(row) & given.keys()) - shared or given.get("preset") in row.presets
    ]
    return found[0] if len(found) == 1 else ""


def _fields(row: Modality) -> set[str]:
    return {field.name for field in dataclasses.fields(row.spec)}


def guess(info: GraphInfo, files: Collection[str] = ()) -> str:
    """Return the name of the kind a graph without a card takes, by all signs together.

    Parameters
    ----------
    info : GraphInfo
        Of the part of the graph that is used.
    files : collection of str
        Roles of the files beside it.

    Raises
    ------
    CardError
        If the signs disagree.
    """
    found = {name: signs for name, row in sorted(TABLE.items()) if (signs := row.signs(info, files))}
    if not found:
        return next(name for name, row in TABLE.items() if row.numeric)
    if len(found) == 1:
        return next(iter(found))
    listed = "; ".join(f"{name}: {', '.join(signs)}" for name, signs in found.items())
    some = next(iter(found))
    raise CardError(
        f"The graph takes {info.input!r} {info.shape} of {info.dtype}, which could be {' or '.join(found)} ({listed}). "
        f"Say which: load_card(FILE, modality={some!r}), or skltransfer models card FILE --modality {some}"
    )
