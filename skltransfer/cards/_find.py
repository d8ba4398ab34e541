"""Where cards are found: the bundled ones, and those beside a model."""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Iterable
from pathlib import Path

from skltransfer.cards._card import Card, ModelFile
from skltransfer.errors import CardError, UnknownModelError, nearest


def names() -> list[str]:
    """List the names of the bundled backbones, sorted."""
    root = importlib.resources.files("skltransfer.models")
    return sorted(entry.name for entry in root.iterdir() if entry.joinpath("card.json").is_file())


def find(model: str, others: Iterable[str] = ()) -> Card:
    """Find the card of a model, by name or by path; read nothing but JSON.

    Parameters
    ----------
    model : str
        A registered name, a card folder, or an ``.onnx`` file (its card is ``FILE.card.json`` beside it; a graph
        without a card gets a bare one, with no pinned file and no input).
    others : iterable of str
        Names that are known elsewhere, for the message.

    Returns
    -------
    Card

    Raises
    ------
    UnknownModelError
        If there is no such thing; the message has the nearest names.
    CardError
        If the card cannot be read.
    """
    path = Path(model)
    if path.suffix == ".onnx" and path.is_file():
        return _of_graph(path)
    if path.is_dir():
        return _of_folder(path)
    known = names()
    if model in known:
        return _of_folder(Path(str(importlib.resources.files("skltransfer.models").joinpath(model))))
    raise UnknownModelError(
        f"There is no model {model!r}: not a registered name ({', '.join(known)}), nor an .onnx file or card folder "
        f"that exists.{nearest(model, [*known, *others])} List the names with: skltransfer models list"
    )


def card_path(graph: Path) -> Path:
    """Return the path of the card of a single ``.onnx`` file: beside it, as ``NAME.card.json``."""
    return graph.with_suffix(".card.json")


def _of_graph(path: Path) -> Card:
    if card_path(path).is_file():
        return _read(card_path(path))
    files = {"model": ModelFile(path.name)}
    if (path.parent / "tokenizer.json").is_file():
        files["tokenizer"] = ModelFile("tokenizer.json")
    return Card(name=path.stem, modality="", files=files, folder=path.resolve().parent)


def _of_folder(folder: Path) -> Card:
    if (folder / "card.json").is_file():
        return _read(folder / "card.json")
    graphs = sorted(folder.glob("*.onnx"))
    if len(graphs) == 1:
        return _of_graph(graphs[0])
    raise UnknownModelError(
        f"The folder {str(folder)!r} holds no card.json and {len(graphs)} .onnx files; give the path of one file."
    )


def _read(path: Path) -> Card:
    try:
        data = json.loads(path.read_text("utf8"))
    except ValueError as err:
        raise CardError(f"{str(path)!r} is not JSON: {err}") from err
    if not isinstance(data, dict):
        raise CardError(f"{str(path)!r} holds a {type(data).__name__}, not a card.")
    return Card.from_dict(data, folder=path.resolve().parent, origin=repr(str(path)))
