"""`circular_validation`: whether an adaptation holds, without a label of the target."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import accuracy_score
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import check_is_fitted

from skltransfer.adapt._samples import domains_of, labels_of


def circular_validation(estimator: Any, X: Any, y: Any, sample_domain: Any = None) -> float:
    """Compute how well labels survive the way to the target and back.

    The unlabeled rows get the labels that the estimator predicts; a copy learns from these alone, with the source
    unlabeled, and predicts the source, whose labels are known. An adaptation that maps classes onto each other wrongly,
    or all rows to one class, loses them on the way. Pass it as ``scoring`` to a search with ``cv=[(rows, rows)]``,
    where ``rows`` are the indices of all samples: every fold needs source and target.

    Measured, it chooses about as well as weighted cross-validation on the source, and never better than always taking
    the default of `AdaptedClassifier`: use it to notice an adaptation that fails. The entropy of predictions and the
    density of neighborhoods are no substitutes, since they reward the collapse to few classes.

    Parameters
    ----------
    estimator : estimator
        An `AdaptedClassifier`, or a pipeline that ends in one. It is used as it is if it is fitted, else a copy is
        fitted first.
    X : array-like of shape (n_samples,) or (n_samples, n_features)
        Samples or rows of source and target.
    y : array-like of shape (n_samples,)
        Labels; missing ones are those of the target.
    sample_domain : array-like of shape (n_samples,), default=None
        Domain of each row. None: labeled rows are the source.

    Returns
    -------
    float
        Accuracy on the source, after the way there and back.

    Raises
    ------
    ValueError
        If no label is missing, or all are.

    References
    ----------
    Bruzzone, Marconcini: Domain adaptation problems: a DASVM classification technique and a circular validation
    strategy, IEEE PAMI 2010.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skltransfer.adapt import AdaptedClassifier, circular_validation
    >>> rng = np.random.default_rng(0)
    >>> source = np.vstack([rng.normal(size=(50, 2)), rng.normal(size=(50, 2)) + 6])
    >>> X, y = np.vstack([source, source + 40]), [0] * 50 + [1] * 50 + [None] * 100
    >>> circular_validation(AdaptedClassifier(LogisticRegression()), X, y)
    1.0
    >>> circular_validation(AdaptedClassifier(LogisticRegression(), align=None), X, y)
    0.5
    """
    labels, labeled = labels_of(y)
    if labeled.all() or not labeled.any():
        raise ValueError(
            f"{labeled.sum()} of {len(labeled)} rows have a label; it needs labeled rows of the source, "
            "and rows of the target without one (None or NaN)."
        )
    source, target = np.flatnonzero(labeled), np.flatnonzero(~labeled)
    there = estimator if _is_fitted(estimator) else _fit(estimator, X, y, sample_domain)
    guessed = _predict(there, X, target, sample_domain)
    if len(set(guessed.tolist())) == 1:  # nothing can be learned from one class; it comes back as it went
        return float(np.mean(labels == guessed[0]))
    back = np.full(len(labeled), None, object)
    back[target] = guessed
    found = _predict(_fit(estimator, X, back, sample_domain), X, source, sample_domain)
    return float(accuracy_score(labels, found))


def _is_fitted(estimator: Any) -> bool:
    try:
        check_is_fitted(estimator)
    except NotFittedError:
        return False
    return True


def _fit(estimator: Any, X: Any, y: Any, sample_domain: Any) -> Any:
    """Fit a copy."""
    domains = {} if sample_domain is None else {"sample_domain": sample_domain}
    return clone(estimator).fit(X, y, **domains)


def _predict(estimator: Any, X: Any, rows: Any, sample_domain: Any) -> Any:
    """Predict some rows; without domains, as rows of the target."""
    if sample_domain is None:
        return np.asarray(estimator.predict(_safe_indexing(X, rows)))
    domains = domains_of(sample_domain, X.shape[0] if hasattr(X, "shape") else len(X))
    return np.asarray(estimator.predict(_safe_indexing(X, rows), sample_domain=domains[rows]))
