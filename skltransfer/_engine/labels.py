"""Labels as people give them: which are missing, and objects that are numbers."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
import numpy.typing as npt

#: Types that hold no missing label, so that 10,000 labels need not be looked at one by one.
NEVER_MISSING = {str, int, bool}
#: Kinds of labels, and the dtype of objects that are all of that kind. Text stays objects.
DTYPES: tuple[tuple[Any, Any], ...] = (((bool, np.bool_), bool), (Integral, np.int64), (Real, np.float64))


def missing_mask(labels: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Return which labels are missing, in the shape of the labels: None, NaN, NaT and NA."""
    if labels.dtype.kind == "O":
        if set(map(type, labels.ravel().tolist())) <= NEVER_MISSING:
            return np.zeros(labels.shape, bool)
        return np.fromiter(map(_is_missing, labels.ravel()), bool, labels.size).reshape(labels.shape)
    return np.asarray(labels != labels) if labels.dtype.kind in "fcmM" else np.zeros(labels.shape, bool)


def _is_missing(label: Any) -> bool:
    """Return whether a label is None, or not equal to itself, as NaN and NaT; pandas.NA is neither true nor false."""
    try:
        return label is None or bool(label != label)
    except TypeError:
        return True


def settled(labels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return objects as numbers, if all of them are."""
    if labels.dtype.kind != "O" or not len(labels):
        return labels
    found = set(map(type, labels.tolist()))
    for types, dtype in DTYPES:
        if all(issubclass(one, types) for one in found):
            return labels.astype(dtype)
    return labels
