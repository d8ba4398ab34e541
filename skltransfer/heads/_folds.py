"""`TaskStratifiedKFold`: folds that each have their share of the labels of every task."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import BaseCrossValidator
from sklearn.utils import check_random_state

from skltransfer.errors import InputWarning, warn
from skltransfer.heads._head import are_numbers, listed
from skltransfer.heads._targets import Column, read

#: Numbers are stratified by quantiles; ten keep their distribution, and leave labels enough for each fold.
QUANTILES = 10


class TaskStratifiedKFold(BaseCrossValidator):
    """Split into folds that have the same share of every class of every task, as far as labels go.

    `KFold` knows nothing of labels, and `StratifiedKFold` takes one target without missing labels: where a task has few
    labels, or they stand together, some folds would have none. Numbers are stratified by quantiles.

    Parameters
    ----------
    n_splits : int, default=5
        Number of folds, at least 2.
    shuffle : bool, default=False
        Whether to draw which samples go together; else the order decides.
    random_state : int, RandomState instance or None, default=None
        Seed of the draw, if `shuffle`.

    References
    ----------
    Sechidis, Tsoumakas, Vlahavas: On the stratification of multi-label data, ECML PKDD 2011.

    Examples
    --------
    >>> import numpy as np
    >>> from skltransfer.heads import TaskStratifiedKFold
    >>> y = {"kind": ["a"] * 4 + ["b"] * 4, "rare": ["x"] * 2 + [None] * 6}
    >>> for train, test in TaskStratifiedKFold(2).split(np.zeros((8, 1)), y):
    ...     print([y["kind"][i] for i in test], [y["rare"][i] for i in test])
    ['a', 'a', 'b', 'b'] ['x', None, None, None]
    ['a', 'a', 'b', 'b'] ['x', None, None, None]
    """

    def __init__(self, n_splits: int = 5, *, shuffle: bool = False, random_state: Any = None) -> None:
        if not isinstance(n_splits, Integral) or n_splits < 2:
            raise ValueError(f"n_splits={n_splits!r} must be an integer of at least 2.")
        if random_state is not None and not shuffle:
            raise ValueError(f"random_state={random_state!r} has no effect without shuffle=True.")
        self.n_splits: int = int(n_splits)
        self.shuffle: bool = shuffle
        self.random_state: Any = random_state

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Return the number of folds.

        Parameters
        ----------
        X, y, groups : object
            Ignored, as in scikit-learn.
        """
        return self.n_splits

    def split(
        self, X: Any, y: Any = None, groups: Any = None
    ) -> Iterator[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]]:
        """Yield the indices of the training and test samples of each fold.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)
            Samples; only their number counts.
        y : DataFrame, dict, list of columns, or array-like of shape (n_samples,) or (n_samples, n_tasks)
            Labels; some may be missing.
        groups : None
            Groups are not kept together; pass None.

        Yields
        ------
        train, test : ndarray of int
            Indices, in order.

        Raises
        ------
        ValueError
            If there are fewer samples than folds, or y or groups is wrong.
        """
        if groups is not None:
            raise ValueError("TaskStratifiedKFold does not keep groups together; use GroupKFold, or groups=None.")
        if y is None:
            raise ValueError("TaskStratifiedKFold stratifies by y, and y is None.")
        n_samples = X.shape[0] if hasattr(X, "shape") else len(X)
        for test in self._iter_test_masks(np.zeros(n_samples), y):
            yield np.flatnonzero(~test), np.flatnonzero(test)

    def _iter_test_masks(self, X: Any = None, y: Any = None, groups: Any = None) -> Iterator[npt.NDArray[np.bool_]]:
        """Yield which samples are tested, for each fold."""
        n_samples = len(X)
        if n_samples < self.n_splits:
            raise ValueError(f"n_splits={self.n_splits} is more than the number of samples, {n_samples}.")
        columns = read(y, n_samples).columns
        if few := [name for name, column in columns.items() if len(column.labels) < self.n_splits]:
            warn(f"Tasks with fewer labels than n_splits={self.n_splits}: {listed(few)}.", InputWarning)
        order = np.arange(n_samples)
        if self.shuffle:
            check_random_state(self.random_state).shuffle(order)
        folds = np.empty(n_samples, np.intp)
        folds[order] = _deal([_codes(column)[order] for column in columns.values()], self.n_splits)
        for fold in range(self.n_splits):
            yield folds == fold


def _codes(column: Column) -> npt.NDArray[np.intp]:
    """Return classes or quantiles as integers from 0, and -1 where there is no label."""
    labels, codes = column.labels, np.full(len(column.labeled), -1, np.intp)
    if are_numbers(labels):
        ranks = np.empty(len(labels), np.intp)
        ranks[np.argsort(labels, kind="stable")] = np.arange(len(labels))
        codes[column.labeled] = ranks * QUANTILES // len(labels)
    else:
        seen: dict[Any, int] = {}
        codes[column.labeled] = [seen.setdefault(label, len(seen)) for label in labels.tolist()]
    return codes


def _deal(tasks: list[npt.NDArray[np.intp]], n_splits: int) -> npt.NDArray[np.intp]:
    """Deal samples to folds: always those of the rarest label that is left, each to the fold that lacks it most."""
    n_samples = len(tasks[0])
    starts = np.cumsum([0, *(int(codes.max(initial=-1)) + 1 for codes in tasks)])
    labels = [np.where(codes < 0, -1, codes + start) for codes, start in zip(tasks, starts, strict=False)]
    of_sample = np.stack(labels, axis=1)
    left = np.bincount(of_sample[of_sample >= 0], minlength=int(starts[-1]))
    lacking = np.repeat(left[:, None] / n_splits, n_splits, axis=1)
    room = np.full(n_splits, n_samples / n_splits)
    folds = np.full(n_samples, -1, np.intp)

    def put(sample: int, want: npt.NDArray[np.floating[Any]]) -> None:
        # Rounded, so that a fold is not preferred for an error of the last bit.
        fold = np.lexsort((-room.round(6), -want.round(6)))[0]
        own = of_sample[sample][of_sample[sample] >= 0]
        folds[sample] = fold
        room[fold] -= 1
        lacking[own, fold] -= 1
        left[own] -= 1

    while left.any():
        rarest = int(np.argmin(np.where(left > 0, left, n_samples + 1)))
        for sample in np.flatnonzero((of_sample == rarest).any(axis=1) & (folds < 0)).tolist():
            put(sample, lacking[rarest])
    for sample in np.flatnonzero(folds < 0).tolist():
        put(sample, room)
    return folds
