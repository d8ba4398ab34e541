"""Units to parts, in one process: rows of many units go through one call of the line, a thread finishes each unit.

A unit whose rows cannot be read, or on which the head fails, is set aside with the reason. What concerns all of them, a
full disk or a graph that fails, is raised.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from skltransfer._engine import samples, stream
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
from skltransfer.scoring._finisher import Finisher
from skltransfer.scoring._pipeline import Parts
from skltransfer.scoring._units import Block, Unit


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
        with Finisher(self._table, self._keep) as finisher:
            if self.predictor.parts.embedder is None:
                self._one_by_one(units, finisher)
            else:
                self._in_one_line(units, finisher)
        return self.errors

    def _one_by_one(self, units: Iterable[Unit], finisher: Finisher) -> None:
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

    def _in_one_line(self, units: Iterable[Unit], finisher: Finisher) -> None:
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

    def _hand_on(self, entries: deque[_Entry], finisher: Finisher) -> None:
        while entries and entries[0].full:
            entry = entries.popleft()
            if entry.error is not None:
                self.errors[entry.unit.number] = entry.error
            else:
                finisher.put(entry, len(entry.ids))

    def _table(self, item: _Entry | tuple[Unit, Any]) -> tuple[Unit, Any] | None:
        """Compute the table of an entry; return a unit that comes with its table as it is, None if the head fails."""
        if not isinstance(item, _Entry):
            return item
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
