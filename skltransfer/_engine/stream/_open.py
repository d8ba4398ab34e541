"""From a card and a recipe to an open session that has proved itself on three probe rows."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from skltransfer._engine import graph, hub, runtime
from skltransfer._engine.stream._prepare import PREPARERS, Plan
from skltransfer.cards import Card
from skltransfer.errors import DeviceError, ModelError, ModelWarning, ProbeError

#: How much rows of the same sample may differ, relative to the largest number, alone and in a batch. Single-precision
#: sums in another order stay far below the first; GPUs multiply with fewer bits, and so do float16 graphs.
TOLERANCE = {"cpu": 1e-4, "cuda": 2e-2, "tensorrt": 2e-2}


def open_backbone(plan: Plan, like: npt.NDArray[Any] | None = None) -> runtime.Session:
    """Give the session of a plan: the open one of this process, or a new one that passed the probe.

    Parameters
    ----------
    plan : Plan
        What to run, and where: of several devices the first.
    like : ndarray, optional
        A prepared sample, for backbones whose input has free axes.

    Returns
    -------
    runtime.Session

    Raises
    ------
    ModelError
        If the graph cannot be built, or its rows are no embeddings.
    DeviceError
        If it cannot run on the device.
    """
    plan = plan._replace(device=plan.device.each()[0])
    return runtime.session(plan.recipe.key, plan.device, lambda: _open(plan, like))


def _open(plan: Plan, like: npt.NDArray[Any] | None) -> runtime.Session:
    """Open and probe; a batch size frozen at export is freed if that is sound, kept if it is not."""
    preparer = PREPARERS[type(plan.recipe.input)](plan)
    samples = preparer.probe(like)
    tolerance, first = TOLERANCE[plan.device.kind], preparer.first(samples)
    try:
        session = _session(plan, batch=None)
        dependent = probe(session, samples, first, tolerance)
    except (ModelError, DeviceError):
        if graph.read(_load(plan)).frozen_batch is None:
            raise
        dependent = "its batch size was frozen when it was exported, and cannot be freed"
    if not dependent:
        return session
    model = _load(plan)
    if (frozen := graph.read(model).frozen_batch) is not None:
        session = _session(plan, batch=frozen)
        dependent = probe(session, samples, first, tolerance)
    if dependent:
        _warn_dependent(plan.card, dependent, {node.op_type for node in model.graph.node})
        session.fix_batch(session.batch or 1, most=1)
    return session


def _load(plan: Plan) -> Any:
    return graph.load(hub.verified(plan.card), plan.card.manifest)


def _session(plan: Plan, batch: int | None) -> runtime.Session:
    """Open a plan's graph, its batch axis free or of that length.

    It is opened from a file: of bytes ONNX Runtime would keep a copy, as large as all weights, for as long as it lives.
    """
    with hub.scratch(_built(plan, free_batch=batch is None)) as file:
        engines = hub.engine_folder(plan.recipe.key) if plan.device.kind == "tensorrt" else None
        allow_tf32 = plan.recipe.precision != "fp32"
        return runtime.Session(file, plan.device, batch=batch, allow_tf32=allow_tf32, engines=engines)


def _built(plan: Plan, *, free_batch: bool) -> Iterator[bytes]:
    """Load and build; the graph is let go as soon as its pieces are taken, before a session makes its own copies."""
    recipe = plan.recipe
    model = graph.build(
        _load(plan),
        recipe.input,
        recipe.layers,
        pool=recipe.pool,
        normalize=recipe.normalize,
        precision=recipe.precision,
        free_batch=free_batch,
    )
    yield from graph.pieces(model)


def _warn_dependent(card: Card, how: str, operators: set[str]) -> None:
    cause = (
        " (it quantises its activations dynamically: DynamicQuantizeLinear)"
        if "DynamicQuantizeLinear" in operators
        else ""
    )
    warnings.warn(
        f"Model {card.name!r}: {how}{cause}. It is run one sample at a time: then a row depends on its sample alone.",
        ModelWarning,
        stacklevel=2,
    )


def probe(session: runtime.Session, samples: npt.NDArray[Any], first: npt.NDArray[Any], tolerance: float) -> str:
    """Try a session on three samples.

    Parameters
    ----------
    session : runtime.Session
        Freshly opened.
    samples : ndarray of shape (3, ...)
        Different from each other.
    first : ndarray of shape (1, ...)
        The first of them, without the padding its batch mates bring.
    tolerance : float
        Relative to the largest number.

    Returns
    -------
    str
        How a row depends on its batch mates; empty if it does not.

    Raises
    ------
    ProbeError
        If the rows have the wrong shape, are not finite, are all the same, or differ from run to run.
    """
    order = [2, 0, 1]
    try:
        rows, again, alone = session.run(samples), session.run(samples[order]), session.run(first)
    except DeviceError:
        raise
    except Exception as err:
        raise ProbeError(f"The graph fails on three probe samples of shape {samples.shape}: {err}") from err
    finally:
        session.rows_run = 0
    if rows.ndim != 2 or len(rows) != len(samples):
        raise ProbeError(f"Three samples gave an array of shape {rows.shape} instead of three rows.")
    if alone.shape != rows[:1].shape:
        raise ProbeError(
            f"The number of columns depends on the batch: {alone.shape[1]} for a sample alone, {rows.shape[1]} in one."
        )
    session.width = rows.shape[1]
    if not np.isfinite(rows).all():
        raise ProbeError(f"{(~np.isfinite(rows)).sum()} of {rows.size} numbers are not finite; is the model damaged?")
    if (rows == rows[0]).all():
        raise ProbeError("Three different samples gave the same row; is this layer dead, or the model damaged?")
    near = tolerance * max(float(np.abs(rows).max()), 1e-6)
    if np.abs(again - rows[order]).max() > near:
        if np.abs(session.run(samples) - rows).max() > near:
            raise ProbeError("The same samples give other rows at every run; was the graph exported in training mode?")
        return "rows depend on the order of the batch"
    if np.abs(alone - rows[:1]).max() > near:
        return "a row alone differs from the same row in a batch"
    return ""
