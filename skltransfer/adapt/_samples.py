"""The domain of a sample, and its label, which may be missing.

A label is missing where it is None, NaN, ``pandas.NA``, null of polars, or masked; -1 is a label. `skltransfer.heads`
reads labels by the same rule; the two rooms do not import each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from numbers import Integral
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import DataConversionWarning

from skltransfer._engine.labels import missing_mask, settled
from skltransfer.errors import nearest, warn


def labels_of(y: Any) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """Return the labels that are not missing, and which samples have one.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        Labels.

    Returns
    -------
    labels : ndarray of shape (n_labeled,)
        Their dtype is that of all of them without the missing ones: ``[0, None, 1]`` are integers.
    labeled : ndarray of shape (n_samples,), dtype bool
        Which samples have a label.

    Raises
    ------
    ValueError
        If y is not a column, or a label is infinite.
    """
    array = _array(y)
    if array.ndim == 2 and array.shape[1] == 1:
        warn("A column-vector y was passed when a 1d array was expected. Pass y.ravel().", DataConversionWarning)
        array = array.ravel()
    if array.ndim != 1:
        raise ValueError(f"y should be a 1d array, got an array of shape {array.shape} instead.")
    labeled = ~missing_mask(array)
    labels = settled(array[labeled])
    _check_finite(labels)
    return labels, labeled


def labeled(y: Any, n_samples: int) -> npt.NDArray[np.bool_]:
    """Return which samples have a label, of any task if there are several; all, if there is no y."""
    if y is None:
        return np.ones(n_samples, bool)
    if isinstance(y, Mapping):
        parts = list(y.values())
    elif hasattr(y, "columns") and hasattr(y, "dtypes"):
        parts = [y[name] for name in y.columns]
    else:
        array = _array(y)
        parts = [array] if array.ndim == 1 else list(array.T)
    arrays = [_array(part) for part in parts]
    for array in arrays:
        _check_finite(array)
    masks = [~missing_mask(array) for array in arrays]
    if wrong := {mask.shape for mask in masks} - {(n_samples,)}:
        raise ValueError(f"X has {n_samples} rows, and y has a column of shape {wrong.pop()}.")
    return np.asarray(np.any(masks, axis=0))


def domains_of(sample_domain: Any, n_samples: int) -> npt.NDArray[Any]:
    """Return the domain of each sample, as an array of objects.

    Parameters
    ----------
    sample_domain : array-like of shape (n_samples,), or str or int
        Names or numbers; one stands for all samples.
    n_samples : int
        Number of rows.

    Raises
    ------
    ValueError
        If the number of domains is another, or one is missing.
    """
    if isinstance(sample_domain, (str, bytes, Integral)):
        found = np.empty(n_samples, object)
        found[:] = sample_domain
        return found
    array = _array(sample_domain)
    if array.shape != (n_samples,):
        raise ValueError(f"sample_domain has the shape {array.shape}, and X has {n_samples} rows; pass one for each.")
    if (missing := missing_mask(array)).any():
        raise ValueError(f"sample_domain is missing for {missing.sum()} rows, such as {int(np.argmax(missing))}.")
    found = np.empty(n_samples, object)
    found[:] = array.tolist()
    return found


def check_known(domains: npt.NDArray[Any], known: Iterable[Any]) -> None:
    """Refuse domains that were not in `fit`."""
    known = list(known)
    if wrong := [domain for domain in dict.fromkeys(domains.tolist()) if domain not in known]:
        raise ValueError(
            f"sample_domain={wrong[0]!r} was not in fit; known are {', '.join(map(repr, known))}. Its rows, without "
            f"labels, belong in fit.{nearest(str(wrong[0]), map(str, known))}"
        )


def sources(domains: npt.NDArray[Any], has_label: npt.NDArray[np.bool_]) -> list[Any]:
    """Return the source domains: those that are labeled throughout; if there are none, in part; else all."""
    names = list(dict.fromkeys(domains.tolist()))
    throughout = [name for name in names if has_label[domains == name].all()]
    return throughout or [name for name in names if has_label[domains == name].any()] or names


def _array(values: Any) -> npt.NDArray[Any]:
    """Return an array; of objects, where an array of one kind would change the labels."""
    if hasattr(values, "isna") and hasattr(values, "iloc") and not hasattr(values, "columns"):  # pandas
        return _with_gaps(values, np.asarray(values.isna(), bool))
    if hasattr(values, "is_null"):  # polars
        return _with_gaps(values, np.asarray(values.is_null().to_numpy(), bool))
    if isinstance(values, np.ma.MaskedArray):
        return _with_gaps(values.data, np.ma.getmaskarray(values))
    if hasattr(values, "__array__") or hasattr(values, "shape"):
        return np.asarray(values)
    plain = list(values)
    if any(isinstance(value, (list, tuple)) for value in plain):
        return np.asarray(plain)
    array = np.empty(len(plain), object)
    array[:] = plain
    return settled(array)


def _with_gaps(values: Any, gaps: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    """Return an array with None where labels are missing; without any, of the dtype that it has."""
    if not gaps.any():
        return np.asarray(values)
    array = np.asarray(values, object).copy()
    if hasattr(values, "to_list"):  # polars turns integers with nulls to floats
        array[:] = values.to_list()
    array[gaps] = None
    return array


def _check_finite(labels: npt.NDArray[Any]) -> None:
    if labels.dtype.kind == "f" and np.isinf(labels).any():
        raise ValueError("y contains infinity. A missing label is None or NaN.")
