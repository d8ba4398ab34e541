"""Columns of a part: predictions, probabilities, scores and embeddings, and why a row has none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from skltransfer.errors import JobError, need

#: What can be asked for, and the method that answers.
METHODS = {"prediction": "predict", "probability": "predict_proba", "score": "decision_function"}


def chosen(head: Any, output: str | Sequence[str], embeddings: str | None) -> tuple[str, ...]:
    """Return the columns that a head is asked for.

    Parameters
    ----------
    head : estimator or None
        What is given the rows; None where the rows are the result.
    output : str or sequence of str
        ``"auto"``: all it can do; or names of `METHODS`.
    embeddings : str or None
        Type of the embeddings, if they are wanted.

    Raises
    ------
    JobError
        If the head cannot do it.
    """
    if output == "auto":
        able = tuple(name for name, method in METHODS.items() if hasattr(head, method))
        # Scores are logarithms of the odds, or the like: of a classifier with probabilities they say the same.
        return tuple(name for name in able if name != "score" or "probability" not in able)
    wanted = (output,) if isinstance(output, str) else tuple(output)
    for name in wanted:
        if name not in METHODS:
            raise JobError(f"output={name!r} is not 'auto' or of {', '.join(map(repr, METHODS))}.")
        if not hasattr(head, METHODS[name]):
            raise JobError(f"output={name!r} needs {METHODS[name]}, which {type(head).__name__} does not have.")
    return wanted


def columns(head: Any, X: Any, wanted: Sequence[str]) -> dict[str, Any]:
    """Compute the columns of rows that are all good.

    Parameters
    ----------
    head : estimator
        Fitted.
    X : array-like of shape (n_samples, ...)
        What it is given.
    wanted : sequence of str
        Names of `METHODS`.

    Returns
    -------
    dict of ndarray of shape (n_samples,), of a detector of pyarrow.ListArray
    """
    classes = getattr(head, "classes_", None)
    found: dict[str, Any] = {}
    for name in wanted:
        values = getattr(head, METHODS[name])(X)
        found |= _named(name, values, classes if name != "prediction" else None)
    return found


def _named(stem: str, values: Any, classes: Any) -> dict[str, Any]:
    """Name every column: those of several targets the target's, those of several classes the class's."""
    if isinstance(values, Mapping) or hasattr(values, "columns"):
        tasks = list(values) if isinstance(values, Mapping) else list(values.columns)
        return _of_tasks(stem, {str(task): values[task] for task in tasks}, classes, tasks)
    if isinstance(values, list) and all(isinstance(one, Mapping) for one in values):
        return _of_detections(stem, values)
    if isinstance(values, list):  # one array for each output
        return _of_tasks(stem, {str(i): part for i, part in enumerate(values)}, classes, list(range(len(values))))
    array = np.asarray(values)
    if array.ndim == 1:
        return {stem: array}
    names = range(array.shape[1]) if classes is None or len(classes) != array.shape[1] else classes
    return {f"{stem}_{name}": array[:, i] for i, name in enumerate(names)}


def _of_detections(stem: str, found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the boxes, labels and scores of a detector: a column each, with a list for every image."""
    pa = need("pyarrow", extra="score")
    columns = {}
    for name in found[0]:
        parts = [np.asarray(one[name]) for one in found]
        flat = np.concatenate(parts)
        items = pa.array(flat) if flat.ndim == 1 else embedding_column(flat, "float64")
        ends = pa.array(np.cumsum([0, *map(len, parts)]), pa.int32())
        columns[f"{stem}_{name}"] = pa.ListArray.from_arrays(ends, items)
    return columns


def _of_tasks(stem: str, values: Mapping[str, Any], classes: Any, tasks: list[Any]) -> dict[str, npt.NDArray[Any]]:
    found: dict[str, npt.NDArray[Any]] = {}
    for task, (name, part) in zip(tasks, values.items(), strict=True):
        own = _classes_of(classes, task)
        array = np.asarray(part)
        found |= {f"{stem}_{name}": array} if array.ndim == 1 else _named(f"{stem}_{name}", array, own)
    return found


def _classes_of(classes: Any, task: Any) -> Any:
    """Return the classes of one of several targets."""
    if isinstance(classes, Mapping):
        return classes.get(task)
    if isinstance(classes, list) and isinstance(task, int) and task < len(classes):
        return classes[task]
    return None


def embedding_column(rows: npt.NDArray[Any], kind: str) -> Any:
    """Return rows as one column of lists of a fixed size."""
    pa = need("pyarrow", extra="score")
    flat = np.ascontiguousarray(rows.reshape(len(rows), int(np.prod(rows.shape[1:]))), dtype=kind)
    return pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel()), flat.shape[1])


def table(ids: list[Any], good: npt.NDArray[np.bool_], found: Mapping[str, Any], reasons: list[str | None]) -> Any:
    """Return the table of a part.

    Parameters
    ----------
    ids : list
        Of all rows.
    good : ndarray of shape (n,), bool
        Which rows have results.
    found : mapping of str to array
        Results of the good rows; if there are none, of one row that stands for their types.
    reasons : list of str or None
        Why a row has none.

    Returns
    -------
    pyarrow.Table
        Columns ``id``, those of the results, ``error``; null where a row has no result.
    """
    pa = need("pyarrow", extra="score")
    places = pa.array(np.cumsum(good) - 1, pa.int64(), mask=~good)
    whole = bool(good.all())
    arrays = {"id": pa.array(ids)}
    for name, values in found.items():
        made = values if isinstance(values, pa.Array) else _array(values, pa)
        arrays[name] = made if whole else made.take(places)
    arrays["error"] = pa.array(reasons, pa.string())
    if any(len(array) != len(ids) for array in arrays.values()):
        raise JobError(f"{len(ids)} rows went in, and {[len(array) for array in arrays.values()]} came out.")
    return pa.table(arrays)


def _array(values: npt.NDArray[Any], pa: Any) -> Any:
    """Return an array of pyarrow; labels of several types become strings."""
    if values.dtype.kind in "OU":
        try:
            made = pa.array(values.tolist())
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            made = pa.array([None if one is None else str(one) for one in values.tolist()])
        return made.cast(pa.string()) if pa.types.is_null(made.type) else made
    return pa.array(values)
