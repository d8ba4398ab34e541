"""Where cards are found: the bundled ones, and those beside a model."""

from __future__ import annotations

import importlib.resources
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from skltransfer.cards._card import Card, ModelFile
from skltransfer.errors import CardError, UnknownModelError, UnsafeModelError, nearest, shorten

#: Files in which transformers and sentence-transformers describe an encoder.
BESIDE = (
    "tokenizer.json",
    "tokenizer_config.json",
    "modules.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
)
#: That of the pooling, in the folder that modules.json names.
POOLING = re.compile(r"[0-9]_Pooling/config\.json")
#: Characters of a card, and how deep its values are nested; those of bundled models have 10,000, and 4.
MAX_LENGTH, MAX_DEPTH = 10_000_000, 16


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
    if model and os.path.isdir(model):
        return _of_folder(Path(model))
    if model.endswith(".onnx") and os.path.isfile(model):
        return _of_graph(Path(model))
    known = names()
    if model in known:  # installers may link the files of a package to a cache of theirs
        return _of_folder(Path(str(importlib.resources.files("skltransfer.models").joinpath(model))), links=True)
    raise UnknownModelError(
        f"There is no model {shorten(repr(model))}: no name of `list_models`, and no .onnx file or card folder of this "
        f"path.{nearest(model, dict.fromkeys([*known, *others]))} Bundled are {' and '.join(known)}; all names: "
        "skltransfer models list"
    )


def card_path(graph: Path) -> Path:
    """Return the path of the card of a single ``.onnx`` file: beside it, as ``NAME.card.json``."""
    return graph.with_suffix(".card.json")


def _of_graph(path: Path, *, links: bool = False) -> Card:
    if card_path(path).is_file():
        return _read(card_path(path), links=links)
    root = _root(path)
    files = {"model": ModelFile(path.relative_to(root).as_posix())}
    found = [file.relative_to(root).as_posix() for file in beside(path) if file.is_file()]
    files.update({"tokenizer" if name == "tokenizer.json" else name: ModelFile(name) for name in found})
    card = Card(name=path.stem, modality="", files=files, folder=root.resolve())
    return card if links else _check_links(card)


def _root(graph: Path) -> Path:
    """Return the folder of a bare graph's model: the one above ``onnx``, as on the Hub, where that describes it."""
    above = graph.parent.parent
    return above if graph.parent.name == "onnx" and os.path.isfile(above / "tokenizer.json") else graph.parent


def beside(graph: Path) -> list[Path]:
    """List the files that may describe a bare graph, whether they are there or not.

    Parameters
    ----------
    graph : Path
        The ``.onnx`` file.

    Returns
    -------
    list of Path
        In the folder of the model; nothing of another folder is looked at.
    """
    root = _root(graph)
    poolings = sorted(root.glob("[0-9]_Pooling/config.json")) if os.path.isdir(root) else []
    return [*(root / name for name in BESIDE), *poolings]


def describes(name: str, home: str) -> bool:
    """Return whether a file of a repository describes the encoders of a folder.

    Parameters
    ----------
    name : str
        Path of the file in the repository.
    home : str
        Path of the folder; "" is the top.
    """
    folder, _, file = name.rpartition("/")
    return (file in BESIDE and folder in ("", home)) or POOLING.fullmatch(name) is not None


def _of_folder(folder: Path, *, links: bool = False) -> Card:
    if (folder / "card.json").is_file():
        return _read(folder / "card.json", links=links)
    graphs = sorted(folder.glob("*.onnx")) or sorted(folder.glob("onnx/model.onnx"))
    if len(graphs) == 1:
        return _of_graph(graphs[0], links=links)
    raise UnknownModelError(
        f"The folder {str(folder)!r} holds no card.json and {len(graphs)} .onnx files; give the path of one file."
    )


def _read(path: Path, *, links: bool = False) -> Card:
    """Read a card; unless `links`, it and its files must lie where they seem to lie."""
    if not links:
        check_link(path)
    try:
        with path.open(encoding="utf8") as file:
            text = file.read(MAX_LENGTH + 1)
        data = json.loads(text)
    except (ValueError, RecursionError) as err:
        raise CardError(f"{str(path)!r} is not JSON: {err}") from err
    if len(text) > MAX_LENGTH or _is_deep(data):
        raise CardError(
            f"{str(path)!r} is longer than {MAX_LENGTH:,} characters, or nested deeper than {MAX_DEPTH}; no card is."
        )
    if not isinstance(data, dict):
        raise CardError(f"{str(path)!r} holds a {type(data).__name__}, not a card.")
    card = Card.from_dict(data, folder=path.parent.resolve(), origin=repr(str(path)))
    return card if links else _check_links(card)


def _is_deep(data: Any) -> bool:
    """Return whether lists and dictionaries are nested deeper than `MAX_DEPTH`."""
    level = [data]
    for _ in range(MAX_DEPTH):
        level = [
            item
            for value in level
            if isinstance(value, dict | list)
            for item in (value.values() if isinstance(value, dict) else value)
        ]
    return any(isinstance(value, dict | list) for value in level)


def _check_links(card: Card) -> Card:
    """Refuse a card whose files are links that lead out of its folder."""
    assert card.folder is not None
    for file in card.files.values():
        check_link(card.folder / file.path, card.folder)
    return card


def check_link(path: Path, folder: Path | None = None) -> None:
    """Refuse a file that a link puts outside a folder: a model of a stranger could name any file of the user.

    Parameters
    ----------
    path : Path
        The file, which need not exist.
    folder : Path, optional
        By default the one it lies in. In a cache of the Hugging Face Hub links to its ``blobs`` are followed.

    Raises
    ------
    UnsafeModelError
        With what to type.
    """
    folder = (folder or path.parent).resolve()
    snapshots = [parent.parent for parent in folder.parents if parent.name == "snapshots"]
    try:
        target = path.resolve()
        if path.is_symlink():
            os.stat(path)  # from Python 3.13 on, links that lead to each other are resolved to one of them
    except FileNotFoundError:  # which `hub` says
        pass
    except (OSError, RuntimeError, ValueError):  # links that lead to each other, names no file can have
        target = Path(os.sep)
    if not any(target.is_relative_to(home) for home in (folder, *(cache / "blobs" for cache in snapshots[:1]))):
        raise UnsafeModelError(
            f"{str(path)!r} is a link that leads out of its folder, to {str(target)!r}, and is not followed; give the "
            f"path of that file, or put a copy in its place: cp --remove-destination {str(target)!r} {str(path)!r}"
        )
