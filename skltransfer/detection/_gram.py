"""Ridge regression from sums: rows are added a block at a time and never stacked."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

#: Rows that are multiplied at once: enough for BLAS, 6 MB of 1,584 columns.
BLOCK = 1024


class Gram:
    """Sums of rows, of their products with each other, and of those with what they should predict.

    Parameters
    ----------
    columns, outputs : int
        Lengths of a row and of what it should predict.
    """

    def __init__(self, columns: int, outputs: int) -> None:
        self.n = 0.0
        self._size = (columns, outputs)
        #: Products of (row, 1, outputs) with itself, as far as they are needed: [row, 1]' [row, 1, outputs].
        self._sums: Array | None = None
        self._waiting: list[tuple[Array, ...]] = []
        self._rows_waiting = 0

    def add(self, rows: Array, wanted: Array, weights: Array | None = None) -> None:
        """Add rows (n, columns) that should predict (n, outputs), and count as often as their weights (n,) say."""
        if not len(rows):
            return
        weights = np.ones(len(rows)) if weights is None else weights
        self._waiting.append(tuple(np.asarray(part, np.float32) for part in (rows, wanted, weights)))
        self._rows_waiting += len(rows)
        if self._rows_waiting >= BLOCK:
            self._flush()

    def _flush(self) -> None:
        """Multiply the rows that wait."""
        if not self._waiting:
            return
        rows, wanted, weights = (np.concatenate(parts) for parts in zip(*self._waiting, strict=True))
        self._waiting, self._rows_waiting, self.n = [], 0, self.n + float(weights.sum(dtype=float))
        roots = np.sqrt(weights)[:, None]
        rows, wanted = np.hstack([rows, np.ones_like(roots)]) * roots, wanted * roots
        sums, columns = self.sums, rows.shape[1]
        sums[:, :columns] += rows.T @ rows
        sums[:, columns:] += rows.T @ wanted

    @property
    def sums(self) -> Array:
        """[row, 1]' [row, 1, outputs], summed in double precision."""
        if self._sums is None:
            columns, outputs = self._size
            self._sums = np.zeros((columns + 1, columns + 1 + outputs))
        return self._sums

    def total(self) -> tuple[float, Array]:
        """Return the weight of all rows, and their sums."""
        self._flush()
        return self.n, self.sums


def ridge(grams: list[tuple[float, Array]], alpha: float) -> Array:
    """Solve a ridge regression of standardized columns, with an intercept.

    Parameters
    ----------
    grams : list of (weight, sums)
        Of `Gram`, with the weight of each row.
    alpha : float
        Penalty, in units of a row's weight.

    Returns
    -------
    ndarray of shape (columns + 1, outputs), float32
        Coefficients of the columns as they are, then the intercept.
    """
    sums = np.zeros_like(grams[0][1])
    for weight, one in grams:
        _add(sums, weight, one)
    columns = len(sums) - 1
    weight = max(sums[-1, columns], np.finfo(float).tiny)
    mean, wanted_mean = sums[-1, :columns] / weight, sums[-1, columns + 1 :] / weight
    left = sums[:-1, :columns]  # all that follows is in place: each copy would be 30 MB
    spread = np.sqrt(np.maximum(np.diag(left) / weight - mean**2, 1e-8))
    right = (sums[:-1, columns + 1 :] - weight * np.outer(mean, wanted_mean)) / spread[:, None]
    for row in range(columns):
        left[row] -= weight * mean[row] * mean
        left[row] /= spread[row] * spread
    left[np.diag_indices(columns)] += alpha
    found = np.linalg.solve(left, right) / spread[:, None]
    return np.vstack([found, wanted_mean - mean @ found]).astype(np.float32)


def _add(sums: Array, weight: float, one: Array) -> None:
    """Add sums in place, a block of rows at a time."""
    for start in range(0, len(sums), BLOCK):
        sums[start : start + BLOCK] += weight * one[start : start + BLOCK]
