"""Names of the columns of rows: after the column that was embedded, else after the class.

Frames need names from estimators that were never fitted, too, so the columns of their last rows are remembered here.
"""

from __future__ import annotations

import weakref
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt


class Columns(NamedTuple):
    """Columns of rows.

    Attributes
    ----------
    number : int
        How many.
    source : str or None
        Name of the column that was embedded, if it has one.
    """

    number: int
    source: str | None


#: Columns of the last `transform` of estimators that were not fitted, or with other parameters.
_noted: weakref.WeakKeyDictionary[Any, Columns] = weakref.WeakKeyDictionary()


def forget(estimator: Any) -> None:
    """Forget the last rows of an estimator: it is fitted now."""
    if _noted:
        _noted.pop(estimator, None)


def note(estimator: Any, rows: Any, source: str | None) -> None:
    """Remember the columns of rows where `fit` did not set their number, or set another."""
    if rows.ndim != 2 or vars(estimator).get("_n_features_out") == rows.shape[1]:
        forget(estimator)
    else:
        _noted[estimator] = Columns(rows.shape[1], vars(estimator).get("_source", source))


def names(estimator: Any) -> npt.NDArray[np.object_] | None:
    """Return the names of an estimator's columns; None if it was not fitted, and has embedded nothing.

    Two embedders of one table have different names, because each has another column: ``front_0``, ``back_0``.
    """
    fitted = vars(estimator)
    columns = _noted.get(estimator) or Columns(fitted.get("_n_features_out", 0), fitted.get("_source"))
    if not columns.number:
        return None
    stem = type(estimator).__name__.lower() if columns.source is None else f"{columns.source}_"
    return np.array([f"{stem}{i}" for i in range(columns.number)], dtype=object)
