"""Names for models of the Hugging Face Hub, and their way from an address to a card.

The table is data, ``data/registry.json``: of each name the address, and what a graph cannot say of itself. The hashes
of the files cannot be known before they are fetched; the first fetch records them, and says so.
"""

from __future__ import annotations

import dataclasses
import importlib.resources
import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from skltransfer import cards
from skltransfer._engine import hub, inspection, process
from skltransfer.cards import Card, ModelFile


@process.memo(None)
def table() -> Mapping[str, Mapping[str, Any]]:
    """Read the table of names.

    Returns
    -------
    mapping of str to mapping
        Of each name ``address``, ``modality``, ``columns`` and ``card``: fields as `catalog.load_card` takes them.
        ``classifier`` says that the graph ends in one: what goes into it is the embedding.
    """
    text = importlib.resources.files("skltransfer").joinpath("data/registry.json").read_text("utf8")
    return MappingProxyType(json.loads(text))


def knows(model: str) -> bool:
    """Tell whether a model is a name of the table, or an address of the hub."""
    return model in table() or model.startswith(hub.SCHEME)


def address(model: str) -> hub.Address:
    """Give the address of a name; an address stays what it is."""
    return hub.Address.parse(table()[model]["address"] if model in table() else model)


@process.memo(64)
def find(model: str) -> Card:
    """Find a model, fetching it if this machine has never done so; once per process."""
    return pull(model)


def pull(model: str, *, refresh: bool = False) -> Card:
    """Fetch a model of the hub, or find it in the store; one that is new is opened first in a child process.

    Parameters
    ----------
    model : str
        A name or an address.
    refresh : bool
        Whether to ask the hub even if the store has it.

    Returns
    -------
    Card
        Every file pinned. Its author's card, if one lies beside the graph, else what a graph without a card gets.
    """
    where = address(model)
    pulled = hub.pull(where, check=lambda new: inspection.inspect_model(unpinned(_card(where, new))), refresh=refresh)
    return _card(where, pulled)


def _card(address: hub.Address, pulled: hub.Pulled) -> Card:
    card = cards.find(str(pulled.folder / address.path))
    if not card.pinned:
        files = {}
        for path in sorted(pulled.files, key=lambda path: path.count("/")):  # the nearest tokenizer comes last
            role = {"tokenizer.json": "tokenizer", Path(address.path).name: "model"}.get(Path(path).name, path)
            files[role] = ModelFile(path, pulled.files[path])
        card = dataclasses.replace(card, name=Path(address.repo).name, files=files, folder=pulled.folder)
    return dataclasses.replace(card, source=card.source or str(address), revision=card.revision or pulled.commit)


def known_of(model: str, card: Card) -> dict[str, Any]:
    """Give what the table says of a model, beside its address, as `catalog.load_card` takes it."""
    if model not in table():
        return {}
    entry = table()[model]
    known = {"name": model, "modality": entry["modality"], **entry["card"]}
    return {**known, "layer": inspection.inspect_model(card).features} if entry.get("classifier") else known


def unpinned(card: Card) -> Card:
    """Forget the hashes of a card's files."""
    return dataclasses.replace(card, files={role: ModelFile(file.path) for role, file in card.files.items()})
