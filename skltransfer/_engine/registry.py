"""Names of models on the Hugging Face Hub, and the cards of fetched models.

The table is data, ``data/registry.json``: for each name the address, and the fields of the card that a graph does not
contain. Hashes of the files are unknown before they are fetched; the first fetch records them and warns.
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
from skltransfer.errors import DownloadError


@process.memo(None)
def table() -> Mapping[str, Mapping[str, Any]]:
    """Read the table of names.

    Returns
    -------
    mapping of str to mapping
        For each name ``address``, ``modality``, ``columns`` and ``card``: fields as `catalog.load_card` takes them.
        With ``classifier`` the graph ends in a classifier, and the embedding is the input of its last layer.
    """
    text = importlib.resources.files("skltransfer").joinpath("data/registry.json").read_text("utf8")
    return MappingProxyType(json.loads(text))


def knows(model: str) -> bool:
    """Check whether a model is a name of the table or an address of the hub."""
    return model in table() or model.startswith(hub.SCHEME)


def address(model: str) -> hub.Address:
    """Return the address of a name or of an address."""
    return hub.Address.parse(table()[model]["address"] if model in table() else model)


@process.memo(64)
def find(model: str) -> Card:
    """Return the card of a model, fetching it if it is not in the store; done once per process."""
    return pull(model)


def pull(model: str, *, refresh: bool = False) -> Card:
    """Return the card of a model of the hub, fetching it if it is not in the store.

    A new model is inspected in a child process before it is used.

    Parameters
    ----------
    model : str
        A name or an address.
    refresh : bool
        Whether to ask the hub even if the model is in the store.

    Returns
    -------
    Card
        With every file pinned. If the repository has a card beside the graph, that card; else the one that a graph
        without a card gets.
    """
    where = address(model)

    def check(new: hub.Pulled) -> None:
        inspection.inspect_model(unpinned(_card(where, new)))

    try:
        pulled = hub.pull(where, check=check, refresh=refresh)
    except DownloadError as err:
        if model not in table():
            raise
        raise DownloadError(f"{model!r}, which is {err}", err.status) from None
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
    """Return the fields of the table for a model, without its address, as `catalog.load_card` takes them."""
    if model not in table():
        return {}
    entry = table()[model]
    known = {"name": model, "modality": entry["modality"], **entry["card"]}
    return {**known, "layer": inspection.inspect_model(card).features} if entry.get("classifier") else known


def unpinned(card: Card) -> Card:
    """Return the card without the hashes of its files."""
    return dataclasses.replace(card, files={role: ModelFile(file.path) for role, file in card.files.items()})
