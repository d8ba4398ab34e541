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
        self.n = 0
        self._size = (columns, outputs)
        #: Products of (row, 1, outputs) with itself, as far as they are needed: [row, 1]' [row, 1, outputs].
        self._sums: Array | None = None
        self._waiting: list[tuple[Array, Array]] = []
        self._rows_waiting = 0

    def add(self, rows: Array, wanted: Array) -> None:
        """Add rows (n, columns) that should predict (n, outputs)."""
        if not len(rows):
            return
        self._waiting.append((rows.astype(np.float32, copy=False), wanted.astype(np.float32, copy=False)))
        self._rows_waiting += len(rows)
        if self._rows_waiting >= BLOCK:
            self._flush()

    def _flush(self) -> None:
        """Multiply the rows that wait."""
        if not self._waiting:
            return
        rows, wanted = (np.concatenate(parts) for parts in zip(*self._waiting, strict=True))
        self._waiting, self._rows_waiting, self.n = [], 0, self.n + len(rows)
        rows = np.hstack([rows, np.ones((len(rows), 1), np.float32)])
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

    def total(self) -> tuple[int, Array]:
        """Return the number of rows, and their sums."""
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
        sums += weight * one
    columns = len(sums) - 1
    weight = max(sums[-1, columns], np.finfo(float).tiny)
    mean, wanted_mean = sums[-1, :columns] / weight, sums[-1, columns + 1 :] / weight
    products = sums[:-1, :columns] - weight * np.outer(mean, mean)
    spread = np.sqrt(np.maximum(np.diag(products) / weight, 1e-8))
    right = (sums[:-1, columns + 1 :] - weight * np.outer(mean, wanted_mean)) / spread[:, None]
    left = products / np.outer(spread, spread)
    left[np.diag_indices(columns)] += alpha
    found = np.linalg.solve(left, right) / spread[:, None]
    return np.vstack([found, wanted_mean - mean @ found]).astype(np.float32)
