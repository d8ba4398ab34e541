"""The way out: rows and failures of batches, for every index that waits for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from skltransfer._engine.modalities import Preparer
from skltransfer._engine.stream._ledger import Ledger
from skltransfer._engine.stream._order import Finished, Order
from skltransfer._engine.stream._work import Batch
from skltransfer.errors import Failure, SampleError


class Results:
    """The finished rows of one call.

    Parameters
    ----------
    preparer : Preparer
        Names the path of a sample.
    ledger : Ledger
        Knows which indices wait for an item.
    progress : callable or None
        Called with the number of rows finished so far.
    skip_bad : bool
        Whether a failure is no reason to stop.
    """

    def __init__(
        self, preparer: Preparer, ledger: Ledger, progress: Callable[[int], object] | None, *, skip_bad: bool
    ) -> None:
        self._preparer, self._ledger, self._progress, self._skip_bad = preparer, ledger, progress, skip_bad
        self._order = Order()
        self._first: Failure | None = None

    @property
    def failed(self) -> bool:
        """Whether to stop."""
        return self._first is not None and not self._skip_bad

    def place(self, rows: Mapping[int, Any]) -> None:
        """Add rows by index."""
        if rows:
            self._order.put(rows)

    def add(self, batch: Batch) -> None:
        """Add the rows of a batch that was run, and put them into the cache."""
        self.note_failures(batch)
        if batch.rows is not None:
            self.place(self._ledger.keep(batch.items, batch.rows, finite=batch.finite))

    def note_failures(self, batch: Batch) -> None:
        """Add the failures of a batch."""
        if not batch.failed:
            return
        self._ledger.release({item.key for item, _ in batch.failed})
        for item, reason in batch.failed:
            path = self._preparer.path(item.sample if item.sample is not None else item.source)
            failures = {index: Failure(index, path, reason) for index in self._ledger.indices(item)}
            self.place(failures)
            self._first = min([*failures.values(), *([self._first] if self._first else [])])

    def report(self) -> None:
        """Report the progress."""
        if self._progress is not None:
            self._progress(self._order.finished)

    def ready(self) -> Iterator[Finished]:
        """Yield what is finished and whose turn it is."""
        if (finished := self._order.ready()).rows:
            yield finished

    def last(self, seen: int) -> Iterator[Finished]:
        """Yield the rest, once every sample is finished.

        Raises
        ------
        SampleError
            For the first sample that failed, unless bad ones are skipped.
        """
        if self._first is not None and not self._skip_bad:
            raise SampleError(self._first)
        finished = self._order.ready()
        self._order.check(seen)
        if finished.rows:
            yield finished
