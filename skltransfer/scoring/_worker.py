"""Units to parts, in one process: rows of many units go through one call of the line, a thread finishes each unit.

A unit whose rows cannot be read, or on which the head fails, is set aside with the reason. What concerns all of them, a
full disk or a graph that fails, is raised.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from skltransfer._engine import process, samples, stream
from skltransfer.errors import (
    BadSamplesWarning,
    Failure,
    InputWarning,
    JobError,
    UnfinishedError,
    deferring,
    need,
    shorten,
    warn,
)
from skltransfer.scoring import _outputs
from skltransfer.scoring._pipeline import Parts
from skltransfer.scoring._units import Block, Unit

#: Rows of units that wait for their head or are being finished, beyond which no unit is added: many small ones become
#: full at once, with the window of texts that was sorted together.
HELD = 8192
#: Threads that finish units: while others wait for the disk, one computes.
WRITERS = 4
#: Seconds after an interrupt in which the unit at hand may be finished.
PATIENCE = 1.0


class Predictor:
    """Computation of the results of rows.

    Parameters
    ----------
    parts : Parts
        The pipeline.
    output : sequence of str
        Columns of results, as `_outputs.chosen` returns them.
    embeddings : str or None
        Type of the embeddings, if they are written.
    """

    def __init__(self, parts: Parts, output: Sequence[str], embeddings: str | None) -> None:
        self.parts, self.output, self.embeddings = parts, output, embeddings

    def table(self, ids: list[Any], rows: list[Any], reasons: list[str | None]) -> Any:
        """Return the table of rows of the line, None where a sample failed."""
        good = np.array([row is not None for row in rows], bool)
        if good.any():
            X = np.stack([row for row in rows if row is not None])
        else:  # a row of zeros shows the types
            X = np.zeros((1, *self._shape()), np.float32)
        return _outputs.table(ids, good, self._columns(X), reasons)

    def _columns(self, X: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if self.output:
            found = _outputs.columns(self.parts.after, X, self.output)
        if self.embeddings is not None:
            rows = X if self.parts.after is None or self.output else self.parts.after.transform(X)
            found["embedding"] = _outputs.embedding_column(np.asarray(rows), self.embeddings)
        return found

    def _shape(self) -> tuple[int, ...]:
        shape = self.parts.embedder._planned().plan.shape
        known = getattr(self.parts.after, "n_features_in_", None)
        if shape is not None:
            return tuple(shape)
        if known is None:
            raise UnfinishedError("No row of a unit can be read, and the length of an embedding is not known.")
        return (int(known),)

    def call(self, ids: list[Any], X: Any) -> Any:
        """Return the table of a unit that the whole pipeline is given; samples that fail are taken out first."""
        found, failures = self._tried(X)
        reasons: list[str | None] = [None] * len(ids)
        if failures:
            for failure in failures:
                reasons[failure.index] = _reason(failure)
            good = np.array([reason is None for reason in reasons], bool)
            found = self._tried(_rows(X, good))[0] if good.any() else {}
        if found is None:
            raise JobError("The pipeline fails on rows whose samples could all be read.")
        good = np.array([reason is None for reason in reasons], bool)
        return _outputs.table(ids, good, found, reasons)

    def _tried(self, X: Any) -> tuple[dict[str, Any] | None, list[Failure]]:
        """Call the pipeline; if it fails because samples did, return these."""
        warned: list[tuple[str | Warning, type[Warning]]] = []
        found = None
        try:
            with deferring(warned):
                found = self._called(X)
        except Exception:
            if not any(isinstance(message, BadSamplesWarning) for message, _ in warned):
                raise
        failures: dict[int, Failure] = {}
        for message, category in warned:
            if isinstance(message, BadSamplesWarning):
                failures |= {failure.index: failure for failure in message.failures}
            else:
                warn(message, category)
        return found, list(failures.values())

    def _called(self, X: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if self.output:
            found = _outputs.columns(self.parts.after, X, self.output)
        if self.embeddings is not None:
            rows = np.asarray(self.parts.after.transform(X))
            found["embedding"] = _outputs.embedding_column(rows, self.embeddings)
        return found

    def blank(self, ids: list[Any], reason: str) -> Any:
        """Return the table of rows that nothing may touch."""
        if self.parts.embedder is not None:
            return self.table(ids, [None] * len(ids), [reason] * len(ids))
        return _outputs.table(ids, np.zeros(len(ids), bool), {}, [reason] * len(ids))


def _rows(X: Any, good: Any) -> Any:
    """Return the good rows of X, of the kind it is."""
    if hasattr(X, "iloc"):
        return X.iloc[np.flatnonzero(good)]
    return X[good] if isinstance(X, np.ndarray) else [one for one, fine in zip(X, good, strict=True) if fine]


def _reason(failure: Failure) -> str:
    where = f"{shorten(repr(failure.path))}: " if failure.path is not None else ""
    return f"{where}{failure.reason}"


@dataclass
class _Entry:
    """A unit on its way."""

    unit: Unit
    ids: list[Any] = field(default_factory=list)
    rows: list[Any] = field(default_factory=list)
    reasons: list[str | None] = field(default_factory=list)
    #: Whether all its samples were handed to the line, and why reading them ended early.
    ended: bool = False
    error: str | None = None

    @property
    def full(self) -> bool:
        return self.ended and len(self.rows) == len(self.ids)


#: Reads the blocks of a unit.
Read = Callable[[Unit], Iterable[Block]]
#: Keeps the table of a unit.
Keep = Callable[[Unit, Any], object]


class Run:
    """Units of one call.

    Parameters
    ----------
    predictor : Predictor
        What is computed.
    read : callable
        Returns the blocks of a unit.
    keep : callable
        Takes a unit and its table.

    Attributes
    ----------
    errors : dict of int to str
        Why units were set aside, by their number.
    """

    def __init__(self, predictor: Predictor, read: Read, keep: Keep) -> None:
        self.predictor, self.read, self.keep = predictor, read, keep
        self.errors: dict[int, str] = {}

    def units(self, units: Iterable[Unit]) -> dict[int, str]:
        """Turn units into tables; return why some have none."""
        with _Finisher(self._table, self._keep) as finisher:
            if self.predictor.parts.embedder is None:
                self._one_by_one(units, finisher)
            else:
                self._in_one_line(units, finisher)
        return self.errors

    def _one_by_one(self, units: Iterable[Unit], finisher: _Finisher) -> None:
        for unit in units:
            entry = _Entry(unit)
            Xs = []
            try:
                for ids, X in self.read(unit):
                    entry.ids += ids
                    Xs.append(X)
                table = self.predictor.call(entry.ids, _joined(Xs))
            except Exception as err:  # noqa: BLE001 - readers and estimators of strangers
                self.errors[unit.number] = _words(err)
            else:
                finisher.put((unit, table), unit.rows)

    def _in_one_line(self, units: Iterable[Unit], finisher: _Finisher) -> None:
        from threadpoolctl import threadpool_limits

        embedder = self.predictor.parts.embedder
        plan = embedder._planned().plan
        size = None if isinstance(embedder.batch_size, str) else int(embedder.batch_size)
        options = stream.Options(n_jobs=embedder.n_jobs, batch_size=size, skip_bad=True)
        entries: deque[_Entry] = deque()
        # Threads of BLAS wait for each other by turning in circles, which costs the line a tenth
        # where all processors are busy: one is enough for a head behind a backbone.
        with threadpool_limits(1, user_api="blas"), stream.open_line(plan, options) as line:
            finished = stream.batches(self._samples(units, plan, entries), plan, options=options, line=line)
            with closing(finished):  # type: ignore[type-var]  # a generator, which has `close`
                for batch in finished:
                    _hand_back(batch, entries)
                    self._hand_on(entries, finisher)
            self._hand_on(entries, finisher)
            for note in line.work.preparer.notes():
                warn(note, InputWarning)

    def _samples(self, units: Iterable[Unit], plan: Any, entries: deque[_Entry]) -> Iterator[Any]:
        """Yield the samples of all units; a unit that cannot be read to its end ends there."""
        for unit in units:
            entries.append(entry := _Entry(unit))
            try:
                for ids, X in self.read(unit):
                    items = self._items(X, plan, len(ids))
                    entry.ids += ids
                    yield from items
            except Exception as err:  # noqa: BLE001 - readers of strangers
                entry.error = _words(err)
            entry.ended = True

    def _items(self, X: Any, plan: Any, count: int) -> list[Any]:
        """Return as many samples as there are rows."""
        parts = self.predictor.parts
        if parts.before is not None:
            X = parts.before.transform(X)
        found = samples.unpack(X).items if plan.modality.numbers is None else parts.embedder._unpack(
            X, plan, reset=False
        ).items  # fmt: skip
        items = list(found)
        if len(items) != count:
            raise JobError(f"Steps before the embedder returned {len(items)} samples for {count} rows.")
        return items

    def _hand_on(self, entries: deque[_Entry], finisher: _Finisher) -> None:
        while entries and entries[0].full:
            entry = entries.popleft()
            if entry.error is not None:
                self.errors[entry.unit.number] = entry.error
            else:
                finisher.put(entry, len(entry.ids))

    def _table(self, item: Any) -> tuple[Unit, Any] | None:
        """Return a unit and its table, where that is not what came; None if the head fails on it."""
        if not isinstance(item, _Entry):
            return item  # type: ignore[no-any-return]
        try:
            return item.unit, self.predictor.table(item.ids, item.rows, item.reasons)
        except Exception as err:  # noqa: BLE001 - heads of strangers
            self.errors[item.unit.number] = _words(err)
            return None

    def _keep(self, done: tuple[Unit, Any]) -> None:
        try:
            self.keep(*done)
        except UnfinishedError:  # nothing can be written
            raise
        except JobError as err:
            self.errors[done[0].number] = _words(err)


def _hand_back(batch: stream.Finished, entries: deque[_Entry]) -> None:
    """Hand finished rows back to the units they are of."""
    reasons = {failure.index - batch.start: _reason(failure) for failure in batch.failures}
    waiting = iter([entry for entry in entries if len(entry.rows) < len(entry.ids)])
    entry = next(waiting)
    for place, row in enumerate(batch.rows):
        while len(entry.rows) == len(entry.ids):
            entry = next(waiting)
        entry.rows.append(row)
        entry.reasons.append(reasons.get(place))


def _joined(parts: list[Any]) -> Any:
    """Return the rows of all blocks as one X."""
    if len(parts) == 1:
        return parts[0]
    if parts and hasattr(parts[0], "iloc"):
        pd = need("pandas", extra="compare")
        return pd.concat(parts, ignore_index=True)
    if parts and isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    return [one for part in parts for one in part]


def _words(err: BaseException) -> str:
    return f"{type(err).__name__}: {shorten(str(err), 1000)}"


class _Finisher:
    """Threads that finish units; what they raise, the caller's thread raises.

    Parameters
    ----------
    compute : callable
        Is given what was put, by one thread at a time: heads are of strangers, who may not expect two. Returns None if
        there is nothing to keep.
    keep : callable
        Is given what that returned; what takes long is to write.
    """

    def __init__(self, compute: Callable[[Any], Any], keep: Callable[[Any], object]) -> None:
        self._compute, self._keep = compute, keep
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._failed: BaseException | None = None
        self._turn = process.lock()
        #: Rows of what was put and is not finished; notified whenever they become fewer.
        self._held, self._room = 0, threading.Condition()
        # Daemons: a head that takes minutes must not keep the process from ending after Ctrl-C.
        self._threads = [
            threading.Thread(target=self._run, name=f"skltransfer-scoring-{i}", daemon=True) for i in range(WRITERS)
        ]

    def __enter__(self) -> _Finisher:
        for thread in self._threads:
            thread.start()
        return self

    def put(self, item: Any, rows: int) -> None:
        """Hand a unit of so many rows over, once there is room."""
        with self._room:
            while self._held >= HELD and self._failed is None:
                self._room.wait()
            if self._failed is not None:
                raise self._failed
            self._held += rows
        self._queue.put((item, rows))

    def _run(self) -> None:
        while True:
            with self._turn:
                if (put := self._queue.get()) is None:
                    return
                item, rows = put
                done = self._tried(self._compute, item)
            if done is not None:
                self._tried(self._keep, done)
            del put, item, done
            with self._room:
                self._held -= rows
                self._room.notify()

    def _tried(self, work: Callable[[Any], Any], on: Any) -> Any:
        """Do the work, unless what is left is dropped."""
        if self._failed is None:
            try:
                return work(on)
            except BaseException as err:  # noqa: BLE001 - the caller's thread raises it
                self._failed = err
        return None

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, trace: Any) -> None:
        for _ in self._threads:
            self._queue.put(None)
        try:
            if kind is None:
                self._wait(None)
        except BaseException as late:  # Ctrl-C while the last units are finished
            self._drop(late)
            raise
        if kind is not None:
            self._drop(err)
        elif self._failed is not None:
            raise self._failed

    def _drop(self, err: BaseException | None) -> None:
        """Drop what waits; what is being written may be finished."""
        self._failed = self._failed or err
        self._wait(PATIENCE)

    def _wait(self, seconds: float | None) -> None:
        until = None if seconds is None else time.monotonic() + seconds
        for thread in self._threads:
            thread.join(None if until is None else max(0.0, until - time.monotonic()))
