"""Texts and graphs: facts of a graph that takes them, and the nodes from token ids to its inputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from skltransfer.cards import Card, GraphInfo, TextSpec
from skltransfer.datasets import load_emoji
from skltransfer.errors import CardError

#: Beginnings of the names that exporters give token ids.
TOKENS = ("token", "text")


def signs(info: GraphInfo, files: Collection[str]) -> list[str]:
    """List the signs that a graph takes token ids: two axes and the name, a mask, a tokenizer beside it."""
    if len(info.shape) != 2 or np.dtype(info.dtype).kind not in "iuf":
        return []
    named = info.input.endswith("ids") or info.input.lower().startswith(TOKENS)
    masked = np.dtype(info.dtype).kind in "iu" and any("mask" in name for name in info.others)
    found = [f"an input {info.input!r}"] * named + ["an attention mask"] * masked
    return found + ["a tokenizer beside the graph"] * ("tokenizer" in files)


def complete(card: Card, info: GraphInfo, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that are known; refuse a graph without a tokenizer.

    Raises
    ------
    CardError
        If the card lists no tokenizer.
    """
    if "tokenizer" not in card.files:
        folder = str(card.folder or Path())
        raise CardError(
            f"{card.name!r} takes token ids; put its tokenizer.json into {folder!r}, beside the graph. If "
            f"{info.input!r} holds other numbers, say so: load_card(FILE, modality='array'), or skltransfer models "
            "card FILE --modality array"
        )
    return {**(dataclasses.asdict(card.input) if card.input is not None else {}), **given}


def _positions(editor: Any, ids: str, mask: str) -> str:
    """Count the tokens that are no padding, from zero on; padding has position zero."""
    count = editor.add("CumSum", mask, editor.const(np.array(1)), front=True)
    zero, one = (editor.const(np.array(value, np.int32)) for value in (0, 1))
    real = editor.add("Greater", mask, zero, front=True)
    return str(editor.add("Where", real, editor.add("Sub", count, one, front=True), zero, front=True))


#: What a further input of a text encoder holds, by a part of its name.
INPUTS: dict[str, Callable[[Any, str, str], str]] = {
    "position": _positions,
    "mask": lambda editor, ids, mask: mask,
    "type": lambda editor, ids, mask: editor.add("Sub", ids, ids, front=True),  # all of the first segment
    "segment": lambda editor, ids, mask: editor.add("Sub", ids, ids, front=True),
}


def check(spec: TextSpec, info: GraphInfo) -> None:
    """Refuse a graph whose input holds no token ids; names of the others are checked where they are fed.

    Raises
    ------
    CardError
        With its type and shape.
    """
    if any(part in info.input for part in INPUTS):
        raise CardError(
            f"The graph's inputs are {', '.join((info.input, *info.others))}; one must be token ids, and none is by "
            "its name."
        )
    if len(info.shape) != 2 or np.dtype(info.dtype).kind not in "iuf":
        raise CardError(
            f"The graph's input {info.input!r} has the shape {info.shape} and holds {info.dtype}; token ids "
            "have two axes."
        )


def preprocess(editor: Any, spec: TextSpec, info: GraphInfo) -> None:
    """Token ids, padded with -1, to the backbone's inputs: ids, attention mask, token types."""
    samples = editor.set_input("int32", ["tokens"])
    zero, pad = (editor.const(np.array(value, np.int32)) for value in (0, spec.pad))
    real = editor.add("Not", editor.add("Less", samples, zero, front=True), front=True)
    ids = editor.add("Where", real, samples, pad, front=True)
    mask = editor.cast(real, "int32", front=True)
    editor.mask = editor.cast(real, "float32", front=True)
    inputs = {info.input: info.dtype, **info.others}
    makers = {name: next((make for part, make in INPUTS.items() if part in name), None) for name in info.others}
    if foreign := [name for name, make in makers.items() if make is None]:
        raise CardError(
            f"The graph's inputs are {', '.join(inputs)}; one must be token ids, the others an attention mask, token "
            f"types or positions ('mask', 'type', 'segment' or 'position' in their names), and {foreign[0]!r} is none. "
            f"Fix it if it is the same for every text: load_card(FILE, constants={{{foreign[0]!r}: 0}}), or "
            f"skltransfer models card FILE --constant {foreign[0]}=0; or choose a layer that does not need it."
        )
    for name, make in {info.input: None, **makers}.items():
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


def explain(spec: TextSpec) -> str:
    """Describe in words how a text becomes the tokens that an exported file takes."""
    before = f"Put {spec.prefix!r} before it. " if spec.prefix else ""
    case = {None: "", True: "Lower-case it. ", False: "Do not lower-case it. "}[spec.lowercase]
    filled = f"Fill up to {spec.max_length} with {spec.pad}. " if spec.fill else ""
    return (
        f"{before}{case}Cut the text into token ids with the tokenizer.json beside the file, with its special tokens, "
        f"at most {spec.max_length}, longer texts cut off on the {spec.truncation}. {filled}Special tokens written in "
        "the text are plain text. Pass int32 (batch, tokens), shorter texts of a batch filled up with -1."
    )
