"""Texts and graphs: facts of a graph that takes them, and the nodes from token ids to its inputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from skltransfer.cards import Card, GraphInfo, TextSpec
from skltransfer.datasets import load_emoji
from skltransfer.errors import CardError


def guess(info: GraphInfo) -> bool:
    """Return whether the input is named as token ids are."""
    return info.input.endswith("ids")


def complete(card: Card, info: GraphInfo, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that are known; refuse a graph without a tokenizer.

    Raises
    ------
    CardError
        If the card lists no tokenizer.
    """
    if "tokenizer" not in card.files:
        folder = str(card.folder or Path())
        raise CardError(f"{card.name!r} takes token ids; put its tokenizer.json into {folder!r}, beside the graph.")
    return {**(dataclasses.asdict(card.input) if card.input is not None else {}), **given}


#: What a further input of a text encoder holds, by a part of its name.
INPUTS: dict[str, Callable[[Any, str, str], str]] = {
    "mask": lambda editor, ids, mask: mask,
    "type": lambda editor, ids, mask: editor.add("Sub", ids, ids, front=True),  # all of the first segment
    "segment": lambda editor, ids, mask: editor.add("Sub", ids, ids, front=True),
}


def preprocess(editor: Any, spec: TextSpec, info: GraphInfo) -> None:
    """Token ids, padded with -1, to the backbone's inputs: ids, attention mask, token types."""
    samples = editor.set_input("int32", ["tokens"])
    zero, pad = (editor.const(np.array(value, np.int32)) for value in (0, spec.pad))
    real = editor.add("Not", editor.add("Less", samples, zero, front=True), front=True)
    ids = editor.add("Where", real, samples, pad, front=True)
    mask = editor.cast(real, "int32", front=True)
    editor.mask = editor.cast(real, "float32", front=True)
    inputs = {info.input: info.dtype, **info.others}
    makers = {name: next((make for part, make in INPUTS.items() if part in name), None) for name in inputs}
    if list(makers.values()).count(None) != 1:
        raise CardError(
            f"The graph's inputs are {', '.join(inputs)}; one must be token ids, the others an attention mask and "
            "token types ('mask', 'type' or 'segment' in their names)."
        )
    for name, make in makers.items():
        value = ids if make is None else make(editor, ids, mask)
        editor.cast(value, inputs[name], output=name, front=True)


def texts(count: int) -> list[str]:
    """Join names and keywords of emoji to texts of a few to a few hundred words.

    Parameters
    ----------
    count : int
        How many.
    """
    emoji: Any = load_emoji()
    lines = emoji.texts
    return ["; ".join(lines[7 * i : 7 * i + 1 + i**2 % 23]) for i in range(count)]


#: Number of texts to ``"compare"`` two models on, and to ``"measure"`` one with.
COUNTS = {"compare": 48, "measure": 256}


def synthetic(purpose: str) -> list[str]:
    """Return texts for a purpose, see `COUNTS`."""
    return texts(COUNTS[purpose])
