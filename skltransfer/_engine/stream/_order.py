"""Rows that are finished in any order, handed on in the order of the samples."""

from __future__ import annotations

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

    def put(self, index: int, result: Any) -> None:
        """Add the row of a sample, or its `Failure`."""
        if index < self._next or index in self._early:
            raise SklTransferError(f"Sample {index} was finished twice. {REPORT}")
        self._early[index] = result
        self.finished += 1

    def ready(self) -> Finished:
        """Return what is finished and whose turn it is; it may be nothing."""
        start, rows, failures = self._next, [], []
        while self._next in self._early:
            result = self._early.pop(self._next)
            self._next += 1
            if isinstance(result, Failure):
                failures.append(result)
            rows.append(None if isinstance(result, Failure) else result)
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
