"""The coordinator of one call: the caller's thread, which owns all state, and moves samples through the line.

The intake (`_intake`) reads samples and looks them up, the line (`_line`) turns items into rows, the ledger (`_ledger`)
knows who computes which, and the results (`_results`) hand rows on in order. Memory is bounded by the batches in
flight, however many samples there are.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import nullcontext
from typing import Any

from skltransfer._engine.cache import Cache
from skltransfer._engine.plan import Plan
from skltransfer._engine.stream._cut import Window
from skltransfer._engine.stream._intake import Intake
from skltransfer._engine.stream._ledger import Ledger
from skltransfer._engine.stream._line import LINES, Line
from skltransfer._engine.stream._options import DEFAULT, Options
from skltransfer._engine.stream._order import Finished
from skltransfer._engine.stream._results import Results
from skltransfer._engine.stream._work import Batch, Item

#: Samples that wait for the rows of others, in memory; beyond it, those are waited for.
MOST_DEFERRED = 128
#: Seconds between two looks at what others have done.
PATIENCE = 0.01


def open_line(plan: Plan, options: Options) -> Line:
    """Return the line of a plan's device; its threads start when they are first needed."""
    return LINES[plan.device.kind](plan, options)


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
    with open_line(plan, options) if line is None else nullcontext(line) as used:
        yield from _Coordinator(used, Ledger(plan, cache), options).run(samples)


class _Coordinator:
    """State of one call: what waits, what runs, what others compute."""

    def __init__(self, line: Line, ledger: Ledger, options: Options) -> None:
        self.line, self.ledger = line, ledger
        self.results = Results(line.work.preparer, ledger, options.progress, skip_bad=options.skip_bad)
        self.intake = Intake(line, ledger, self.results)
        #: What is filled, and items that come after it.
        self.window = Window(line)
        self.waiting: list[Item] = []
        #: Windows that are being prepared while the batches of an earlier one run.
        self.ahead: deque[Window] = deque()
        self.running: set[Future[Batch]] = set()
        self.deferred: list[Item] = []

    def run(self, samples: Iterable[Any]) -> Iterator[Finished]:
        """Move every sample through the line."""
        try:
            for items in self.intake.items(samples):
                self._line_up(items)
                self._make_room()
                self._wait_for_others(MOST_DEFERRED)
                yield from self.results.ready()
            self._line_up([], last=True)
            self._wait_for_others(0)
            self.ledger.expect_end()
            while self.running:
                self._collect()
                yield from self.results.ready()
        finally:
            self.ledger.release()
        yield from self.results.last(self.intake.seen)

    def _line_up(self, items: list[Item], *, last: bool = False) -> None:
        """Fill windows, and hand full ones to the line; run those before, which have been prepared meanwhile."""
        self.waiting = self.window.add(items)
        while self.window.full or (last and self.window.items):
            self.window.close()
            self.ahead.append(self.window)
            self.window = Window(self.line)
            self._run_prepared(self.line.ahead)
            self.waiting = self.window.add(self.waiting)
        if last:
            self._run_prepared(0)

    def _run_prepared(self, most: int) -> None:
        """Run windows until at most so many are left, and wait when enough batches are in flight."""
        while len(self.ahead) > most:
            window = self.ahead.popleft()
            if self.line.ahead:
                self.ledger.claim_window(window.items)
            batches = window.batches(self.results.note_failures)
            # Nothing of the windows ahead is claimed: their order is not known until they are cut.
            for batch in self.ledger.ahead(batches, [] if self.line.ahead else self.waiting):
                while len(self.running) >= self.line.in_flight:
                    self._collect()
                mine, others = self.ledger.claim(batch)
                self.deferred += others
                if fresh := self._settled(mine):
                    self.running.add(self.line.submit(fresh))

    def _make_room(self) -> None:
        """Wait while what was read and not prepared fills the memory it may."""
        while self.line.work.budget.full and self.running:
            self._collect()

    def _settled(self, items: list[Item]) -> list[Item]:
        """Place rows that have come to be known; return the items that have none."""
        fresh, placed = self.ledger.settle(items)
        self.results.place(placed)
        return fresh

    def _wait_for_others(self, most: int) -> None:
        """Collect the rows that others have run meanwhile, until no more than so many are missing.

        Our own claims are on batches that run, so two that wait for each other go on. What others gave up is claimed.
        """
        while len(self.deferred) > most and not self.results.failed:
            if self.running:
                self._collect()
            else:
                time.sleep(PATIENCE)
            missing, self.deferred = self._settled(self.deferred), []
            self.results.report()
            self._line_up(missing, last=True)

    def _collect(self) -> None:
        """Wait for a batch, put its rows in place and into the cache."""
        done, self.running = wait(self.running, return_when=FIRST_COMPLETED)
        for future in done:
            self.results.add(future.result())
        self.line.issue_warnings()
        self.results.report()
