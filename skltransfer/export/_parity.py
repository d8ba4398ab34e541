"""Parity: the file, opened again, against the pipeline, on the user's samples, in batches of one and of several."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from skltransfer._engine import runtime
from skltransfer._engine.nested import nested
from skltransfer.errors import ExportError
from skltransfer.export._inputs import Input
from skltransfer.export._outputs import Output, Reference, index_of
from skltransfer.export._texts import library

#: Fewest samples: fewer show nothing of thresholds and rare classes.
LEAST = 200
#: Sizes of batches: one, and one that no power of two hides.
BATCHES = (1, 7)


class Limits(NamedTuple):
    """Largest differences that are rounding.

    Attributes
    ----------
    probabilities : float
        Of probabilities.
    scores, trees : float
        Of scores and numbers, and of trees, as a share of the largest.
    share : float
        Of rows that may differ by more, and are named: those at a threshold of a tree, where the last bit decides.
    every_head : bool
        Whether that share is also of heads without thresholds.
    """

    probabilities: float
    scores: float
    trees: float
    share: float
    every_head: bool


EXACT = Limits(1e-4, 1e-5, 1e-6, 1e-3, every_head=False)
#: Where the file scales pixels: by up to two levels of 255 in another way than Pillow.
PIXELS = Limits(5e-3, 5e-3, 0.05, 0.01, every_head=True)

#: Heads whose values change in steps only.
STEPS = (
    "DecisionTree",
    "ExtraTree",
    "GradientBoosting",
    "HistGradientBoosting",
    "KNeighbors",
    "RandomForest",
)
#: Parts that have steps, and are not all of a head.
PARTS_WITH_STEPS = (*STEPS, "Binarizer", "IsolationForest", "IsotonicRegression", "KBinsDiscretizer", "TreePredictor")


def compare(path: Path, inputs: Sequence[Input], outputs: Sequence[Output], reference: Reference) -> dict[str, Any]:
    """Compare a file with its pipeline.

    Parameters
    ----------
    path : Path
        The file; opened by ONNX Runtime.
    inputs, outputs : sequences
        Of the file.
    reference : Reference
        What the pipeline returns.

    Returns
    -------
    dict
        The figures, for people and for the file's metadata.

    Raises
    ------
    ExportError
        With the figures, if they disagree.
    """
    pieces, count = _pieces(inputs, reference)
    limits, batches = _limits(inputs, reference), _batches(inputs)
    session = open_session(path, inputs)
    figures: dict[str, Any] = {}
    for size in batches:
        found = run(session, inputs, pieces, size)
        for output, values in zip(outputs, found, strict=True):
            one = _figures(output, values, reference, limits)
            figures[output.name] = _worse(figures.get(output.name), one)
    if wrong := {name: one for name, one in figures.items() if not one["agrees"]}:
        shown = "; ".join(f"{name}: {describe(one)}" for name, one in wrong.items())
        raise ExportError(
            f"The file would predict something else than the pipeline on {count} samples, and was not written. "
            f"{shown}. {_advice(wrong, count, limits, raw=any(one.form for one in inputs))}"
        )
    return {"samples": count, "batches": batches, "outputs": figures}


def _pieces(inputs: Sequence[Input], reference: Reference) -> tuple[dict[str, Sequence[Any]], int]:
    """Return the samples of each input, and how many they are; refuse few."""
    count = len(reference.X)
    if count < LEAST:
        raise ExportError(
            f"{count} samples were passed; {LEAST} or more are needed to compare the file with the pipeline. Pass real "
            "ones that were not trained on, of every class."
        )
    return {one.name: one.pieces(reference.X) for one in inputs}, count


def _limits(inputs: Sequence[Input], reference: Reference) -> Limits:
    """Return what is rounding, for this pipeline and this way in."""
    limits = PIXELS if any(one.form is not None and one.form.pixels for one in inputs) else EXACT
    steps = any(type(part).__name__.startswith(PARTS_WITH_STEPS) for part in nested(reference.pipeline))
    return limits if steps or limits.every_head else limits._replace(share=0.0)


def _batches(inputs: Sequence[Input]) -> list[int]:
    """Return the sizes of batches that every input can have."""
    sizes = [BATCHES if one.form is None else one.form.batches for one in inputs]
    return sorted(set(BATCHES).intersection(*sizes))


def _advice(wrong: dict[str, Any], count: int, limits: Limits, *, raw: bool) -> str:
    few = limits.share and all(len(one["beyond"]) <= 2 for one in wrong.values())
    if few and count < 1 / limits.share:
        return f"Rows at a threshold of a tree may differ, one of {1 / limits.share:,.0f}: pass that many samples."
    if raw:
        return "The file prepares these samples in another way; prepare them outside, with level='tensors'."
    return "Choose another head: the guide's page on export lists those that agree."


def open_session(path: Path, inputs: Sequence[Input] = ()) -> Any:
    """Open a file on the CPU, as any other program would."""
    ort = runtime.import_onnxruntime()
    options = ort.SessionOptions()
    options.log_severity_level = 3  # shapes that skl2onnx declares are merged with a warning
    if any(one.form is not None for one in inputs):
        options.register_custom_ops_library(library())
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run(session: Any, inputs: Sequence[Input], pieces: dict[str, Sequence[Any]], size: int) -> list[npt.NDArray[Any]]:
    """Run all samples in batches of a size; return what each output holds."""
    count = len(next(iter(pieces.values())))
    parts = []
    for start in range(0, count, size):
        feed = {one.name: one.batch(pieces[one.name][start : start + size]) for one in inputs}
        parts.append(session.run(None, feed))
    return [np.concatenate(part) for part in zip(*parts, strict=True)]


def _figures(output: Output, found: npt.NDArray[Any], reference: Reference, limits: Limits) -> dict[str, Any]:
    wanted = reference(output)
    if output.kind == "label":
        return _of_labels(output, found, wanted, reference, limits)
    if output.kind == "indices":
        return _of_indices(output, found, wanted, reference)
    return _of_numbers(output, found, wanted, limits)


def tolerance(output: Output, wanted: npt.NDArray[Any], limits: Limits) -> float:
    """Return the largest difference that is rounding."""
    largest = float(np.max(np.abs(wanted), initial=0, where=np.isfinite(wanted)))
    if output.head is not None and type(output.head.estimator).__name__.startswith(STEPS):
        return limits.trees * max(1.0, largest)
    return limits.probabilities if output.kind == "probabilities" else limits.scores * largest


def _of_numbers(output: Output, found: npt.NDArray[Any], wanted: npt.NDArray[Any], limits: Limits) -> dict[str, Any]:
    if found.shape != wanted.shape:
        return {"agrees": False, "shape": list(found.shape), "wanted": list(wanted.shape), "beyond": []}
    limit = tolerance(output, wanted, limits)
    gaps = np.abs(found.astype(np.float64) - wanted)
    gaps[np.isnan(found) & np.isnan(wanted) | (found == wanted)] = 0
    each = np.nan_to_num(gaps.reshape(len(gaps), -1).max(axis=1), nan=np.inf)
    beyond = np.flatnonzero(each > limit)
    allowed = int(limits.share * len(each))
    inside = each[each <= limit]
    return {
        "agrees": len(beyond) <= allowed,
        "largest": float(inside.max(initial=0) if len(beyond) <= allowed else each.max()),
        "tolerance": limit,
        "beyond": beyond.tolist(),
    }


def _of_labels(
    output: Output, found: npt.NDArray[Any], wanted: npt.NDArray[Any], reference: Reference, limits: Limits
) -> dict[str, Any]:
    index = index_of(wanted, output.classes)
    if output.dtype == "str":
        assert output.classes is not None
        differ = np.flatnonzero(found != np.array([str(one) for one in output.classes], object)[index])
    else:
        differ = np.flatnonzero(found != index)
    margin, limit = _margin(output, reference, limits)
    sure = differ[margin[differ] > 2 * limit]
    return {
        "agrees": len(sure) <= int(limits.share * len(index)),
        "equal": float(1 - len(differ) / max(1, len(index))),
        "rows": differ.tolist(),
        "classes": len(np.unique(index)) if output.classes is None else len(output.classes),
        "seen": len(np.unique(index)),
        "beyond": sure.tolist(),
    }


def _margin(output: Output, reference: Reference, limits: Limits) -> tuple[npt.NDArray[Any], float]:
    """Return how far each row is from another label, and the tolerance of that number."""
    assert output.head is not None
    own = output._replace(kind="scores").method
    methods = [own, "predict_proba"] if own == "transform" else ["decision_function", "predict_proba"]
    method = next((one for one in methods if _gives(reference, output, one)), None)
    if method is None:
        return np.full(len(reference(output)), np.inf), 0.0
    scores = np.asarray(reference(output, method), np.float64)
    kind = "probabilities" if method == "predict_proba" else "scores"
    limit = tolerance(output._replace(kind=kind), scores, limits)
    if output.head.cut is not None:
        positive, threshold = output.head.cut
        score = scores[:, positive] if scores.ndim > 1 else scores if positive == 1 else -scores
        return np.abs(score - threshold), limit
    if scores.ndim == 1:
        return np.abs(scores), limit
    ranked = np.sort(-scores if method == "transform" else scores, axis=1)
    return (ranked[:, -1] - ranked[:, -2] if ranked.shape[1] > 1 else np.full(len(ranked), np.inf)), limit


def _gives(reference: Reference, output: Output, method: str) -> bool:
    """Return whether the pipeline has scores of this output's task."""
    if not reference.has(method):
        return False
    return output.task is None or output.head is None or hasattr(output.head.estimator, method)


def _of_indices(
    output: Output, found: npt.NDArray[Any], wanted: npt.NDArray[Any], reference: Reference
) -> dict[str, Any]:
    """Compare indices of the nearest rows; those that are as near as another may change places."""
    near = reference(output._replace(kind="distances"))
    limit = EXACT.scores * float(near.max(initial=0))
    tied = np.zeros(near.shape, bool)
    close = np.diff(near, axis=1) <= 2 * limit
    tied[:, :-1] |= close
    tied[:, 1:] |= close
    differ = np.flatnonzero(((found != wanted) & ~tied).any(axis=1)) if found.shape == wanted.shape else [0]
    return {"agrees": not len(differ), "beyond": list(map(int, differ)), "tolerance": limit}


def _worse(one: dict[str, Any] | None, other: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of the batch size that agrees less."""
    if one is None:
        return other
    rank = [
        (not each["agrees"], len(each["beyond"]), each.get("largest", 0), -each.get("equal", 1))
        for each in (one, other)
    ]
    return one if rank[0] >= rank[1] else other


def describe(figures: dict[str, Any]) -> str:
    """Return the figures of an output in words."""
    if "shape" in figures:
        return f"shape {figures['shape']}, the pipeline's is {figures['wanted']}"
    rows = figures["beyond"]
    named = f" on rows {', '.join(map(str, rows[:10]))}{' ...' if len(rows) > 10 else ''}" if rows else ""
    if "equal" in figures:
        few = figures["seen"] < figures["classes"]
        seen = f", of {figures['seen']} of {figures['classes']} classes only: pass samples of all" if few else ""
        return f"{figures['equal']:.1%} of labels equal{named}{seen}"
    if "largest" not in figures:
        return f"indices {'differ' + named if rows else 'equal'}"
    beyond = f", beyond it{named}" if rows else ""
    return f"differs by up to {figures['largest']:.1e} (tolerance {figures['tolerance']:.1e}){beyond}"
