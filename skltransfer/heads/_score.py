"""`task_scores`: the score of each task of a pipeline, as a scorer."""

from __future__ import annotations

from typing import Any

from sklearn.utils.validation import check_is_fitted

from skltransfer.heads._multitask import MultiTask


def task_scores(estimator: Any, X: Any, y: Any) -> dict[str, float]:
    """Compute the score of each task; pass it as ``scoring`` of `sklearn.model_selection.cross_validate`.

    Parameters
    ----------
    estimator : estimator
        A fitted `MultiTask`, a pipeline that ends in one, or a search over either.
    X : array-like of shape (n_samples,) or (n_samples, n_features)
        Samples, or rows.
    y : DataFrame or array-like of shape (n_samples, n_tasks)
        True labels; some may be missing.

    Returns
    -------
    dict of float
        Accuracy of classifiers, R² of regressors, by task; NaN where a fold has no label of it, since every fold needs
        the same names.

    Raises
    ------
    TypeError
        If there is no `MultiTask` at the end.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.model_selection import cross_validate
    >>> from skltransfer.heads import MultiTask, TaskStratifiedKFold, task_scores
    >>> X = np.arange(60.0).reshape(-1, 1)
    >>> y = np.column_stack([np.where(X[:, 0] < 30, "low", "high"), X[:, 0] / 7]).astype(object)
    >>> y[:, 1] = X[:, 0] / 7
    >>> found = cross_validate(MultiTask(), X, y, cv=TaskStratifiedKFold(3), scoring=task_scores)
    >>> sorted(name for name in found if name.startswith("test"))
    ['test_y0', 'test_y1']
    """
    check_is_fitted(estimator)
    if hasattr(estimator, "best_estimator_"):
        return task_scores(estimator.best_estimator_, X, y)
    if hasattr(estimator, "steps"):
        rows = estimator[:-1].transform(X) if len(estimator.steps) > 1 else X
        return task_scores(estimator.steps[-1][1], rows, y)
    if not isinstance(estimator, MultiTask):
        raise TypeError(f"task_scores wants a MultiTask at the end of the pipeline, and found {estimator!r}.")
    found = estimator.scores(X, y)
    return {str(name): found.get(name, float("nan")) for name in estimator.heads_}
