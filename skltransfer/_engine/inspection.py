"""The first look at a graph: its facts, read in a child process with limits if nobody pinned the file.

There are files on which the best libraries crash, never return or fill the memory; only a child can find out.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from skltransfer._engine import graph, hub, runtime
from skltransfer.cards import Card
from skltransfer.errors import CardError, LayerError, ModelError, UnsafeModelError

#: Limits of the child that opens an unpinned graph first.
CHILD_SECONDS = 60
CHILD_BYTES = 16 * 2**30


def inspect_model(card: Card) -> graph.GraphInfo:
    """Read the facts of a card's graph; in a child process, once per process and content, if nobody pinned it."""
    path = hub.verified(card)
    return _inspect(path, card.manifest, card.pinned, hub.sha256(path))


@functools.lru_cache(maxsize=64)
def _inspect(path: Path, manifest: tuple[str, ...], pinned: bool, sha256: str) -> graph.GraphInfo:
    return _facts(path, manifest) if pinned else _facts_from_child(path, manifest)


def _facts(path: Path, manifest: Sequence[str]) -> graph.GraphInfo:
    return graph.read(graph.load(path, manifest))


def _facts_from_child(path: Path, manifest: Sequence[str]) -> graph.GraphInfo:
    """Let a child with limits read the graph, open it and run it once; if it does not survive, the graph is refused."""
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "skltransfer._engine.inspection",
        str(CHILD_BYTES),
        str(path),
        *manifest,
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        child = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=CHILD_SECONDS
        )
    except subprocess.TimeoutExpired as err:
        raise UnsafeModelError(
            f"{path.name!r} was not open after {CHILD_SECONDS} s in a child process; refused."
        ) from err
    try:
        answer = dict(json.loads(child.stdout.splitlines()[-1]))
    except (IndexError, ValueError, TypeError):
        raise UnsafeModelError(
            f"{path.name!r} ended the child process that opened it first (exit status {child.returncode}); refused. "
            f"Its last words: {child.stderr[-300:]!r}"
        ) from None
    if "error" in answer:
        kinds = {kind.__name__: kind for kind in (ModelError, UnsafeModelError, CardError, LayerError)}
        raise kinds.get(answer["error"], ModelError)(answer["message"])
    return graph.GraphInfo.from_json(answer)


def _child(limit: int, path: Path, manifest: Sequence[str]) -> dict[str, Any]:
    """Read, open and run once a graph; what the child prints."""
    _limit_memory(limit)
    try:
        facts = _facts(path, manifest)
        lengths = [n or 8 for n in (facts.shape[0] or 1, *facts.shape[1:])]
        model = graph.filled(graph.load(path, manifest), facts, lengths)
        with hub.scratch(graph.pieces(model)) as file:
            session = runtime.Session(file, runtime.Device())
        _run_once(session, np.zeros(lengths, facts.dtype))
    except MemoryError:
        return {
            "error": "UnsafeModelError",
            "message": f"{path.name!r} takes more memory than the {limit:,} bytes a graph may when it is first opened.",
        }
    except Exception as err:  # noqa: BLE001 - it is passed on to the parent
        kind = type(err).__name__ if isinstance(err, ModelError) else "ModelError"
        return {"error": kind, "message": str(err) if path.name in str(err) else f"{path.name!r}: {err}"}
    return dataclasses.asdict(facts)


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


if __name__ == "__main__":
    print(json.dumps(_child(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])))  # noqa: T201 - the parent reads it
