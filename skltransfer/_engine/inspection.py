"""The first look at a graph: what can be read off it, in a child process with limits where nobody we trust pinned it.

There are files on which the best libraries crash, never return or fill the memory; only a child can find out.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import json
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from skltransfer._engine import graph, hub, process
from skltransfer.cards import Card, GraphInfo
from skltransfer.errors import CardError, IntegrityError, LayerError, ModelError, UnsafeModelError

#: Variable that sets how many seconds of CPU a graph may take when it is first opened, and the default.
SECONDS_VARIABLE, SECONDS = "SKLTRANSFER_TRIAL_SECONDS", 10.0
#: Seconds of wall time for each of CPU: a loaded machine must not refuse an honest graph.
PATIENCE = 6
#: Memory of the child, in bytes.
CHILD_BYTES = 16 * 2**30


def trial_seconds() -> float:
    """Return the seconds of CPU a graph may take when it is first opened."""
    try:
        return max(float(os.environ.get(SECONDS_VARIABLE, SECONDS)), 0.1)
    except ValueError as err:
        raise CardError(f"{SECONDS_VARIABLE} is not a number of seconds: {err}.") from err


def inspect_model(card: Card) -> GraphInfo:
    """Read off a card's graph what it says; in a child process first, once per content, unless we or the hub pinned it.

    A pin in a card that came with the model proves nothing: its author pins what he likes. What is bundled with the
    package or was fetched to the store has been tried before.
    """
    return _inspect(*_identified(card, hub.digests(card)), _is_ours(card))


def ensure_tried(card: Card, digests: Mapping[str, str]) -> None:
    """Let a child process open a model before this one does, unless that was done or we or the hub pinned it.

    Parameters
    ----------
    card : Card
        Of the model.
    digests : mapping of str to str
        From `hub.digests`.

    Raises
    ------
    UnsafeModelError
        If the child does not survive it.
    """
    if not _is_ours(card) and not hub.was_tried(_identity(tuple(digests.items()))):
        _inspect(*_identified(card, digests), False)


def trust(card: Card) -> None:
    """Remember that a model needs no trial: this process has built it itself."""
    hub.remember_tried(_identity(tuple(hub.digests(card).items())))


def _identity(digests: tuple[tuple[str, str], ...]) -> str:
    return hashlib.sha256(json.dumps(sorted(digests)).encode()).hexdigest()


def _identified(
    card: Card, digests: Mapping[str, str]
) -> tuple[Path, tuple[str, ...], tuple[tuple[str, str], ...], str | None]:
    """Return path, external files, digests and tokenizer of a model."""
    folder = (card.folder or Path()).resolve()
    tokenizer = card.files.get("tokenizer")
    beside = None if tokenizer is None else str(folder / tokenizer.path)
    return folder / card.files["model"].path, card.manifest, tuple(digests.items()), beside


def _is_ours(card: Card) -> bool:
    bundled = Path(str(importlib.resources.files("skltransfer.models"))).resolve()
    folder = (card.folder or Path()).resolve()
    return card.pinned and (folder.is_relative_to(bundled) or folder.is_relative_to(hub.store_folder().resolve()))


@process.memo(64)
def _inspect(
    path: Path, manifest: tuple[str, ...], digests: tuple[tuple[str, str], ...], tokenizer: str | None, ours: bool
) -> GraphInfo:
    identity = _identity(digests)
    digest = dict(digests)["model"]
    if ours or hub.was_tried(identity):
        info = _read(path, manifest, digest)
        if not info.unknown:
            return info
    info = _read_in_child(path, manifest, digest, tokenizer)
    hub.remember_tried(identity)
    return info


def _read(path: Path, manifest: Sequence[str], sha256: str | None = None) -> GraphInfo:
    def read_bytes(file: Path) -> bytes:
        return process.read_once(file, sha256 if file == path else None)

    return graph.read(graph.load(path, manifest, read_bytes))


def _read_in_child(path: Path, manifest: Sequence[str], sha256: str, tokenizer: str | None) -> GraphInfo:
    """Let a child with limits read the graph, open it and run it; refuse the graph if the child dies of it."""
    seconds = trial_seconds()
    request = {
        "limit": CHILD_BYTES,
        "seconds": seconds,
        "path": str(path),
        "manifest": list(manifest),
        "sha256": sha256,
        "tokenizer": tokenizer,
    }
    too_long = (
        f"{path.name!r} was not open and run after {seconds:g} s of CPU in a child process; refused. To allow more: "
        f"{SECONDS_VARIABLE}={10 * seconds:g}"
    )
    try:
        found = process.run_child("skltransfer._engine.trial", request, seconds=PATIENCE * seconds)
    except process.ChildFailure as err:
        if not err.started:
            raise ModelError(f"{path.name!r} has to be tried in a child process first. {err.machine}") from None
        if err.status is None or err.status == -getattr(signal, "SIGXCPU", 0):
            raise UnsafeModelError(too_long) from None
        raise UnsafeModelError(
            f"{path.name!r} ended the child process that opened it first (exit status {err.status}); refused. "
            f"Its last words: {err.words[-300:]!r}"
        ) from None
    if "error" in found:
        kinds = {kind.__name__: kind for kind in (ModelError, UnsafeModelError, CardError, LayerError, IntegrityError)}
        raise kinds.get(found["error"], ModelError)(found["message"])
    return GraphInfo.from_json(found)


def resized(card: Card, layers: Sequence[str]) -> GraphInfo:
    """Infer the shapes of layers at the size of the card's input, which is not the one the graph was exported for.

    Raises
    ------
    CardError
        If the graph takes no other size; the message names what stands in the way.
    """
    assert card.input is not None
    return graph.resized(graph.load(hub.verified(card), card.manifest), card.input, layers)
