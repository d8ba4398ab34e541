"""Golden rows: the rows of three probe samples, recorded in a card so that drift is noticed; and writing cards."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from skltransfer import cards
from skltransfer._engine import hub, plan, registry, runtime, stream
from skltransfer.cards import Card, ModelFile
from skltransfer.errors import CardError


def write_card(card: Card, path: Path | None = None) -> Path:
    """Pin a completed card's files, record its golden rows, and write it.

    Parameters
    ----------
    card : Card
        From `load_card`.
    path : Path, optional
        Where to; by default beside the graph, as ``NAME.card.json``.

    Returns
    -------
    Path
        The file written.
    """
    folder = card.folder or Path()
    Card.from_dict(json.loads(json.dumps(card.to_dict())), origin="The card")  # what is written can be read
    hub.verified(registry.unpinned(card))
    files = {role: _pinned(file, folder) for role, file in card.files.items()}
    card = dataclasses.replace(card, files=files)
    card = dataclasses.replace(card, golden=golden(card))
    path = path or cards.card_path(folder / files["model"].path)
    hub.write(path, json.dumps(card.to_dict(), indent=1) + "\n")
    return path


def _pinned(file: ModelFile, folder: Path) -> ModelFile:
    path = folder / file.path
    return ModelFile(file.path, hub.sha256(path), path.stat().st_size)


#: Numbers of each golden row that a card keeps.
GOLDEN_NUMBERS = 16


def golden(card: Card, device: runtime.Device | None = None) -> dict[str, Any]:
    """Embed the probe samples: the rows a card records so that drift is noticed.

    Parameters
    ----------
    card : Card
        Completed.
    device : runtime.Device, optional
        The CPU by default.

    Returns
    -------
    dict
        ``rows``: the first numbers of three rows, and ``norms``: their lengths. Empty if the input has free axes.
    """
    made = plan.make(card, device or runtime.Device())
    if made.modality.numeric:
        return {}
    rows = stream.open_backbone(made).run(made.preparer().probe(None)).astype(float)
    rows = rows.reshape(len(rows), -1)
    return {
        "rows": [[round(number, 6) for number in row[:GOLDEN_NUMBERS]] for row in rows.tolist()],
        "norms": [round(number, 6) for number in np.linalg.norm(rows, axis=1).tolist()],
    }


def drift(card: Card, device: runtime.Device | None = None) -> float:
    """Compare this machine's golden rows with the card's.

    Returns
    -------
    float
        Largest difference, relative to the largest number of the card's rows.

    Raises
    ------
    CardError
        If the card has no golden rows.
    """
    if not card.golden:
        raise CardError(f"The card of {card.name!r} has no golden rows; write it again with: skltransfer models card")
    want = np.array(card.golden["rows"])
    have = np.array(golden(card, device)["rows"])
    if have.shape != want.shape:
        raise CardError(f"The golden rows of {card.name!r} have the shape {want.shape}, its graph's {have.shape}.")
    return float(np.abs(have - want).max() / max(float(np.abs(want).max()), 1e-12))
