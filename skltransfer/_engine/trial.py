"""The child process that opens a model first: it reads, opens and runs a graph, within limits, and may die of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from skltransfer._engine import graph, hub, process, runtime
from skltransfer._engine.modalities import File, text
from skltransfer.cards import GraphInfo, TextSpec
from skltransfer.errors import ModelError

#: Length of an axis that the graph leaves free.
FREE = 8


def try_model(
    limit: int, seconds: float, path: str, manifest: Sequence[str], sha256: str | None, tokenizer: str | None
) -> dict[str, Any]:
    """Read, open and run a graph, and use its tokenizer; return what was read, or the error.

    Parameters
    ----------
    limit : int
        Bytes of memory.
    seconds : float
        Of CPU.
    path, tokenizer : str
        Files of the model.
    manifest : sequence of str
        Names of its external data.
    sha256 : str or None
        Of the graph.
    """
    limit, whose = _set_limits(limit, seconds)
    name, file = Path(path).name, Path(path)

    def read_bytes(one: Path) -> bytes:
        return process.read_once(one, sha256 if one == file else None)

    try:
        model = graph.load(file, manifest, read_bytes)
        info = graph.read(model)
        if info.unknown:
            info = graph.read(model, _measured(graph.load(file, manifest, read_bytes), info))
        lengths = [n or FREE for n in (info.shape[0] or 1, *info.shape[1:])]
        with hub.scratch(graph.pieces(graph.filled(model, info, lengths))) as scratch:
            session = runtime.Session(scratch, runtime.Device())
        for samples in _samples(info, lengths):
            _run_once(session, samples)
        if tokenizer is not None:
            _use_tokenizer(Path(tokenizer))
    except MemoryError:
        return {
            "error": "UnsafeModelError" if whose == "ours" else "ModelError",
            "message": f"{name!r} takes more memory than the {limit:,} bytes "
            + ("a graph may when it is first opened." if whose == "ours" else "this machine lets it use (ulimit -v)."),
        }
    except Exception as err:  # noqa: BLE001 - it is passed on to the parent
        kind = type(err).__name__ if isinstance(err, ModelError) else "ModelError"
        return {"error": kind, "message": str(err) if name in str(err) else f"{name!r}: {err}"}
    return dataclasses.asdict(info)


#: Lengths that are tried for the free axes of a graph whose tensors are measured: images are not 8 pixels wide.
WIDTHS = (8, 32, 64, 224)


def _measured(model: Any, info: GraphInfo) -> graph.Measured:
    """Run a graph twice, with other lengths, to see the shapes that inference cannot tell; none if it does not run."""
    with hub.scratch(graph.pieces(graph.shaped(model, info.unknown))) as scratch:
        opened = runtime.OpenGraph(scratch)
    told = [name for name in info.unknown if opened.types.get(name)]
    for width in WIDTHS:
        for other in (2 * width, width):
            runs = [_shapes(opened, info, told, *lengths) for lengths in ((2, width), (3, other))]
            if all(shapes for _, shapes in runs):
                return graph.shapes_of(told, opened.types, runs)
    return {}


def _shapes(
    opened: runtime.OpenGraph, info: GraphInfo, names: Sequence[str], batch: int, width: int
) -> tuple[int, dict[str, np.ndarray]]:
    """Run a graph on samples of some lengths; return their number, and the shapes of tensors: none if it fails."""
    lengths = [n or width for n in (info.shape[0] or batch, *info.shape[1:])]
    ones = {name: graph.beside(info, name, lengths) for name in opened.inputs}
    feeds = {name: value * 0.5 if value.dtype.kind == "f" else value for name, value in ones.items()}
    feeds = {name: value.astype(ones[name].dtype) for name, value in feeds.items()}
    try:
        found = opened.run(feeds, [graph.SHAPE_OF + name for name in names])
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - it does not take these lengths
        return lengths[0], {}
    return lengths[0], {name.removeprefix(graph.SHAPE_OF): shape for name, shape in found.items()}


def _samples(info: GraphInfo, lengths: Sequence[int]) -> Iterator[np.ndarray]:
    """Yield inputs of different kinds: a loop whose length depends on the data ends at once on zeros."""
    random = np.random.default_rng(0)
    whole = np.dtype(info.dtype).kind in "iu"
    for values in (
        np.zeros(lengths),
        np.ones(lengths),
        random.integers(0, 256, lengths),
        random.normal(size=lengths) if not whole else random.integers(0, 1000, lengths),
    ):
        yield values.astype(info.dtype)


def _run_once(session: runtime.Session, samples: np.ndarray) -> None:
    """Run a graph: it must neither die nor fill the memory; free axes may need other lengths than these."""
    try:
        session.run(samples)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - whatever it is, the child has survived it
        return


def _use_tokenizer(path: Path) -> None:
    """Open a tokenizer and encode with it: it must not panic, nor grow without end. That it is none is said later."""
    opened = text.open_tokenizer(File(path, hub.sha256(path)), TextSpec())
    opened.encode_batch([*text.PROBES, "", "a" * 10_000, "\u2028\U0001f600 " * 1000])


def _set_limits(memory: int, seconds: float) -> tuple[int, str]:
    """Limit this process, as far as the system lets it be limited; return bytes of memory and whose limit they are."""
    try:
        import resource
    except ImportError:  # Windows has no such limits; the parent ends the child at the deadline
        return memory, "ours"
    for name, wanted in (("RLIMIT_AS", memory), ("RLIMIT_CPU", int(np.ceil(seconds))), ("RLIMIT_CORE", 0)):
        _, hard = resource.getrlimit(getattr(resource, name))
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        try:
            resource.setrlimit(getattr(resource, name), (most, hard))
        except (ValueError, OSError):  # macOS refuses RLIMIT_AS; what is not limited is still ended at the deadline
            continue
    found, _ = resource.getrlimit(resource.RLIMIT_AS)
    return (memory, "ours") if found in (memory, resource.RLIM_INFINITY) else (found, "the machine's")


if __name__ == "__main__":
    process.answer(try_model)
