"""The first look at a graph: what can be read off it, in a child process with limits if nobody pinned the file.

There are files on which the best libraries crash, never return or fill the memory; only a child can find out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from skltransfer._engine import graph, hub, process, runtime
from skltransfer.cards import Card, GraphInfo
from skltransfer.errors import CardError, LayerError, ModelError, UnsafeModelError

#: Limits of the child that opens an unpinned graph first.
CHILD_SECONDS = 60
CHILD_BYTES = 16 * 2**30


def inspect_model(card: Card) -> GraphInfo:
    """Read off a card's graph what it says; in a child process, once per process and content, if nobody pinned it."""
    path = hub.verified(card)
    return _inspect(path, card.manifest, card.pinned, hub.sha256(path))


@process.memo(64)
def _inspect(path: Path, manifest: tuple[str, ...], pinned: bool, sha256: str) -> GraphInfo:
    return _read(path, manifest) if pinned else _read_in_child(path, manifest)


def _read(path: Path, manifest: Sequence[str]) -> GraphInfo:
    return graph.read(graph.load(path, manifest))


def _read_in_child(path: Path, manifest: Sequence[str]) -> GraphInfo:
    """Let a child with limits read the graph, open it and run it once; refuse the graph if the child dies of it."""
    request = {"limit": CHILD_BYTES, "path": str(path), "manifest": list(manifest)}
    try:
        found = process.run_child("skltransfer._engine.inspection", request, seconds=CHILD_SECONDS)
    except process.ChildFailure as err:
        if err.status is None:
            raise UnsafeModelError(
                f"{path.name!r} was not open after {CHILD_SECONDS} s in a child process; refused."
            ) from None
        raise UnsafeModelError(
            f"{path.name!r} ended the child process that opened it first (exit status {err.status}); refused. "
            f"Its last words: {err.words[-300:]!r}"
        ) from None
    if "error" in found:
        kinds = {kind.__name__: kind for kind in (ModelError, UnsafeModelError, CardError, LayerError)}
        raise kinds.get(found["error"], ModelError)(found["message"])
    return GraphInfo.from_json(found)


def try_graph(limit: int, path: str, manifest: Sequence[str]) -> dict[str, Any]:
    """Read, open and run a graph once, in the child; return what was read, or the error."""
    _limit_memory(limit)
    name, file = Path(path).name, Path(path)
    try:
        info = _read(file, manifest)
        lengths = [n or 8 for n in (info.shape[0] or 1, *info.shape[1:])]
        model = graph.filled(graph.load(file, manifest), info, lengths)
        with hub.scratch(graph.pieces(model)) as scratch:
            session = runtime.Session(scratch, runtime.Device())
        _run_once(session, np.zeros(lengths, info.dtype))
    except MemoryError:
        return {
            "error": "UnsafeModelError",
            "message": f"{name!r} takes more memory than the {limit:,} bytes a graph may when it is first opened.",
        }
    except Exception as err:  # noqa: BLE001 - it is passed on to the parent
        kind = type(err).__name__ if isinstance(err, ModelError) else "ModelError"
        return {"error": kind, "message": str(err) if name in str(err) else f"{name!r}: {err}"}
    return dataclasses.asdict(info)


def _run_once(session: runtime.Session, zeros: np.ndarray) -> None:
    """Run a graph on zeros: it must neither die nor fill the memory; free axes may need other lengths than these."""
    try:
        session.run(zeros)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - whatever it is, the child has survived it
        return


def _limit_memory(limit: int) -> None:
    try:
        import resource
    except ImportError:  # Windows has no such limits
        return
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def resized(card: Card, layers: Sequence[str]) -> GraphInfo:
    """Infer the shapes of layers at the size of the card's input, which is not the one the graph was exported for.

    Raises
    ------
    CardError
        If the graph takes no other size; the message names what stands in the way.
    """
    assert card.input is not None
    return graph.resized(graph.load(hub.verified(card), card.manifest), card.input, layers)


if __name__ == "__main__":
    process.answer(try_graph)
