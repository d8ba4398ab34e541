"""The line itself.

One thread coordinates - the caller's - and owns all state: order, cache, duplicates, failures. Workers are given items
and return rows. The line has two forms, a row each in `LINES`:

- ``cpu``: every worker prepares a small batch and runs it on the one shared one-thread session (measured: a third
  faster than decoders that feed a session of many threads);
- ``cuda``, ``tensorrt``: workers prepare, one runner runs large batches.

Memory is bounded by the batches in flight, however many samples there are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import islice
from types import TracebackType
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from skltransfer import runtime
from skltransfer.cache import Cache
from skltransfer.errors import Failure, ModelError, SampleError, SklTransferError, Unreadable
from skltransfer.stream._open import open_backbone
from skltransfer.stream._prepare import PREPARERS, Piece, Plan

#: Samples read ahead at a time when there is a cache to look them up in.
CHUNK = 32
#: Samples one worker prepares at a time where preparing and running are apart.
PART = 8
#: Texts sorted by length together, and prepared by one worker at a time for it.
WINDOW = 4096
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


@dataclass
class _Item:
    """A sample on its way; what is no longer needed is let go."""

    index: int
    sample: Any
    source: Any = None
    key: bytes | None = None
    pieces: list[Piece] = field(default_factory=list)


class _Batch(NamedTuple):
    """What a worker gives back: the items that worked, those that did not and why, the rows if they were run."""

    items: list[_Item]
    failed: list[tuple[_Item, str]]
    rows: runtime.Rows | None = None


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


# ---------------------------------------------------------------------------------------------------------------------
# Coordination


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

    line: _Line
    cache: Cache | None
    rows: _Rows
    skip_bad: bool
    progress: Callable[[int], None] | None
    failures: list[Failure] = field(default_factory=list)
    seen: int = 0
    finished: int = 0
    waiting: list[_Item] = field(default_factory=list)
    running: set[Future[_Batch]] = field(default_factory=set)
    #: Key to the indices that wait for its row: what comes twice is run once.
    awaited: dict[bytes, list[int]] = field(default_factory=dict)

    def drive(self, samples: Iterable[Any]) -> Embedded:
        """Move every sample through the line."""
        reading: deque[Future[_Batch]] = deque()
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

    def _chunks(self, samples: Iterable[Any]) -> Iterator[list[_Item]]:
        size = self.line.window if self.cache is None else max(CHUNK, self.line.window)
        source = iter(samples)
        while chunk := [_Item(self.seen + i, sample) for i, sample in enumerate(islice(source, size))]:
            self.seen += len(chunk)
            yield chunk

    def _look_up(self, read: _Batch) -> None:
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

    def _line_up(self, items: list[_Item], *, last: bool = False) -> None:
        """Hand full batches to the line, and wait when enough are in flight."""
        self.waiting += items
        while len(self.waiting) >= self.line.window or (last and self.waiting):
            window, self.waiting = self.waiting[: self.line.window], self.waiting[self.line.window :]
            for batch in self._cut(window):
                while len(self.running) >= self.line.in_flight:
                    self._collect()
                self.running.add(self.line.submit(batch))

    def _cut(self, window: list[_Item]) -> list[list[_Item]]:
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

    def _indices(self, item: _Item) -> list[int]:
        return self.awaited.pop(item.key, [item.index]) if item.key is not None else [item.index]

    def _place(self, indices: list[int], row: runtime.Rows) -> None:
        for index in indices:
            self.rows.put(index, row)
        self.finished += len(indices)

    def _note_failures(self, batch: _Batch) -> None:
        for item, reason in batch.failed:
            indices = self._indices(item)
            path = self.line.preparer.path(item.sample)
            self.failures += [Failure(index, path, reason) for index in indices]
            self.finished += len(indices)


def _length(item: _Item) -> int:
    return max(map(len, item.pieces))


def _within(items: list[_Item], budget: int, *, counted: bool) -> list[list[_Item]]:
    """Cut sorted items into batches of a number of items, or of tokens with their padding."""
    batches: list[list[_Item]] = []
    pieces = longest = 0
    for item in items:
        pieces, longest = pieces + len(item.pieces), longest or _length(item)
        size = len(batches[-1]) + 1 if counted and batches else pieces * longest
        if not batches or size > budget:
            batches.append([])
            pieces, longest = len(item.pieces), _length(item)
        batches[-1].append(item)
    return batches


# ---------------------------------------------------------------------------------------------------------------------
# Work


class _Line(ABC):
    """Threads that prepare and run. Leaving it by an exception stops what is running and waits for the threads."""

    #: Name of the form, as in the preparers' tables.
    form: ClassVar[str]

    def __init__(self, plan: Plan, workers: int, batch_size: int | None) -> None:
        self.plan, self.workers = plan, workers
        self.preparer = PREPARERS[type(plan.recipe.input)](plan)
        self.counted = batch_size is not None
        self.batch = batch_size or self.preparer.batch(self.form)
        #: Items taken together: a batch, or enough texts that some are of similar length.
        self.window = max(WINDOW, self.batch) if self.preparer.by_length else self.batch
        #: Batches submitted and not collected, and chunks read and not looked up: enough to keep the workers busy.
        self.in_flight, self.ahead = 2 * workers, workers
        self._stop = runtime.stop_switch()
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="skltransfer")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.terminate = kind is not None
        self.close()

    def close(self) -> None:
        """Wait for the threads; they are never left behind, for a daemon that runs at exit aborts the process."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def session(self, like: npt.NDArray[Any] | None) -> runtime.Session:
        """Give the open session; the first call, which is the first miss, opens it."""
        return open_backbone(self.plan, like)

    def read(self, items: list[_Item]) -> Future[_Batch]:
        """Start to read and fingerprint items, without decoding them."""
        return self._pool.submit(self._each, self._read_and_fingerprint, items)

    @abstractmethod
    def submit(self, items: list[_Item]) -> Future[_Batch]:
        """Start to prepare and run items."""

    def _read_and_fingerprint(self, item: _Item) -> None:
        item.source = self.preparer.read(item.sample)
        item.key = item.source.digest() + self.plan.recipe.key.encode()
        item.sample = item.source.path

    def prepare(self, items: list[_Item]) -> Future[_Batch]:
        """Start to prepare items without running them."""
        return self._pool.submit(self._prepared, items)

    def _prepared(self, items: list[_Item]) -> _Batch:
        """Read and prepare what is not yet."""
        if not self.preparer.bulk:
            return self._each(self._prepare, items)
        read = self._each(self._read, items)
        try:
            for item, pieces in zip(read.items, self.preparer.prepare([i.source for i in read.items]), strict=True):
                item.pieces, item.source = pieces, None
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except BaseException:  # noqa: BLE001 - one by one it shows whose fault it is
            one_by_one = self._each(self._prepare, read.items)
            return _Batch(one_by_one.items, read.failed + one_by_one.failed)
        return read

    def _ready(self, items: list[_Item]) -> _Batch:
        """Prepare items, unless they were prepared to be sorted."""
        return _Batch(items, []) if self.preparer.by_length else self._prepared(items)

    def _read(self, item: _Item) -> None:
        item.source = item.source or self.preparer.read(item.sample)

    def _prepare(self, item: _Item) -> None:
        self._read(item)
        (item.pieces,) = self.preparer.prepare([item.source])
        item.source = None

    def _each(self, work: Callable[[_Item], None], items: list[_Item]) -> _Batch:
        """Do the work on every item; those it fails on are set aside, with the reason.

        The reason is kept as a string: an exception would keep the frames alive, and with them pixels and files.
        """
        batch = _Batch([], [])
        for item in items:
            try:
                work(item)
            except (KeyboardInterrupt, SystemExit, GeneratorExit):
                raise
            except Unreadable as err:
                batch.failed.append((item, str(err)))
            except BaseException as err:  # noqa: BLE001 - a panic of a Rust library is no Exception
                batch.failed.append((item, f"{type(err).__name__}: {err}"))
            else:
                batch.items.append(item)
        return batch

    def _run(self, batch: _Batch) -> _Batch:
        pieces = [piece for item in batch.items for piece in item.pieces]
        if not pieces:
            return batch
        try:
            rows = self._rows(pieces)
        except SklTransferError:
            raise
        except Exception as err:
            first, last = min(item.index for item in batch.items), max(item.index for item in batch.items)
            raise ModelError(
                f"The graph fails on samples {first} to {last}, prepared to shape {pieces[0].shape}: {err}"
            ) from err
        counts = [len(item.pieces) for item in batch.items]
        for item in batch.items:
            item.pieces = []
        return batch._replace(rows=rows if len(rows) == len(counts) else self._means(rows, counts))

    def _rows(self, pieces: list[Piece]) -> runtime.Rows:
        """Run pieces: at once, but for windows of a text that are more than a batch, and graphs that mix a batch."""
        session, size = self.session(pieces[0]), len(pieces)
        if self.preparer.by_length:
            most = self.batch if self.counted else self.batch // max(map(len, pieces))
            size = 1 if session.batch else max(1, most)
        parts = [pieces[i : i + size] for i in range(0, len(pieces), size)]
        rows = [session.run(self.preparer.collate(part), self._stop) for part in parts]
        return rows[0] if len(rows) == 1 else np.concatenate(rows)

    def _means(self, rows: runtime.Rows, counts: list[int]) -> runtime.Rows:
        """Average the rows of each item's pieces."""
        starts = np.cumsum([0, *counts[:-1]])
        means = np.add.reduceat(rows, starts, axis=0) / np.array(counts, np.float32)[:, None]
        if self.plan.recipe.normalize:
            means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), np.finfo(np.float32).tiny)
        return means.astype(np.float32, copy=False)


class _Together(_Line):
    """Every worker prepares and runs its own small batches."""

    form: ClassVar = "together"

    def submit(self, items: list[_Item]) -> Future[_Batch]:
        return self._pool.submit(lambda: self._run(self._ready(items)))


class _Apart(_Line):
    """Workers prepare parts of a batch; one runner waits for them and runs the batch."""

    form: ClassVar = "apart"

    def __init__(self, plan: Plan, workers: int, batch_size: int | None) -> None:
        super().__init__(plan, workers, batch_size)
        self.in_flight = 3  # one that runs, one that is ready, one that is being prepared
        self._runner = ThreadPoolExecutor(1, thread_name_prefix="skltransfer-runner")

    def close(self) -> None:
        self._runner.shutdown(wait=False, cancel_futures=True)
        super().close()
        self._runner.shutdown(wait=True)

    def submit(self, items: list[_Item]) -> Future[_Batch]:
        parts = [self._pool.submit(self._ready, items[i : i + PART]) for i in range(0, len(items), PART)]
        return self._runner.submit(self._gather_and_run, parts)

    def _gather_and_run(self, parts: list[Future[_Batch]]) -> _Batch:
        done = [part.result() for part in parts]
        return self._run(_Batch([i for part in done for i in part.items], [f for part in done for f in part.failed]))


LINES: dict[str, type[_Line]] = {"cpu": _Together, "cuda": _Apart, "tensorrt": _Apart}
