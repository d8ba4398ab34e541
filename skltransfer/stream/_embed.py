"""The coordinator of one call of `embed`: the caller's thread, which owns all state.

Order, cache, duplicates and failures are its business; the line (`_line`) turns items into rows. Memory is bounded by
the batches in flight, however many samples there are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from skltransfer import runtime
from skltransfer.cache import Cache
from skltransfer.errors import Failure, SampleError
from skltransfer.stream._line import LINES, Batch, Item, Line
from skltransfer.stream._prepare import Plan

#: Samples read ahead at a time when there is a cache to look them up in.
CHUNK = 32
#: Texts prepared by one worker at a time to be sorted.
AHEAD_PART = 128
#: Rows made room for when it is not known how many will come.
FIRST_ROOM = 1024


class Embedded(NamedTuple):
    """What came out.

    Attributes
    ----------
    rows : ndarray of shape (n, columns), float32
        In the order of the samples; NaN where a sample failed.
    failures : list of Failure
        In the order of the samples.
    notes : list of str
        What was noticed and is worth a warning.
    details : list of str
        What is worth knowing only to someone who asks for it.
    """

    rows: runtime.Rows
    failures: list[Failure]
    notes: list[str]
    details: list[str]


def embed(
    samples: Iterable[Any],
    plan: Plan,
    *,
    count: int | None = None,
    width: int | None = None,
    workers: int = 1,
    batch_size: int | None = None,
    cache: Cache | None = None,
    skip_bad: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Embedded:
    """Embed samples.

    Parameters
    ----------
    samples : iterable
        Iterated once, lazily.
    plan : Plan
        What to run, and where.
    count, width : int, optional
        Number of samples and of columns, if known.
    workers : int
        Threads that prepare (and, on the CPU, run).
    batch_size : int, optional
        Samples per run; None: as the line's table says.
    cache : Cache, optional
        Rows already known are taken from it, new ones put into it, duplicates run once. Without one, samples are not
        fingerprinted at all.
    skip_bad : bool
        Whether a sample that fails becomes a row of NaN rather than an error.
    progress : callable, optional
        Called with the number of rows finished so far, after every batch.

    Returns
    -------
    Embedded

    Raises
    ------
    SampleError
        For the first sample that failed, after the rows finished by then are in the cache.
    """
    with LINES[plan.device.kind](plan, workers, batch_size) as line:
        return _Run(line, cache, _Rows(count, width), skip_bad, progress).drive(samples)


class _Rows:
    """The result as it grows.

    Room is added in place, and memory that is not written to is not resident: the peak is that of the result.
    """

    def __init__(self, count: int | None, width: int | None) -> None:
        self._room = np.empty((0, width or 0), np.float32)
        self._count, self.width = count or FIRST_ROOM, width

    def put(self, index: int, row: npt.ArrayLike) -> None:
        """Set a row."""
        if self.width is None or index >= len(self._room):
            self.width = self.width or np.size(row)
            self._resize(max(self._count, index + 1, 2 * len(self._room)))
        self._room[index] = row

    def take(self, count: int) -> runtime.Rows:
        """Give the first rows; nothing may be set afterwards."""
        self._resize(count)
        return self._room

    def _resize(self, count: int) -> None:
        self._room.resize((count, self.width or 0), refcheck=False)


@dataclass
class _Run:
    """The coordinator of one call of `embed`."""

    line: Line
    cache: Cache | None
    rows: _Rows
    skip_bad: bool
    progress: Callable[[int], None] | None
    failures: list[Failure] = field(default_factory=list)
    seen: int = 0
    finished: int = 0
    waiting: list[Item] = field(default_factory=list)
    running: set[Future[Batch]] = field(default_factory=set)
    #: Key to the indices that wait for its row: what comes twice is run once.
    awaited: dict[bytes, list[int]] = field(default_factory=dict)

    def drive(self, samples: Iterable[Any]) -> Embedded:
        """Move every sample through the line."""
        reading: deque[Future[Batch]] = deque()
        for chunk in self._chunks(samples):
            if self.cache is None:
                self._line_up(chunk)
            else:
                reading.append(self.line.read(chunk))
                if len(reading) > self.line.ahead:
                    self._look_up(reading.popleft().result())
            if self.failures and not self.skip_bad:
                break
        while reading:
            self._look_up(reading.popleft().result())
        self._line_up([], last=True)
        while self.running:
            self._collect()
        return self._result()

    def _result(self) -> Embedded:
        self.failures.sort()
        if self.failures and not self.skip_bad:
            raise SampleError(self.failures[0])
        if self.rows.width is None:
            self.rows.width = self.line.session(None).width
        for failure in self.failures:
            self.rows.put(failure.index, np.nan)
        preparer = self.line.preparer
        return Embedded(self.rows.take(self.seen), self.failures, preparer.notes(), preparer.details())

    def _chunks(self, samples: Iterable[Any]) -> Iterator[list[Item]]:
        size = self.line.window if self.cache is None else max(CHUNK, self.line.window)
        source = iter(samples)
        while chunk := [Item(self.seen + i, sample) for i, sample in enumerate(islice(source, size))]:
            self.seen += len(chunk)
            yield chunk

    def _look_up(self, read: Batch) -> None:
        """Take known rows out of the cache and line up the rest."""
        self._note_failures(read)
        keyed = [(item, item.key) for item in read.items if item.key is not None]
        known = self.cache.get([key for _, key in keyed]) if self.cache is not None else {}
        fresh = []
        for item, key in keyed:
            if key in known:
                self._place([item.index], known[key])
            elif key in self.awaited:
                self.awaited[key].append(item.index)
            else:
                self.awaited[key] = [item.index]
                fresh.append(item)
        self._report()
        self._line_up(fresh)

    def _line_up(self, items: list[Item], *, last: bool = False) -> None:
        """Hand full batches to the line, and wait when enough are in flight."""
        self.waiting += items
        while len(self.waiting) >= self.line.window or (last and self.waiting):
            window, self.waiting = self.waiting[: self.line.window], self.waiting[self.line.window :]
            for batch in self._cut(window):
                while len(self.running) >= self.line.in_flight:
                    self._collect()
                self.running.add(self.line.submit(batch))

    def _cut(self, window: list[Item]) -> list[list[Item]]:
        """Cut a window into batches; where lengths differ, it is prepared first, so that similar ones come together."""
        if not self.line.preparer.by_length:
            return [window]
        parts = [self.line.prepare(window[i : i + AHEAD_PART]) for i in range(0, len(window), AHEAD_PART)]
        prepared = [part.result() for part in parts]
        for part in prepared:
            self._note_failures(part)
        items = sorted((item for part in prepared for item in part.items), key=_length, reverse=True)
        return _within(items, self.line.batch, counted=self.line.counted)

    def _collect(self) -> None:
        """Wait for a batch, put its rows in place and into the cache."""
        done, self.running = wait(self.running, return_when=FIRST_COMPLETED)
        for future in done:
            batch = future.result()
            self._note_failures(batch)
            if batch.rows is None:
                continue
            if self.cache is not None:
                self.cache.put({item.key: row for item, row in zip(batch.items, batch.rows, strict=True) if item.key})
            for item, row in zip(batch.items, batch.rows, strict=True):
                self._place(self._indices(item), row)
        self._report()

    def _report(self) -> None:
        if self.progress is not None:
            self.progress(self.finished)

    def _indices(self, item: Item) -> list[int]:
        return self.awaited.pop(item.key, [item.index]) if item.key is not None else [item.index]

    def _place(self, indices: list[int], row: runtime.Rows) -> None:
        for index in indices:
            self.rows.put(index, row)
        self.finished += len(indices)

    def _note_failures(self, batch: Batch) -> None:
        for item, reason in batch.failed:
            indices = self._indices(item)
            path = self.line.preparer.path(item.sample)
            self.failures += [Failure(index, path, reason) for index in indices]
            self.finished += len(indices)


def _length(item: Item) -> int:
    return max(map(len, item.pieces))


def _within(items: list[Item], budget: int, *, counted: bool) -> list[list[Item]]:
    """Cut sorted items into batches of a number of items, or of tokens with their padding."""
    batches: list[list[Item]] = []
    pieces = longest = 0
    for item in items:
        pieces, longest = pieces + len(item.pieces), longest or _length(item)
        size = len(batches[-1]) + 1 if counted and batches else pieces * longest
        if not batches or size > budget:
            batches.append([])
            pieces, longest = len(item.pieces), _length(item)
        batches[-1].append(item)
    return batches
