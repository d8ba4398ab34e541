"""The way in: samples are read ahead, fingerprinted and looked up."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from itertools import islice
from typing import Any

from skltransfer._engine.stream._ledger import Ledger
from skltransfer._engine.stream._line import Line
from skltransfer._engine.stream._results import Results
from skltransfer._engine.stream._work import Batch, Item

#: Samples read ahead at a time when there is a cache to look them up in.
CHUNK = 32
#: Most of them, however many are run together. With thousands in flight the garbage collector looks at every object of
#: the process again and again (measured: half the time of 400,000 look-ups).
MOST_READ = 256
#: Samples of a call that are read and looked up without a thread: starting one takes longer (measured: 0.1 ms).
INLINE = 4


class Intake:
    """Turns samples into the items that have to be run.

    Attributes
    ----------
    seen : int
        Samples drawn so far.
    """

    def __init__(self, line: Line, ledger: Ledger, results: Results) -> None:
        self._line, self._ledger, self._results = line, ledger, results
        self.seen = 0

    def items(self, samples: Iterable[Any]) -> Iterator[list[Item]]:
        """Yield items to line up: all of them, or with a cache those whose rows are not known."""
        return self._looked_up(samples) if self._ledger.cached else self._all(samples)

    def _all(self, samples: Iterable[Any]) -> Iterator[list[Item]]:
        for chunk in self._chunks(samples):
            yield chunk
            if self._results.failed:
                return

    def _looked_up(self, samples: Iterable[Any]) -> Iterator[list[Item]]:
        reading: deque[Future[Batch]] = deque()
        for chunk in self._chunks(samples):
            if len(chunk) <= INLINE and not reading:
                yield self._entered(self._line.work.fingerprint(chunk))
            else:
                reading.append(self._line.read(chunk))
                if len(reading) > self._line.workers or self._line.work.budget.full:
                    yield self._entered(reading.popleft().result())
            if self._results.failed:
                break
        while reading:
            yield self._entered(reading.popleft().result())

    def _chunks(self, samples: Iterable[Any]) -> Iterator[list[Item]]:
        source = iter(samples)
        while True:
            size = max(CHUNK, min(self._line.window, MOST_READ)) if self._ledger.cached else self._line.window
            chunk = self._drawn(source, size)
            if not chunk:
                return
            self.seen += len(chunk)
            yield chunk

    def _drawn(self, source: Iterator[Any], size: int) -> list[Item]:
        """Draw samples: one at least, fewer than asked for where those held fill the memory they may."""
        budget, chunk = self._line.work.budget, list[Item]()
        for sample in islice(source, size):
            chunk.append(Item(self.seen + len(chunk), sample, lease=budget.lease(sample)))
            if budget.full:
                break
        return chunk

    def _entered(self, read: Batch) -> list[Item]:
        """Place the rows that are known; return the items that have none."""
        self._results.note_failures(read)
        fresh, placed = self._ledger.enter(read.items)
        self._results.place(placed)
        self._results.report()
        return fresh
