"""The coordinator of one call: the caller's thread, which owns all state, and moves samples through the line.

The line (`_line`) turns items into rows, the ledger (`_ledger`) knows who computes which, the order (`_order`) hands
them on. Memory is bounded by the batches in flight, however many samples there are.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from itertools import islice
from typing import Any

from skltransfer._engine import runtime
from skltransfer._engine.cache import Cache
from skltransfer._engine.plan import Plan
from skltransfer._engine.stream._cut import cut
from skltransfer._engine.stream._ledger import Ledger
from skltransfer._engine.stream._line import LINES, Line
from skltransfer._engine.stream._order import Finished, Order
from skltransfer._engine.stream._work import Batch, Item
from skltransfer.errors import Failure, SampleError

#: Samples read ahead at a time when there is a cache to look them up in.
CHUNK = 32
#: Samples of a call that are read and looked up without a thread: starting one takes longer (measured: 0.1 ms).
INLINE = 4
#: Samples that wait for the rows of others, in memory; beyond it, those are waited for.
MOST_DEFERRED = 128
#: Seconds between two looks at what others have done.
PATIENCE = 0.01


@dataclass(frozen=True)
class Options:
    """Choices that do not change numbers.

    Parameters
    ----------
    n_jobs : int or None
        Threads that prepare (and, on the CPU, run), as in `runtime.workers`.
    batch_size : int or None
        Samples per run; None: as the preparer's table says.
    skip_bad : bool
        Whether a sample that fails becomes a row of NaN rather than an error.
    output : runtime.Torch or None
        Keeps rows on the device. There is no cache then, and no text is cut into windows.
    progress : callable or None
        Called with the number of rows finished so far, after every batch.
    """

    n_jobs: int | None = 1
    batch_size: int | None = None
    skip_bad: bool = False
    output: runtime.Torch | None = None
    progress: Callable[[int], object] | None = None


DEFAULT = Options()


def open_line(plan: Plan, options: Options) -> Line:
    """Return the line of a plan's device; its threads start when they are first needed."""
    return LINES[plan.device.kind](plan, options.n_jobs, options.batch_size, options.output)


def batches(
    samples: Iterable[Any],
    plan: Plan,
    *,
    cache: Cache | None = None,
    options: Options = DEFAULT,
    line: Line | None = None,
) -> Iterator[Finished]:
    """Embed samples and yield what is finished, in the order of the samples.

    Parameters
    ----------
    samples : iterable
        Iterated once, lazily.
    plan : Plan
        What to run, and where.
    cache : Cache, optional
        Rows already known are taken from it, new ones put into it, duplicates run once. Without one, samples are not
        fingerprinted at all.
    options : Options
        Threads, batch size, what to do about bad samples.
    line : Line, optional
        From `open_line`, to ask its preparer for notes afterwards; the caller closes it.

    Yields
    ------
    Finished
        Consecutive rows; every sample is in exactly one.

    Raises
    ------
    SampleError
        For the first sample that failed, unless bad ones are skipped, after the rows finished by then are in the cache.
    """
    if line is not None:
        yield from _Coordinator(line, Ledger(plan, cache), options, cached=cache is not None).run(samples)
        return
    with open_line(plan, options) as line:
        yield from _Coordinator(line, Ledger(plan, cache), options, cached=cache is not None).run(samples)


class _Coordinator:
    """State of one call: what was seen, what waits, what runs."""

    def __init__(self, line: Line, ledger: Ledger, options: Options, *, cached: bool) -> None:
        self.line, self.ledger, self.options, self.cached = line, ledger, options, cached
        self.order, self.seen = Order(), 0
        self.first_failure: Failure | None = None
        self.waiting: list[Item] = []
        self.running: set[Future[Batch]] = set()
        #: Items that others compute.
        self.deferred: list[Item] = []

    def run(self, samples: Iterable[Any]) -> Iterator[Finished]:
        """Move every sample through the line."""
        try:
            for items in self._incoming(samples):
                self._line_up(items)
                self._wait_for_others(MOST_DEFERRED)
                yield from self._ready()
            self._line_up([], last=True)
            self._wait_for_others(0)
            while self.running:
                self._collect()
                yield from self._ready()
        finally:
            self.ledger.release()
        if self.first_failure is not None and not self.options.skip_bad:
            raise SampleError(self.first_failure)
        last = self.order.ready()
        self.order.check(self.seen)
        if last.rows:
            yield last

    def _has_failed(self) -> bool:
        return self.first_failure is not None and not self.options.skip_bad

    def _ready(self) -> Iterator[Finished]:
        if (finished := self.order.ready()).rows:
            yield finished

    # -----------------------------------------------------------------------------------------------------------------
    # In

    def _incoming(self, samples: Iterable[Any]) -> Iterator[list[Item]]:
        """Yield items to line up: all of them, or with a cache those whose rows are not known."""
        if not self.cached:
            for chunk in self._chunks(samples):
                yield chunk
                if self._has_failed():
                    return
            return
        reading: deque[Future[Batch]] = deque()
        for chunk in self._chunks(samples):
            if len(chunk) <= INLINE and not reading:
                yield self._entered(self.line.work.fingerprint(chunk))
            else:
                reading.append(self.line.read(chunk))
                if len(reading) > self.line.workers:
                    yield self._entered(reading.popleft().result())
            if self._has_failed():
                break
        while reading:
            yield self._entered(reading.popleft().result())

    def _chunks(self, samples: Iterable[Any]) -> Iterator[list[Item]]:
        source = iter(samples)
        while True:
            size = max(CHUNK, self.line.window) if self.cached else self.line.window
            chunk = [Item(self.seen + i, sample) for i, sample in enumerate(islice(source, size))]
            if not chunk:
                return
            self.seen += len(chunk)
            yield chunk

    def _entered(self, read: Batch) -> list[Item]:
        self._note_failures(read)
        fresh, placed = self.ledger.enter(read.items)
        self._place(placed)
        self._report()
        return fresh

    def _line_up(self, items: list[Item], *, last: bool = False) -> None:
        """Hand full batches to the line, and wait when enough are in flight."""
        self.waiting += items
        while self.waiting:
            size = self.line.window  # a runner may set another meanwhile
            if len(self.waiting) < size and not last:
                return
            window, self.waiting = self.waiting[:size], self.waiting[size:]
            for batch in cut(window, self.line, self._note_failures):
                while len(self.running) >= self.line.in_flight:
                    self._collect()
                mine, others = self.ledger.claim(batch)
                self.deferred += others
                if fresh := self._settled(mine):
                    self.running.add(self.line.submit(fresh))

    def _settled(self, items: list[Item]) -> list[Item]:
        """Place rows that have come to be known; return the items that have none."""
        if not self.cached:
            return items
        fresh, placed = self.ledger.settle(items)
        self._place(placed)
        return fresh

    def _wait_for_others(self, most: int) -> None:
        """Take the rows that others have run meanwhile, until no more than so many are missing.

        Our own claims are on batches that run, so two that wait for each other go on. What others gave up is claimed.
        """
        while len(self.deferred) > most and not self._has_failed():
            if self.running:
                self._collect()
            else:
                time.sleep(PATIENCE)
            missing, self.deferred = self._settled(self.deferred), []
            self._report()
            self._line_up(missing, last=True)

    # -----------------------------------------------------------------------------------------------------------------
    # Out

    def _collect(self) -> None:
        """Wait for a batch, put its rows in place and into the cache."""
        done, self.running = wait(self.running, return_when=FIRST_COMPLETED)
        for future in done:
            batch = future.result()
            self._note_failures(batch)
            if batch.rows is None:
                continue
            self.ledger.keep(batch.items, batch.rows)
            take = self.line.work.plan.take
            for item, row in zip(batch.items, batch.rows, strict=True):
                taken = take(row)
                self._place([(index, taken) for index in self.ledger.indices(item)])
        self._report()

    def _place(self, rows: Iterable[tuple[int, Any]]) -> None:
        for index, row in rows:
            self.order.put(index, row)

    def _note_failures(self, batch: Batch) -> None:
        if not batch.failed:
            return
        self.ledger.release({item.key for item, _ in batch.failed})
        for item, reason in batch.failed:
            path = self.line.work.preparer.path(item.sample)
            failures = [Failure(index, path, reason) for index in self.ledger.indices(item)]
            self._place((failure.index, failure) for failure in failures)
            self.first_failure = min([*failures, *([self.first_failure] if self.first_failure else [])])

    def _report(self) -> None:
        if self.options.progress is not None:
            self.options.progress(self.order.finished)
