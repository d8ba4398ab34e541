"""Scores of embeddings against labels: cross-validated estimators, nearest neighbors, and LogME.

The room is given rows and labels. It knows nothing of backbones or samples.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from skltransfer._engine import runtime

Rows = npt.NDArray[np.float32]
Targets = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]
Split = tuple[npt.NDArray[Any], npt.NDArray[Any]]

#: Rows compared with all others at a time; bounds memory to this many rows of the matrix of cosines.
BLOCK = 512
#: Neighbors that vote on a sample.
NEIGHBORS = 5


# ---------------------------------------------------------------------------------------------------------------------
# Cross-validation


def linear_classifier(C: float = 1.0, *, scale: bool) -> Any:
    """Return a logistic regression, behind a `StandardScaler` if told to scale."""
    from sklearn.linear_model import LogisticRegression

    classifier = LogisticRegression(C=C, max_iter=1000)
    return _scaled(classifier) if scale else classifier


def linear_regressor() -> Any:
    """Return a ridge regression that chooses its penalty, behind a `StandardScaler`."""
    from sklearn.linear_model import RidgeCV

    return _scaled(RidgeCV(np.logspace(0, 6, 13)))


def _scaled(head: Any) -> Any:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), head)


def splits(y: Any, groups: Indices | None, cv: Any, *, regression: bool) -> Iterator[Split]:
    """Yield train and test indices.

    An int for `cv` keeps groups together if there are groups; scikit-learn's `check_cv` would ignore them.
    """
    from sklearn.model_selection import GroupKFold, StratifiedGroupKFold, check_cv

    if groups is not None and isinstance(cv, int):
        cv = (GroupKFold if regression else StratifiedGroupKFold)(cv)
    yield from check_cv(cv, y, classifier=not regression).split(np.zeros(len(y)), y, groups)


def cross_validate(
    estimator: Any,
    rows: Rows,
    y: Any,
    cv: Iterable[Split],
    *,
    scoring: Any = None,
    n_jobs: int | None = None,
    error_score: Any = np.nan,
) -> Targets:
    """Return the score of an estimator on each split, fitted in `n_jobs` threads."""
    from joblib import parallel_config
    from sklearn.model_selection import cross_val_score
    from threadpoolctl import threadpool_limits

    # One BLAS thread per fit: on matrices this small they mostly wait for each other, minutes on a busy machine.
    with threadpool_limits(1), parallel_config("threading", n_jobs=runtime.workers(n_jobs)):
        scores: Targets = cross_val_score(estimator, rows, y, cv=cv, scoring=scoring, error_score=error_score)
    return scores


# ---------------------------------------------------------------------------------------------------------------------
# Scores without training


def as_targets(y: Any, *, regression: bool) -> Targets:
    """Return labels as columns: one per class with 0 or 1, or the numbers of a regression."""
    if regression:
        return np.asarray(y, np.float64)[:, np.newaxis]
    classes, index = np.unique(y, return_inverse=True)
    return np.eye(len(classes))[index]


def knn(unit: Rows, targets: Targets, groups: Indices, *, regression: bool) -> float:
    """Return the leave-one-group-out accuracy, or R2, of the nearest neighbors, weighted by their cosine.

    Parameters
    ----------
    unit : ndarray of shape (n, columns)
        From `unit_rows`.
    targets : ndarray of shape (n, n_targets)
        From `as_targets`.
    groups : ndarray of shape (n,)
        Samples of the same group are not neighbors.
    regression : bool
        Whether targets are numbers rather than classes.
    """
    from sklearn.metrics import accuracy_score, r2_score

    guesses = np.empty_like(targets)
    for block in blocks(len(unit)):
        cosine = unit[block] @ unit.T
        cosine[groups[block, np.newaxis] == groups] = -np.inf
        nearest = np.argpartition(-cosine, min(NEIGHBORS, len(unit) - 1) - 1, axis=1)[:, :NEIGHBORS]
        weights = np.maximum(np.take_along_axis(cosine, nearest, axis=1), 1e-6)
        weights[np.isneginf(np.take_along_axis(cosine, nearest, axis=1))] = 0
        guesses[block] = np.einsum("nk,nkt->nt", weights, targets[nearest]) / weights.sum(axis=1, keepdims=True)
    if regression:
        return float(r2_score(targets, guesses))
    return float(accuracy_score(targets.argmax(axis=1), guesses.argmax(axis=1)))


def logme(rows: Rows, targets: Targets, max_iter: int = 100) -> float:
    """Return the maximum log evidence per sample of a Bayesian linear model, averaged over the targets [1]_.

    Parameters
    ----------
    rows : ndarray of shape (n, columns)
        Embeddings.
    targets : ndarray of shape (n, n_targets)
        From `as_targets`.
    max_iter : int
        Most steps of the fixed-point iteration, for each target.

    References
    ----------
    .. [1] You, Liu, Wang and Long, "LogME: Practical Assessment of Pre-trained Models for Transfer Learning", ICML
       2021.
    """
    n, d = rows.shape
    left, values, _ = np.linalg.svd(rows.astype(np.float64), full_matrices=False)
    power, seen = values**2, (left.T @ targets) ** 2
    unseen = np.maximum((targets**2).sum(axis=0) - seen.sum(axis=0), 0)
    evidences = [_evidence(n, d, power, known, rest, max_iter) for known, rest in zip(seen.T, unseen, strict=True)]
    return float(np.mean(evidences))


def _evidence(n: int, d: int, power: Targets, known: Targets, rest: float, max_iter: int) -> float:
    """Maximize the log evidence per sample of one target over the two precisions, by fixed-point iteration."""
    weight = noise = 1.0
    for _ in range(max_iter):
        ratio = weight / noise
        effective = (power / (power + ratio)).sum()
        length = (power * known / (power + ratio) ** 2).sum()
        error = (known * (ratio / (power + ratio)) ** 2).sum() + rest
        weight, noise = effective / max(length, 1e-12), (n - effective) / max(error, 1e-12)
        if abs(weight / noise - ratio) <= 1e-4 * ratio:
            break
    spread = np.log(weight + noise * power).sum() + max(d - n, 0) * np.log(weight)
    evidence = d * np.log(weight) + n * np.log(noise / (2 * np.pi)) - spread - noise * error - weight * length
    return float(evidence / 2 / n)


# ---------------------------------------------------------------------------------------------------------------------
# Cosines


def unit_rows(rows: npt.ArrayLike) -> Rows:
    """Scale rows to unit length; rows that are zero or not finite become zero, hence similar to no other."""
    rows = np.asarray(rows, dtype=np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    usable = np.broadcast_to(np.isfinite(lengths) & (lengths > 0), rows.shape)
    unit: Rows = np.divide(rows, lengths, out=np.zeros_like(rows), where=usable)
    return unit


def blocks(n: int) -> Iterator[slice]:
    """Yield slices of at most `BLOCK` rows."""
    return (slice(start, start + BLOCK) for start in range(0, n, BLOCK))


def connected_groups(unit: Rows, threshold: float) -> Indices:
    """Number the connected components of the pairs of unit rows whose cosine reaches the threshold.

    Returns
    -------
    ndarray of shape (n,)
        Numbers from 0, in the order of the first row of each component.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n, pairs = len(unit), [np.empty((2, 0), np.intp)]
    for block in blocks(n):
        # Rounding to float32 makes the cosine of a row with itself a little less than 1.
        close = np.nonzero(unit[block] @ unit[block.start :].T >= threshold - 1e-6)
        pairs.append(np.asarray(close) + block.start)
    left, right = np.concatenate(pairs, axis=1)
    graph = coo_array((np.ones(len(left), dtype=bool), (left, right)), shape=(n, n))
    groups = connected_components(graph, directed=False)[1]
    _, first, number = np.unique(groups, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[number]
