"""The probe: a freshly opened session is tried on three samples before its rows are used."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from skltransfer._engine import inspection, runtime
from skltransfer._engine.inspection import PATIENCE
from skltransfer._engine.plan import Plan
from skltransfer.errors import DeviceError, ProbeError


def probe(
    session: runtime.Session,
    plan: Plan,
    samples: npt.NDArray[Any],
    first: npt.NDArray[Any],
    tolerance: float,
    strangers: npt.NDArray[Any] | None = None,
) -> str:
    """Try a session on three samples, and note the shape of a row.

    Parameters
    ----------
    session : runtime.Session
        Freshly opened.
    plan : Plan
        What it runs.
    samples : ndarray of shape (3, ...)
        Different from each other.
    first : ndarray of shape (1, ...)
        The first of them, without the padding its batch mates bring.
    tolerance : float
        Relative to the largest number.
    strangers : ndarray, optional
        Others to look at if all have the same row; empty: then that proves nothing.

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
    seconds = PATIENCE * inspection.trial_seconds()
    try:
        with runtime.time_limit(seconds, shrink=plan.device.kind == "cpu") as cancel:
            rows, again, alone = (session.run(each, cancel) for each in (samples, samples[order], first))
    except DeviceError:
        raise
    except Exception as err:
        if cancel.terminate:
            raise ProbeError(
                f"The graph was not through with three probe samples after {seconds:g} s. To allow more: "
                f"{inspection.SECONDS_VARIABLE}={10 * inspection.trial_seconds():g}"
            ) from err
        raise ProbeError(f"The graph fails on three probe samples of shape {samples.shape}: {err}") from err
    finally:
        session.rows_run = 0
    mine = rows[:1, : alone.shape[1]] if plan.ragged else rows[:1]  # what lies behind a shorter text is not returned
    _check_shapes(plan, len(samples), rows, mine, alone)
    _check_finite(rows, mixed=plan.modality.numeric)
    _check_different(session, rows, strangers)
    rows, again, alone, mine = map(_known, (rows, again, alone, mine))
    session.row_shape = plan.shape if plan.ragged and plan.shape else tuple(rows.shape[1:])
    close = tolerance * max(float(np.abs(rows).max()), 1e-6)
    if np.abs(again - rows[order]).max() > close:
        if np.abs(session.run(samples) - rows).max() > close:
            raise ProbeError("The same samples give other rows at every run; was the graph exported in training mode?")
        return "rows depend on the order of the batch"
    if np.abs(alone - mine).max() > close:
        return "a row alone differs from the same row in a batch"
    if plan.modality.numeric and _differ_alone(session, samples, rows, close):
        return "a row alone differs from the same row in a batch"
    return ""


def _check_shapes(
    plan: Plan, count: int, rows: npt.NDArray[Any], mine: npt.NDArray[Any], alone: npt.NDArray[Any]
) -> None:
    rank = len(plan.shape) if plan.shape is not None else rows.ndim - 1 if plan.recipe.pool == "none" else 1
    if rows.ndim != rank + 1 or len(rows) != count:
        what = "rows" if rank == 1 else f"arrays of {rank} axes"
        raise ProbeError(f"Three samples gave an array of shape {rows.shape} instead of three {what}.")
    if alone.shape != mine.shape:
        raise ProbeError(
            f"The number of columns depends on the batch: {alone.shape[1]} for a sample alone, {rows.shape[1]} in one."
        )


def _check_finite(rows: npt.NDArray[Any], *, mixed: bool) -> None:
    """Refuse rows that are not finite; of samples that are the user's own, only if none is: one may be at fault."""
    finite = np.isfinite(rows)
    if not (finite.reshape(len(rows), -1).all(axis=1).any() if mixed else finite.all()):
        raise ProbeError(f"{(~finite).sum()} of {rows.size} numbers are not finite; is the model damaged?")


def _check_different(session: runtime.Session, rows: npt.NDArray[Any], strangers: npt.NDArray[Any] | None) -> None:
    """Refuse a graph that gives all samples the same row."""
    if not (rows == rows[0]).all() or (strangers is not None and not len(strangers)):
        return
    if strangers is not None:
        try:
            rows = session.run(strangers)
        except Exception:  # noqa: BLE001 - it does not take any number, and has run on those of the user
            return
        finally:
            session.rows_run = 0
    if (rows == rows[0]).all():
        raise ProbeError(
            "Three different samples gave the same row; is this layer dead, or the model damaged? Or is its input "
            "scaled otherwise than in training (range, mean and std of the card)?"
        )


def _differ_alone(session: runtime.Session, samples: npt.NDArray[Any], rows: npt.NDArray[Any], close: float) -> bool:
    """Return whether one of several samples has another row alone: of the user's own the first need not be the one."""
    each = [_known(session.run(samples[i : i + 1])) for i in range(len(samples))]
    session.rows_run = 0
    return bool(np.abs(np.concatenate(each) - rows).max() > close)


def _known(rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return rows with zeros for numbers that are not finite, so that they can be compared."""
    return np.asarray(np.nan_to_num(rows, nan=0.0, posinf=0.0, neginf=0.0))
