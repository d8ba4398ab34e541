"""Save backbones with cards; pinning here opens the graph in this process, hence is fast."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skltransfer._engine import hub, inspection
from skltransfer._engine.catalog import load_card
from skltransfer.cards import Card, ModelFile, card_path
from skltransfer.testing._words import word_tokenizer

if TYPE_CHECKING:
    import onnx
    from tokenizers import Tokenizer


def save_backbone(
    graph: onnx.ModelProto,
    folder: Path,
    name: str = "tiny",
    *,
    files: Sequence[str] = (),
    pin: bool = True,
    **changes: Any,
) -> Path:
    """Save a backbone of images or numbers with its card.

    Parameters
    ----------
    graph : onnx.ModelProto
        From `image_backbone`, `array_backbone` or `make_graph`.
    folder : Path
        Where ``NAME.onnx`` and ``NAME.card.json`` are written; it exists.
    name : str
        Name of the model.
    files : sequence of str
        Files of external data, already in the folder, that the card lists and pins.
    pin : bool
        Whether to write a card at all.
    **changes
        As in ``load_card``, such as ``layer="embedding"``. Images are taken raw and squashed unless said otherwise.

    Returns
    -------
    Path
        Of the graph: what ``PretrainedEmbedder(model=...)`` and ``load_card`` take.
    """
    path = folder / f"{name}.onnx"
    path.write_bytes(graph.SerializeToString())
    if pin:
        card_path(path).write_text(json.dumps(pinned_card(path, *files, **changes).to_dict()))
    return path


def save_text_backbone(
    graph: onnx.ModelProto,
    folder: Path,
    tokenizer: Tokenizer | str | None = None,
    *,
    place: str = "model.onnx",
    **changes: Any,
) -> Path:
    """Save a backbone of texts as a card folder: graph, tokenizer and card.

    Parameters
    ----------
    graph : onnx.ModelProto
        From `text_backbone` or `make_graph`.
    folder : Path
        Made if it does not exist.
    tokenizer : tokenizers.Tokenizer, str or None
        `word_tokenizer` by default; a str is written to tokenizer.json as it is.
    place : str
        Path of the graph inside the folder.
    **changes
        As in ``load_card``, such as ``pool="max"``; by default the embedding is the mean of the graph's first output.

    Returns
    -------
    Path
        Of the folder: what ``PretrainedEmbedder(model=...)`` and ``load_card`` take.
    """
    path = folder / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(graph.SerializeToString())
    text = tokenizer if isinstance(tokenizer, str) else (tokenizer or word_tokenizer()).to_str()
    (folder / "tokenizer.json").write_text(text, "utf8")
    files = {"model": _pinned(folder, place), "tokenizer": _pinned(folder, "tokenizer.json")}
    bare = Card("tiny", "text", files, folder=folder)
    inspection.trust(bare)  # it was built here; a child process to try it first would take seconds
    card = load_card(bare, **{"layer": graph.graph.output[0].name, "pool": "mean", **changes})
    (folder / "card.json").write_text(json.dumps(card.to_dict()), "utf8")
    return folder


def pinned_card(path: Path, *files: str, **changes: Any) -> Card:
    """Return the card of a graph on disk, pinned, and completed from the graph.

    Parameters
    ----------
    path : Path
        Of a graph of images or numbers.
    *files : str
        Files of external data beside it, to be listed and pinned.
    **changes
        As in ``load_card``. Images are taken raw and squashed unless said otherwise.

    Returns
    -------
    Card
        Written nowhere.
    """
    pinned = {role: _pinned(path.parent, role) for role in files}
    bare = Card(path.stem, "", {"model": _pinned(path.parent, path.name), **pinned}, folder=path.parent)
    inspection.trust(bare)  # it was built here; a child process to try it first would take seconds
    defaults = {"preset": "raw", "resize": "squash"} if _takes_images(path) else {}
    return load_card(bare, **{**defaults, **changes})


def _takes_images(path: Path) -> bool:
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    return len(graph.input[0].type.tensor_type.shape.dim) == 4


def _pinned(folder: Path, name: str) -> ModelFile:
    """Describe a file by its name, hash and length."""
    path = folder / name
    return ModelFile(name, hub.sha256(path), path.stat().st_size)
