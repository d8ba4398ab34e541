"""Metadata of the file: all that a program needs that has neither skltransfer nor scikit-learn."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from skltransfer._engine import runtime
from skltransfer._version import __version__
from skltransfer.errors import ExportError, shorten
from skltransfer.export._inputs import Input
from skltransfer.export._outputs import Output

#: Number of the form of the metadata; raised when an entry changes its meaning.
SCHEMA = 1
#: What every entry of ours begins with.
PREFIX = "skltransfer."


def before(inputs: Sequence[Input], outputs: Sequence[Output], choices: Mapping[str, Any]) -> dict[str, str]:
    """Return what is known before the file is compared: inputs, classes, cards, versions, choices."""
    plans = {one.name: one.plan for one in inputs if one.plan is not None}
    classes = {one.name: _plain(one.classes) for one in outputs if one.kind == "label" and one.classes is not None}
    cards = {name: _card(plan) for name, plan in plans.items()}
    return _texts(
        {
            "schema": SCHEMA,
            **choices,
            "task": {one.name: one.kind for one in outputs},
            "classes": classes,
            "inputs": {one.name: _described(one) for one in inputs},
            "card": cards,
            "model_sha256": {name: plan.recipe.graph for name, plan in plans.items()},
            "license": {name: card["license"] for name, card in cards.items()},
            "source": {name: card["source"] for name, card in cards.items()},
            "versions": _versions(),
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
        }
    )


def after(parity: Mapping[str, Any], golden: Mapping[str, Any], beside: Mapping[str, str]) -> dict[str, str]:
    """Return what is known once the file was compared."""
    return _texts({"parity": parity, "golden": golden, "files": dict(beside)})


def _texts(facts: Mapping[str, Any]) -> dict[str, str]:
    return {
        PREFIX + name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in facts.items()
    }


def _plain(classes: npt.NDArray[Any] | None) -> list[Any]:
    values = [] if classes is None else classes.tolist()
    return [one if isinstance(one, str | int | float | bool) else str(one) for one in values]


def _card(plan: Any) -> dict[str, Any]:
    """Return the card of a backbone as the file uses it."""
    card = plan.card.to_dict()
    kept = {name: card.get(name, "") for name in ("name", "modality", "license", "source", "revision")}
    recipe = plan.recipe
    return {
        **kept,
        "input": dataclasses.asdict(recipe.input),
        "layers": list(recipe.layers),
        "pool": recipe.pool,
        "normalize": recipe.normalize,
        "precision": recipe.precision,
    }


def _described(one: Input) -> dict[str, Any]:
    """Return the type and shape of an input, and how it is prepared, in words."""
    explain = None if one.plan is None else one.plan.modality.explain
    words = f"Pass column {one.column!r} as {one.dtype} (batch, 1)."
    if one.form is not None:
        words = one.form.words
    elif one.plan is not None and explain is not None:
        words = explain(one.plan.recipe.input)
    return {"column": one.column, "dtype": one.dtype, "shape": list(one.shape), "preprocessing": words}


def _versions() -> dict[str, str]:
    from importlib import metadata

    import onnx
    import sklearn

    found = {"skltransfer": __version__, "scikit-learn": sklearn.__version__, "onnx": onnx.__version__}
    found["onnxruntime"] = runtime.import_onnxruntime().__version__
    with suppress(metadata.PackageNotFoundError):
        found["skl2onnx"] = metadata.version("skl2onnx")
    return found


#: Rows of `golden`.
GOLDEN = 2


def golden(session: Any, inputs: Sequence[Input], pieces: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """Return inputs that any program can make, and the outputs they had here: a test of another runtime.

    Numbers of images and arrays are ``37 * place % 256``, by their place in C order; tokens and columns are listed.
    """
    feeds: dict[str, npt.NDArray[Any]] = {}
    shown: dict[str, Any] = {}
    for one in inputs:
        rows = min(GOLDEN, *(one.form.batches[-1:] if one.form is not None else (GOLDEN,)))
        feeds[one.name] = batch = one.batch(pieces[one.name][:rows])
        shown[one.name] = batch.tolist()
        if one.form is not None and one.form.pixels:
            shown[one.name] = {"sha256": hashlib.sha256(batch.tobytes()).hexdigest()}
        elif batch.size > MOST_LISTED:
            pattern = (37 * np.arange(batch.size, dtype=np.int64) % 256).reshape(batch.shape)
            feeds[one.name] = pattern.astype(batch.dtype)
            shown[one.name] = {"shape": list(batch.shape), "numbers": "37 * place % 256, in C order"}
    found = session.run(None, feeds)
    names = [one.name for one in session.get_outputs()]
    return {"inputs": shown, "outputs": {n: _rounded(v) for n, v in zip(names, found, strict=True)}}


#: Numbers of an input that metadata list.
MOST_LISTED = 4096


def _rounded(values: npt.NDArray[Any]) -> Any:
    if values.dtype.kind != "f":
        return values.tolist()
    return [[float(f"{n:.7g}") for n in np.ravel(row)] if np.ndim(row) else float(f"{row:.7g}") for row in values]


def tokenizers(inputs: Sequence[Input], path: Path) -> dict[Path, bytes]:
    """Return the files that lie beside an exported file, by their path: one tokenizer.json for each input of tokens."""
    found: dict[Path, bytes] = {}
    for one in inputs:
        if one.plan is None:
            continue
        files = one.plan.files()
        for role in one.plan.modality.needs:
            middle = f"{path.stem}.{role}.json" if not found else f"{path.stem}.{one.name}.{role}.json"
            found[path.with_name(middle)] = files[role].read()
    return found


def digests(files: Mapping[Path, bytes]) -> dict[str, str]:
    """Return the SHA-256 of files by their names."""
    return {path.name: hashlib.sha256(content).hexdigest() for path, content in files.items()}


def read(path: Path) -> dict[str, Any]:
    """Return what our entries of a file's metadata say, without `PREFIX`; empty if there are none.

    Raises
    ------
    ExportError
        If they cannot be read.
    """
    facts = {key.removeprefix(PREFIX): value for key, value in _entries(path) if key.startswith(PREFIX)}
    return {name: _value(name, text) for name, text in facts.items()} if "schema" in facts else {}


#: Field of a model that holds its metadata, and bytes of the largest entry that is looked at.
FIELD, LARGEST = 14, 2**24


def _entries(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the metadata of a file without a look at its graph, which may be a stranger's."""
    from google.protobuf.message import DecodeError
    from onnx import StringStringEntryProto

    size = path.stat().st_size
    with path.open("rb") as file:
        while file.tell() < size:
            tag, length = _varint(file), 0
            if tag & 7 == 2:
                length = _varint(file)
            elif tag & 7 == 0:
                _varint(file)
            else:  # a model has no fields of other kinds: it is none
                return
            if tag >> 3 != FIELD or length > LARGEST:
                file.seek(length, os.SEEK_CUR)
                continue
            try:
                entry = StringStringEntryProto.FromString(file.read(length))
            except DecodeError:
                return
            yield entry.key, entry.value


def _varint(file: BinaryIO) -> int:
    """Read a number as protobuf writes it: seven bits a byte, the lowest first; at most ten bytes."""
    value = 0
    for shift in range(0, 70, 7):
        byte = (file.read(1) or b"\0")[0]
        value |= (byte & 127) << shift
        if byte < 128:
            break
    return value


def _value(name: str, text: str) -> Any:
    if name in PLAIN:
        return text
    try:
        return json.loads(text)
    except ValueError as err:
        raise ExportError(f"Metadata {name!r} is {shorten(repr(text), 100)}, not JSON.") from err


#: Entries that are no JSON.
PLAIN = {"level", "labels", "written", "warning"}
