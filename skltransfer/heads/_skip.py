"""`SkipBadRows`: an estimator that leaves rows with NaN out, instead of refusing all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone
from sklearn.utils import get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_consistent_length, check_is_fitted, validate_data

from skltransfer.errors import InputWarning, warn
from skltransfer.heads._rows import take, weight_of

#: Rows that a warning names; of more, their number is.
MOST = 10


def _has(method: str) -> Callable[[Any], bool]:
    """Return a check whether the wrapped estimator has a method, which raises its own AttributeError if not."""

    def check(self: SkipBadRows) -> bool:
        getattr(self.__dict__.get("estimator_", self.estimator), method)
        return True

    return check


class SkipBadRows(MetaEstimatorMixin, BaseEstimator):
    """Fit and predict with the rows that hold no NaN; the others get a missing label.

    ``PretrainedEmbedder(on_error="nan")`` returns a row of NaN for a sample that cannot be read, and most classifiers
    refuse NaN. This one leaves such rows out of `fit`, and warns once. In `predict` every sample keeps its place: that
    of a bad row is a missing label.

    Parameters
    ----------
    estimator : estimator
        A classifier or regressor; a clone of it is fitted. A pipeline may be one, such as a scaler and a classifier.
    missing : object, default=None
        Label of a bad row. None: NaN for numbers (integers become floats), None for other labels. Metrics refuse both.
        Set a label of your own, such as ``-1`` or ``"unreadable"``, where ``scoring=`` is to count bad rows as wrong;
        `score` leaves them out.

    Attributes
    ----------
    estimator_ : estimator
        The fitted clone.
    classes_ : ndarray of shape (n_classes,)
        Of a classifier: its labels; `missing` is not one of them.
    n_features_in_ : int
        Number of columns seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if X is a frame whose names are all strings.

    See Also
    --------
    sklearn.impute.SimpleImputer : Fills in single missing numbers; of a whole row it makes an average sample.

    Examples
    --------
    >>> import warnings
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from skltransfer import PretrainedEmbedder
    >>> from skltransfer.datasets import load_emoji
    >>> from skltransfer.heads import SkipBadRows
    >>> emoji = load_emoji()
    >>> X, y = [b"damaged", *emoji.images[:20], *emoji.images[-20:]], ["?"] + 20 * ["face"] + 20 * ["other"]
    >>> head = SkipBadRows(LogisticRegression(max_iter=1000))
    >>> pipeline = make_pipeline(PretrainedEmbedder(on_error="nan"), head)
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")
    ...     labels = pipeline.fit(X, y).predict(X[:3])
    >>> labels.tolist()
    [None, 'face', 'face']
    """

    def __init__(self, estimator: Any, *, missing: Any = None) -> None:
        self.estimator = estimator
        self.missing = missing

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> SkipBadRows:
        """Fit a clone of the estimator to the rows without NaN.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; those that hold NaN are left out, with one warning.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Labels or numbers to predict.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights, for estimators that take them.

        Raises
        ------
        ValueError
            If every row holds NaN.
        """
        rows, good = self._checked(X, reset=True)
        if y is not None:
            check_consistent_length(rows, y)
        weight = {} if sample_weight is None else {weight_of(self.estimator): take(sample_weight, good)}
        _say_left_out(good, "fit")
        self.estimator_ = clone(self.estimator).fit(take(rows, good), None if y is None else take(y, good), **weight)
        return self

    @available_if(_has("predict"))
    def predict(self, X: Any) -> Any:
        """Predict a label or a number for each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            The dtype is that of the estimator, unless a row is bad: then a missing label has to fit, see `missing`.
        """
        return self._filled("predict", X, self.missing)

    @available_if(_has("predict_proba"))
    def predict_proba(self, X: Any) -> Any:
        """Predict the probability of each class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples, n_classes), or a list of them
            NaN for bad rows.
        """
        return self._filled("predict_proba", X, np.nan)

    @available_if(_has("predict_log_proba"))
    def predict_log_proba(self, X: Any) -> Any:
        """Predict the logarithm of the probability of each class; as `predict_proba`."""
        return self._filled("predict_log_proba", X, np.nan)

    @available_if(_has("decision_function"))
    def decision_function(self, X: Any) -> Any:
        """Compute the confidence of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            NaN for bad rows.
        """
        return self._filled("decision_function", X, np.nan)

    @available_if(_has("score"))
    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return the estimator's score on the rows without NaN; one warning counts the others.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            True labels or numbers.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights.

        Returns
        -------
        float
            Accuracy of classifiers, R² of regressors.
        """
        check_is_fitted(self)
        rows, good = self._checked(X, reset=False)
        _say_left_out(good, "score")
        weight = {} if sample_weight is None else {"sample_weight": take(sample_weight, good)}
        return float(self.estimator_.score(take(rows, good), None if y is None else take(y, good), **weight))

    @property
    def classes_(self) -> Any:
        """Labels of a fitted classifier."""
        return self.estimator_.classes_

    def __sklearn_is_fitted__(self) -> bool:
        """Return whether `fit` was called."""
        return "estimator_" in self.__dict__

    def __sklearn_tags__(self) -> Any:
        """Return the tags of the estimator, but for NaN, which is allowed."""
        tags, inner = super().__sklearn_tags__(), get_tags(self.estimator)
        for name in ("estimator_type", "target_tags", "classifier_tags", "regressor_tags", "non_deterministic"):
            setattr(tags, name, getattr(inner, name))
        tags.input_tags.sparse, tags.input_tags.allow_nan = inner.input_tags.sparse, True
        return tags

    def _onnx_parts(self) -> dict[str, Any]:
        """Return the fitted estimator, for `export`: a file has no rows that are bad."""
        return {"estimator": self.estimator_}

    def _checked(self, X: Any, *, reset: bool) -> tuple[Any, npt.NDArray[np.bool_]]:
        """Check rows; return them, as a frame if they are one, and which of them hold no NaN."""
        checked = validate_data(self, X, reset=reset, accept_sparse="csr", ensure_all_finite="allow-nan", allow_nd=True)
        return X if hasattr(X, "columns") else checked, ~_holds_nan(checked)

    def _filled(self, method: str, X: Any, missing: Any) -> Any:
        """Call a method with the good rows, and fill in what is missing for the others."""
        check_is_fitted(self)
        rows, good = self._checked(X, reset=False)
        call = getattr(self.estimator_, method)
        if good.all():
            return call(rows)
        # With nothing to predict, a row of zeros shows the shape.
        found = call(take(rows, good) if good.any() else _zeros_like(rows))
        if isinstance(found, list):  # one array for each output
            return [_fill(part, good, missing) for part in found]
        return _fill(found, good, missing)


def _holds_nan(rows: Any) -> npt.NDArray[np.bool_]:
    """Return which rows of a checked array or sparse matrix hold NaN."""
    if isinstance(rows, np.ndarray):
        if rows.dtype.kind not in "fc":
            return np.zeros(len(rows), bool)
        return np.asarray(np.isnan(rows).reshape(len(rows), -1).any(axis=1))
    counts = np.diff(rows.indptr)
    held = np.repeat(np.arange(rows.shape[0]), counts)[np.isnan(rows.data)]
    return np.isin(np.arange(rows.shape[0]), held)


def _zeros_like(rows: Any) -> Any:
    """Return one row of zeros, of the kind that rows are."""
    if hasattr(rows, "fillna"):  # pandas
        return rows.iloc[:1].fillna(0)
    if hasattr(rows, "fill_nan"):  # polars
        return rows[:1].fill_nan(0).fill_null(0)
    zeros = rows[:1].copy()
    zeros[...] = 0
    return zeros


def _fill(found: Any, good: npt.NDArray[np.bool_], missing: Any) -> npt.NDArray[Any]:
    """Put what was found in the places of the good rows, and what is missing in the others."""
    found = np.asarray(found)
    if missing is None and found.dtype.kind in "iuf":
        missing = np.nan
    out = np.full((len(good), *found.shape[1:]), missing, _dtype(found.dtype, missing))
    if good.any():
        out[good] = found
    return out


def _dtype(found: np.dtype[Any], missing: Any) -> np.dtype[Any]:
    """Return the dtype of labels and the missing one: numbers stay numbers and text stays text, else objects."""
    label = np.min_scalar_type(missing)
    if found.kind in "iu" and label.kind in "iuf":
        return np.result_type(found, label)
    if found.kind == "f" and label.kind in "iuf":
        return found
    return np.result_type(found, label) if found.kind == label.kind == "U" else np.dtype(object)


def _say_left_out(good: npt.NDArray[np.bool_], method: str) -> None:
    """Warn of rows that are left out; refuse to go on without any."""
    if good.all():
        return
    bad = np.flatnonzero(~good)
    shown = ", ".join(map(str, bad[:MOST])) + (f" and {len(bad) - MOST} more" if len(bad) > MOST else "")
    if not good.any():
        raise ValueError(f"All {len(good)} rows hold NaN; there is nothing to {method}. Were all samples unreadable?")
    warn(f"{len(bad)} of {len(good)} rows hold NaN and are left out of {method}: rows {shown}.", InputWarning)
