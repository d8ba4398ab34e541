"""From a card and a recipe to an open session that has proved itself on three probe rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from skltransfer._engine import graph, hub, runtime
from skltransfer._engine.plan import Plan
from skltransfer._engine.samples import Samples
from skltransfer._engine.stream._pool import interruptible
from skltransfer._engine.stream._probe import probe
from skltransfer.cards import Card
from skltransfer.errors import CardError, DeviceError, LayerError, ModelError, ModelWarning, warn

#: How much rows of the same sample may differ, relative to the largest number, alone and in a batch. Single-precision
#: sums in another order stay far below the first; GPUs multiply with fewer bits, and so do float16 graphs.
TOLERANCE = {"cpu": 1e-4, "cuda": 2e-2, "tensorrt": 2e-2}


def open_backbone(plan: Plan, like: Sequence[npt.NDArray[Any]] | None = None) -> runtime.Session:
    """Return the session of a plan: the open one of this process, or a new one that passed the probe.

    Parameters
    ----------
    plan : Plan
        What to run, and where: of several devices the first.
    like : sequence of ndarray, optional
        Prepared samples, for backbones that take numbers: nobody can make them up.

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
    first = plan.device.each()[0]
    plan = plan if first is plan.device else plan.on(first)  # every batch comes by, and a copy takes 10 microseconds
    return runtime.session(plan.recipe.key, plan.device, lambda: _open(plan, like))


def _open(plan: Plan, like: Sequence[npt.NDArray[Any]] | None) -> runtime.Session:
    """Open and probe; a batch size frozen at export is freed if that is sound, kept if it is not."""
    preparer = plan.preparer()
    samples = preparer.probe(like)
    trial = partial(
        probe,
        plan=plan,
        samples=samples,
        first=preparer.first(samples),
        strangers=preparer.strangers(samples, like),
        tolerance=TOLERANCE[plan.device.kind],
    )
    try:
        session = _session(plan, batch_size=None)
        dependent = trial(session)
    except (ModelError, DeviceError) as err:
        return _of_frozen(plan, trial, err)
    if not dependent:
        return session
    if _frozen(plan) is not None:
        return _of_frozen(plan, trial)
    return _one_by_one(plan, session, dependent)


def _of_frozen(plan: Plan, trial: Callable[[runtime.Session], str], err: Exception | None = None) -> runtime.Session:
    """Open with the batch size the graph was exported with, or one sample at a time where it was written for one.

    Parameters
    ----------
    plan : Plan
        What to run.
    trial : callable
        Probes a session.
    err : Exception, optional
        With which the graph failed when its batch was free; raised if it fails for a single sample, too.
    """
    if isinstance(err, CardError | LayerError):  # no batch size makes it right
        raise err
    frozen = _frozen(plan)
    try:
        session = _session(plan, batch_size=frozen or 1)
        dependent = trial(session)
    except (ModelError, DeviceError):
        if err is None or frozen is not None:
            raise
        raise err from None
    if frozen is None:
        dependent = dependent or "it was written for a single sample"
    return _one_by_one(plan, session, dependent) if dependent else session


def _frozen(plan: Plan) -> int | None:
    """Return the batch size with which the part of the graph that is run was exported."""
    return graph.read(plan.load()).at(plan.recipe.layers, dict(plan.recipe.constants)).frozen_batch


def _one_by_one(plan: Plan, session: runtime.Session, how: str) -> runtime.Session:
    """Run a session one sample at a time from now on, and warn."""
    _warn_dependent(plan.card, how, {node.op_type for node in plan.load().graph.node})
    session.fix_batch(session.batch_size or 1, most=1)
    return session


def _session(plan: Plan, batch_size: int | None) -> runtime.Session:
    """Open a plan's graph, its batch axis free or of that length.

    It is opened from a file: of bytes ONNX Runtime would keep a copy, as large as all weights, for as long as it lives.
    """
    with hub.scratch(_built(plan, free_batch=batch_size is None)) as file:
        engines = hub.engine_folder(plan.recipe.key) if plan.device.kind == "tensorrt" else None
        allow_tf32 = plan.recipe.precision != "fp32"
        return runtime.Session(file, plan.device, batch_size=batch_size, allow_tf32=allow_tf32, engines=engines)


def _built(plan: Plan, *, free_batch: bool) -> Iterator[bytes]:
    """Load and build; the graph is let go as soon as its pieces are taken, before a session makes its own copies."""
    model = plan.build(free_batch=free_batch)
    yield from graph.pieces(model)


def _warn_dependent(card: Card, how: str, operators: set[str]) -> None:
    cause = (
        " (it quantizes its activations dynamically: DynamicQuantizeLinear)"
        if "DynamicQuantizeLinear" in operators
        else ""
    )
    warn(
        f"Model {card.name!r}: {how}{cause}. It is run one sample at a time: then a row depends on its sample alone.",
        ModelWarning,
    )


def row_shape(plan: Plan, samples: Samples) -> tuple[int, ...]:
    """Return the shape of a row by running one, for graphs that do not say; free axes depend on the samples."""
    if not plan.modality.numeric:
        return tuple(interruptible(lambda: open_backbone(plan)).row_shape)
    some = list(islice(samples.items, SOME))
    return tuple(interruptible(lambda: open_backbone(plan, some)).run(np.stack(some[:1])).shape[1:])


#: Samples that a graph of numbers is tried on are chosen among so many.
SOME = 16


def rows_run() -> int:
    """Return how many rows the open backbones of this process have run so far, those of probes left out.

    A row that is found in a cache is not run: after ``reset()``, this divided by the number of samples is the number of
    passes a search has cost.

    Examples
    --------
    >>> import skltransfer
    >>> from skltransfer.datasets import load_emoji
    >>> skltransfer.reset()
    >>> rows = skltransfer.PretrainedEmbedder().fit_transform(load_emoji().images[:5])
    >>> skltransfer.rows_run()
    5
    """
    return sum(session.rows_run for session in runtime.open_sessions().values())
