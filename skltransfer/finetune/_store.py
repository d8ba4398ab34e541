"""Tuned backbones as card folders: in the store, found by a key of all that decides them, and where the user says."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from skltransfer._engine import catalog, golden, graph, hub, inspection
from skltransfer._engine.plan import Plan
from skltransfer.cards import Card, ModelFile
from skltransfer.errors import TuningError
from skltransfer.finetune import _adapters, _cuts
from skltransfer.finetune._adapters import Weights

#: Raised when training gives other weights for the same choices; older ones are trained again.
VERSION = 2
#: Holds the trained weights beside the graph.
DELTA = "delta.npz"
#: Tuned backbones that are kept in the store; the oldest go.
MOST = 200


def key_of(choices: Any, *arrays: npt.NDArray[Any]) -> str:
    """Return a fingerprint of all that decides a training: 32 hexadecimal digits."""
    digest = hashlib.blake2b(json.dumps([VERSION, choices], sort_keys=True, default=str).encode(), digest_size=16)
    for array in arrays:
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).view(np.uint8).reshape(-1).data)
    return digest.hexdigest()


def place(key: str) -> Path:
    """Return the folder of a tuned backbone in the store."""
    return hub.store_folder() / "tuned" / key


def kept(key: str) -> dict[str, npt.NDArray[np.float32]] | None:
    """Return the weights that were trained under a key, or None."""
    try:
        with np.load(place(key) / DELTA, allow_pickle=False) as held:
            return {str(name): held[f"arr_{number}"] for number, name in enumerate(held["names"])}
    except (OSError, ValueError, KeyError):
        return None


def keep(key: str, plan: Plan, tuned: Weights, cut: str, facts: Mapping[str, Any]) -> Path:
    """Write a tuned backbone to the store, unless it is there, and return its folder."""
    folder = place(key)
    if not (folder / "card.json").is_file():
        folder.parent.mkdir(parents=True, exist_ok=True)
        _write(folder, plan, tuned, cut, facts)
        _sweep(folder.parent)
    return folder


def save(folder: Path, plan: Plan, tuned: Weights, cut: str, facts: Mapping[str, Any]) -> None:
    """Write a tuned backbone where the user says.

    Raises
    ------
    TuningError
        If the folder exists, or the one it is to be in does not.
    """
    if folder.exists():
        raise TuningError(f"{str(folder)!r} exists; name a folder that does not.")
    if not folder.absolute().parent.is_dir():
        raise TuningError(f"There is no folder {str(folder.absolute().parent)!r} to write {folder.name!r} to.")
    _write(folder, plan, tuned, cut, facts)


def _write(folder: Path, plan: Plan, tuned: Weights, cut: str, facts: Mapping[str, Any]) -> None:
    """Write graph, further files, weights and card to a temporary folder, and rename it."""
    with tempfile.TemporaryDirectory(dir=folder.absolute().parent, prefix=f".{folder.name}-") as temporary:
        made = Path(temporary) / folder.name
        made.mkdir()
        model, parts = plan.load(), _cuts.taken_apart(plan)
        tail = parts.tail(cut)
        assert tail is not None
        graph.write_back(model, _adapters.whole(tuned, parts), tail.behind)
        with (made / "model.onnx").open("wb") as file:
            file.writelines(graph.pieces(model))
            file.flush()
            os.fsync(file.fileno())
        np.savez(made / DELTA, *tuned.values(), names=np.array([*tuned]))
        card = _card(made, plan, facts)
        inspection.trust(card)
        golden.write_card(card, made / "card.json")
        with suppress(OSError):  # another process was first
            made.rename(folder)


def _card(folder: Path, plan: Plan, facts: Mapping[str, Any]) -> Card:
    """Return the card of a tuned backbone: its parent's, license included, without figures that are no longer true."""
    parent = plan.card
    files = {"model": ModelFile("model.onnx")}
    for role in plan.modality.needs:
        assert parent.folder is not None
        shutil.copy(parent.folder / parent.files[role].path, folder / Path(parent.files[role].path).name)
        files[role] = ModelFile(Path(parent.files[role].path).name)
    told = ", ".join(f"{name} {value}" for name, value in facts.items())
    own: dict[str, Any] = {
        "name": f"{parent.name}-tuned",
        "files": files,
        "folder": folder,
        "input": plan.recipe.input,
        "source": f"fine-tuned from {parent.name} (SHA-256 {plan.recipe.graph}): {told}",
        **{"golden": {}, "measured": {}, "replaces": (), "revision": ""},
    }
    return catalog.load_card(dataclasses.replace(parent, **own))


def _sweep(home: Path) -> None:
    """Remove the tuned backbones that were written first, beyond `MOST`."""
    folders = sorted((path for path in home.iterdir() if path.name[0] != "."), key=lambda path: path.stat().st_mtime)
    for path in folders[:-MOST]:
        shutil.rmtree(path, ignore_errors=True)
