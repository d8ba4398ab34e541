"""`Targets`: y of several tasks, of any container and with missing labels, read once; and the way back.

The room knows nothing of estimators. A label is missing where it is None, NaN, NaT, ``pandas.NA``, null of polars, or
masked; -1 and the empty string are labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_consistent_length

from skltransfer._engine.labels import missing_mask, settled
from skltransfer.errors import MissingDependencyError, need


@dataclass(frozen=True)
class Column:
    """The labels of one task.

    Attributes
    ----------
    labels : ndarray of shape (n_labeled,)
        The labels that are not missing, in order.
    labeled : ndarray of shape (n_samples,), dtype bool
        Which samples have a label.
    """

    labels: npt.NDArray[Any]
    labeled: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Targets:
    """The labels of several tasks.

    Attributes
    ----------
    columns : dict of Column
        By task; the names of a container that has none are ``y0``, ``y1`` and so on, or ``y`` where there is one task.
    kind : str
        Kind of the container, a key of `CONTAINERS`.
    """

    columns: dict[Any, Column]
    kind: str

    @property
    def named(self) -> bool:
        """Whether the container itself names its tasks."""
        return self.kind in NAMED

    def renamed(self, names: Iterable[Any]) -> Targets:
        """Return the same labels under other names, in order."""
        return Targets(dict(zip(names, self.columns.values(), strict=True)), self.kind)


def read(y: Any, n_samples: int) -> Targets:
    """Read y of any container.

    Parameters
    ----------
    y : DataFrame, dict, list of columns, array-like of shape (n_samples,) or (n_samples, n_tasks)
        The labels.
    n_samples : int
        Number of rows of X.

    Returns
    -------
    Targets

    Raises
    ------
    ValueError
        If lengths differ, a number is infinite, or a list may be one of rows as well as one of columns.
    """
    kind, parts = _parts(y, n_samples)
    columns = {name: _column(part, name) for name, part in parts}
    if not columns:
        raise ValueError("y has no tasks: it has no columns.")
    for name, column in columns.items():
        if len(column.labeled) != n_samples:
            raise ValueError(f"X has {n_samples} rows, and task {name!r} of y has {len(column.labeled)}.")
    return Targets(columns, kind)


def _parts(y: Any, n_samples: int) -> tuple[str, list[tuple[Any, Any]]]:
    """Return the kind of a container and its columns by name."""
    if isinstance(y, Mapping):
        return "dict", list(y.items())
    if hasattr(y, "columns") and hasattr(y, "dtypes"):
        kind = "pandas" if hasattr(y, "iloc") else "polars"
        names = list(y.columns)
        if len(set(names)) < len(names):
            raise ValueError(f"y has columns of the same name: {names}. Rename them; a task is known by its name.")
        return kind, [(name, y[name]) for name in names]
    if isinstance(y, (list, tuple)) and y and all(map(_is_sequence, y)):
        if _is_list_of_columns(y, n_samples):
            return "list", _numbered(y)
        y = _rows_as_array(y)
    if hasattr(y, "shape") or hasattr(y, "__array__"):
        y = y if _is_series(y) or isinstance(y, np.ma.MaskedArray) else np.asarray(y)
        if getattr(y, "ndim", 1) == 2:
            return "array", _numbered(list(y.T))
        if getattr(y, "ndim", 1) != 1:
            raise ValueError(f"y has {y.ndim} dimensions, shape {y.shape}; pass one label, or one column per task.")
    check_consistent_length(y)
    return "single", [("y", y)]


def _is_sequence(value: Any) -> bool:
    return isinstance(value, (list, tuple)) or (hasattr(value, "__len__") and not isinstance(value, (str, bytes)))


def _is_series(values: Any) -> bool:
    return hasattr(values, "isna") or hasattr(values, "is_null")


def _is_list_of_columns(y: Any, n_samples: int) -> bool:
    """Return whether a list of sequences holds columns; refuse to guess where it may hold rows as well."""
    lengths = {len(part) for part in y}
    columns, rows = lengths == {n_samples}, len(y) == n_samples and len(lengths) == 1
    if columns and rows:
        raise ValueError(
            f"y is a list of {len(y)} sequences of {n_samples}: it may hold columns, or rows. Pass a dict, "
            "{'name': column, ...}, or an array of shape (n_samples, n_tasks)."
        )
    if not columns and not rows:
        raise ValueError(
            f"X has {n_samples} rows, and y is a list of {len(y)} sequences of {sorted(lengths)} labels; "
            "pass one column per task, each as long as X."
        )
    return columns


def _rows_as_array(y: Any) -> npt.NDArray[Any]:
    """Return a list of rows as an array of objects, so that no label changes its kind."""
    array = np.empty((len(y), len(y[0])), object)
    for i, row in enumerate(y):
        array[i] = list(row)
    return array


def _numbered(parts: Any) -> list[tuple[str, Any]]:
    return [(f"y{i}", part) for i, part in enumerate(parts)]


def _column(values: Any, name: Any) -> Column:
    """Read one column: a Series, an array or a list."""
    labels, labeled = _present(values)
    if labels.ndim != 1:
        raise ValueError(f"Task {name!r} of y has labels of shape {labels.shape}; a column holds one label per row.")
    if not hasattr(values, "isna"):  # pandas has said it all
        good = ~missing_mask(labels)
        labeled[labeled], labels = good, labels[good]
    labels = settled(labels)
    if labels.dtype.kind == "f" and np.isinf(labels).any():
        raise ValueError(f"Task {name!r} of y contains infinity. A missing label is None or NaN.")
    return Column(labels, labeled)


def _present(values: Any) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """Return labels without what their container knows to be missing, and which these are; NaN may be left."""
    if hasattr(values, "isna"):  # pandas
        labeled = ~np.asarray(values.isna(), bool)
        return np.asarray(values[labeled].to_numpy()), labeled
    if hasattr(values, "is_null"):  # polars; nulls go first, since they turn integers to floats
        return np.asarray(values.drop_nulls().to_numpy()), ~np.asarray(values.is_null().to_numpy(), bool)
    if isinstance(values, np.ma.MaskedArray):
        labeled = ~np.ma.getmaskarray(values)
        return np.asarray(values.data)[labeled], labeled
    array = np.asarray(values) if hasattr(values, "__array__") else _objects(values)
    return array, np.ones(len(array) if array.ndim else 0, bool)


def _objects(values: Any) -> npt.NDArray[Any]:
    """Return a list as an array of objects: NumPy would turn ``["a", nan]`` into two texts."""
    values = list(values)
    array = np.empty(len(values), object)
    array[:] = values
    return array


# ---------------------------------------------------------------------------------------------------------------------
# The way back


def contain(kind: str, columns: dict[Any, npt.NDArray[Any]], index: Any = None) -> Any:
    """Return columns in the kind of container that y came in.

    Parameters
    ----------
    kind : str
        A key of `CONTAINERS`.
    columns : dict of ndarray
        Predictions, by task.
    index : Index of pandas, default=None
        Index of the rows, for a frame of pandas.

    Returns
    -------
    DataFrame, dict, list of ndarray, or ndarray
        A dict, where the library of the frame is not installed.
    """
    return CONTAINERS[kind](columns, index)


def _pandas(columns: dict[Any, npt.NDArray[Any]], index: Any) -> Any:
    try:
        return need("pandas", extra="compare").DataFrame(columns, index=index)
    except MissingDependencyError:
        return columns


def _polars(columns: dict[Any, npt.NDArray[Any]], _: Any) -> Any:
    try:
        # Objects would become a column of Python objects; lists are given the dtype of what they hold.
        parts = {name: part.tolist() if part.dtype.kind == "O" else part for name, part in columns.items()}
        return need("polars", extra="test").DataFrame(parts)
    except MissingDependencyError:
        return columns


def _array(columns: dict[Any, npt.NDArray[Any]], _: Any) -> npt.NDArray[Any]:
    """Return the columns side by side; of different kinds they are objects, so that no number becomes a text."""
    parts = list(columns.values())
    if len({"n" if part.dtype.kind in "iuf" else part.dtype.kind for part in parts}) > 1:
        parts = [part.astype(object) for part in parts]
    return np.stack(parts, axis=1)


#: How columns become the container y came in.
CONTAINERS: dict[str, Callable[[dict[Any, npt.NDArray[Any]], Any], Any]] = {
    "pandas": _pandas,
    "polars": _polars,
    "dict": lambda columns, _: columns,
    "list": lambda columns, _: list(columns.values()),
    "array": _array,
    "single": lambda columns, _: next(iter(columns.values())),
}
#: Containers that name their tasks.
NAMED = ("pandas", "polars", "dict")
