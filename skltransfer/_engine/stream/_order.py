"""Rows that are finished in any order, handed on in the order of the samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from skltransfer.errors import Failure, SklTransferError


class Finished(NamedTuple):
    """Rows of consecutive samples.

    Attributes
    ----------
    start : int
        Index of the first sample.
    rows : list
        A row per sample, None for those that failed.
    failures : list of Failure
        Of these samples, in order.
    """

    start: int
    rows: list[Any]
    failures: list[Failure]


_NOTHING = object()


class Order:
    """Holds what is finished before its turn.

    Attributes
    ----------
    finished : int
        Samples that are finished, whether handed on or not.
    """

    def __init__(self) -> None:
        self.finished = 0
        self._next = 0
        self._early: dict[int, Any] = {}

    def put(self, results: Mapping[int, Any]) -> None:
        """Add rows of samples by index, or their `Failure`."""
        if twice := [index for index in results if index < self._next] or [*self._early.keys() & results.keys()]:
            raise SklTransferError(f"Sample {twice[0]} was finished twice. {REPORT}")
        self._early.update(results)
        self.finished += len(results)

    def ready(self) -> Finished:
        """Return what is finished and whose turn it is; it may be nothing."""
        early, start, rows = self._early, self._next, []
        while (result := early.pop(self._next, _NOTHING)) is not _NOTHING:
            rows.append(result)
            self._next += 1
        failures = [result for result in rows if isinstance(result, Failure)]
        for failure in failures:
            rows[failure.index - start] = None
        return Finished(start, rows, failures)

    def check(self, seen: int) -> None:
        """Refuse to end a call that lost a sample.

        Raises
        ------
        SklTransferError
            If fewer or more samples are finished than were seen.
        """
        if self.finished != seen or self._early:
            raise SklTransferError(f"{self.finished} rows are finished of {seen} samples. {REPORT}")


REPORT = "This is a fault of skltransfer; please report it. Nothing was returned."
