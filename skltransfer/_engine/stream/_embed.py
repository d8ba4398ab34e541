"""The coordinator of one call of `embed`: the caller's thread, which owns all state.

Order, cache, duplicates and failures are its business; the line (`_line`) turns items into rows. Memory is bounded by
the batches in flight, however many samples there are.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Set
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from skltransfer._engine import runtime
from skltransfer._engine.cache import Cache
from skltransfer._engine.stream._line import LINES, Batch, Item, Line
from skltransfer._engine.stream._prepare import Plan
from skltransfer.errors import Failure, SampleError

#: Samples read ahead at a time when there is a cache to look them up in.
CHUNK = 32
#: Texts prepared by one worker at a time to be sorted.
AHEAD_PART = 128
#: Samples that wait for the rows of others, in memory; beyond it, those are waited for.
MOST_DEFERRED = 128
#: Seconds between two looks at what others have done.
PATIENCE = 0.01
#: Rows made room for when it is not known how many will come.
FIRST_ROOM = 1024


class Embedded(NamedTuple):
    """What came out.

    Attributes
    ----------
    rows : ndarray or tensor of shape (n, columns), float32
        In the order of the samples; NaN where a sample failed.
    failures : list of Failure
        In the order of the samples.
    notes : list of str
        What was noticed and is worth a warning.
    details : list of str
        What is worth knowing only to someone who asks for it.
    """

    rows: Any
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
    known: Plan | None = None,
    skip_bad: bool = False,
    progress: Callable[[int], None] | None = None,
    output: runtime.Torch | None = None,
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
    known : Plan, optional
        Another plan for the same rows, as a part of wider ones: taken from the cache where they are known, never run.
    skip_bad : bool
        Whether a sample that fails becomes a row of NaN rather than an error.
    progress : callable, optional
        Called with the number of rows finished so far, after every batch.
    output : Torch, optional
        Leaves the rows on the device. There is no cache then, and no text is cut into windows.

    Returns
    -------
    Embedded

    Raises
    ------
    SampleError
        For the first sample that failed, after the rows finished by then are in the cache.
    """
    rows = _Rows(count, width) if output is None else DeviceRows(count, width, output, plan.device)
    with LINES[plan.device.kind](plan, workers, batch_size, output) as line:
        return _Run(line, cache, known, rows, skip_bad, progress).drive(samples)


class _Rows:
    """The result as it grows.

    Room is added in place, and memory that is not written to is not resident: the peak is that of the result.
    """

    def __init__(self, count: int | None, width: int | None) -> None:
        self._room: Any = np.empty((0, width or 0), np.float32)
        self._count, self.width = count or FIRST_ROOM, width

    def put(self, index: int, row: Any) -> None:
        """Set a row."""
        if self.width is None or index >= len(self._room):
            self.width = self.width or len(row)
            self._resize(max(self._count, index + 1, 2 * len(self._room)))
        self._room[index] = row

    def take(self, count: int) -> Any:
        """Give the first rows; nothing may be set afterwards."""
        self._resize(count)
        return self._room

    def _resize(self, count: int) -> None:
        self._room.resize((count, self.width or 0), refcheck=False)


class DeviceRows(_Rows):
    """The same on a device, where room is not added in place."""

    def __init__(self, count: int | None, width: int | None, output: runtime.Torch, device: runtime.Device) -> None:
        super().__init__(count, width)
        self._output, self._device = output, device
        self._room = output.room(0, width or 0, device)

    def _resize(self, count: int) -> None:
        if count <= len(self._room):
            self._room = self._room[:count]
            return
        old, self._room = self._room, self._output.room(count, self.width or 0, self._device)
        if len(old):
            self._room[: len(old)] = old


@dataclass
class _Run:
    """The coordinator of one call of `embed`."""

    line: Line
    cache: Cache | None
    known: Plan | None
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
    #: Keys of the items that are ours to run, and the items that others run.
    claimed: set[bytes] = field(default_factory=set)
    deferred: list[Item] = field(default_factory=list)

    def drive(self, samples: Iterable[Any]) -> Embedded:
        """Move every sample through the line."""
        try:
            self._read(samples)
            self._line_up([], last=True)
            self._wait_for_others(most=0)
            while self.running:
                self._collect()
        finally:
            self._release(self.claimed)
        return self._result()

    def _read(self, samples: Iterable[Any]) -> None:
        """Read the samples, as far as there is room for them, and line up what is not known."""
        reading: deque[Future[Batch]] = deque()
        for chunk in self._chunks(samples):
            if self.cache is None:
                self._line_up(chunk)
            else:
                reading.append(self.line.read(chunk))
                if len(reading) > self.line.ahead:
                    self._look_up(reading.popleft().result())
            if self._has_failed():
                break
        while reading:
            self._look_up(reading.popleft().result())

    def _has_failed(self) -> bool:
        return bool(self.failures) and not self.skip_bad

    def _result(self) -> Embedded:
        self.failures.sort()
        if self._has_failed():
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
        known, fresh = self._known(read.items), []
        for item in read.items:
            if item.key in known:
                self._place([item.index], known[item.key])
            elif item.key in self.awaited:
                self.awaited[item.key].append(item.index)
            else:
                self.awaited[item.key] = [item.index]
                fresh.append(item)
        self._report()
        self._line_up(fresh)
        self._wait_for_others(most=MOST_DEFERRED)

    def _known(self, items: list[Item]) -> dict[bytes, runtime.Rows]:
        """Give the rows the cache has, by themselves or as a part of wider ones."""
        if self.cache is None:
            return {}
        plan = self.line.plan
        rows = {key: plan.take(row) for key, row in self.cache.get([item.key for item in items]).items()}
        if self.known is not None:
            recipes = plan.recipe.key.encode(), self.known.recipe.key.encode()
            wider = {item.key.removesuffix(recipes[0]) + recipes[1]: item.key for item in items if item.key not in rows}
            rows |= {wider[key]: self.known.take(row) for key, row in self.cache.get([*wider]).items()}
        return rows

    def _line_up(self, items: list[Item], *, last: bool = False) -> None:
        """Hand full batches to the line, and wait when enough are in flight."""
        self.waiting += items
        while len(self.waiting) >= self.line.window or (last and self.waiting):
            window, self.waiting = self.waiting[: self.line.window], self.waiting[self.line.window :]
            for batch in self._cut(window):
                while len(self.running) >= self.line.in_flight:
                    self._collect()
                if mine := self._claim(batch):
                    self.running.add(self.line.submit(mine))

    def _claim(self, items: list[Item]) -> list[Item]:
        """Give the items that are ours to run; others run the rest, or have run it since it was looked up."""
        if self.cache is None:
            return items
        free = self.cache.claim([item.key for item in items])
        self.claimed |= free
        mine = [item for item in items if item.key in free]
        self.deferred += [item for item in items if item.key not in free]
        return self._place_known(mine)

    def _place_known(self, items: list[Item]) -> list[Item]:
        """Put known rows in place and give the items whose rows are not known."""
        known = self._known(items)
        self._release(known.keys() & self.claimed)
        for item in items:
            if item.key in known:
                self._place(self._indices(item), known[item.key])
        return [item for item in items if item.key not in known]

    def _wait_for_others(self, most: int) -> None:
        """Take the rows that others have run meanwhile, until no more than so many are missing.

        Our own claims are on batches that run, so two that wait for each other go on. What others gave up is claimed.
        """
        while len(self.deferred) > most and not self._has_failed():
            if self.running:
                self._collect()
            else:
                time.sleep(PATIENCE)
            left, self.deferred = self._place_known(self.deferred), []
            self._report()
            self._line_up(left, last=True)

    def _release(self, keys: Set[bytes]) -> None:
        if self.cache is not None and keys:
            self.cache.release(keys)
            self.claimed -= keys

    def _cut(self, window: list[Item]) -> list[list[Item]]:
        """Cut a window into batches; where lengths differ, it is prepared first, so that similar ones come together."""
        if not self.line.preparer.by_length:
            return [window]
        items = [item for item in window if item.pieces]  # others were to run them, and did not
        fresh = [item for item in window if not item.pieces]
        parts = [self.line.prepare(fresh[i : i + AHEAD_PART]) for i in range(0, len(fresh), AHEAD_PART)]
        for part in [part.result() for part in parts]:
            self._note_failures(part)
            items += part.items
        items.sort(key=_length, reverse=True)
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
                self.cache.put({item.key: row for item, row in zip(batch.items, batch.rows, strict=True)})
                self.claimed.difference_update(item.key for item in batch.items)
            for item, row in zip(batch.items, batch.rows, strict=True):
                self._place(self._indices(item), self.line.plan.take(row))
        self._report()

    def _report(self) -> None:
        if self.progress is not None:
            self.progress(self.finished)

    def _indices(self, item: Item) -> list[int]:
        return self.awaited.pop(item.key, [item.index])

    def _place(self, indices: list[int], row: runtime.Rows) -> None:
        for index in indices:
            self.rows.put(index, row)
        self.finished += len(indices)

    def _note_failures(self, batch: Batch) -> None:
        self._release({item.key for item, _ in batch.failed} & self.claimed)
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
