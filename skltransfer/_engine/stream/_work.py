"""Work on items: read, fingerprint, prepare, run. Called by many threads; owns none and keeps no order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np

from skltransfer._engine import runtime
from skltransfer._engine.modalities import Piece
from skltransfer._engine.plan import Plan, scaled
from skltransfer._engine.stream import _pace
from skltransfer._engine.stream._budget import Budget, Lease
from skltransfer._engine.stream._open import open_backbone
from skltransfer._engine.stream._options import DEFAULT, Options
from skltransfer.errors import ModelError, SklTransferError, Unreadable


@dataclass(slots=True)
class Item:
    """A sample on its way; what is no longer needed is let go.

    There are thousands at a time, so an item is one object to the garbage collector, not three.
    """

    index: int
    sample: Any
    source: Any = None
    #: Digest of the content and key of the recipe; empty where nothing is cached.
    key: bytes = b""
    pieces: Sequence[Piece] = ()
    #: Counts the bytes of sample or source.
    lease: Lease | None = None


class Batch(NamedTuple):
    """Result of one piece of work: items that succeeded, those that failed and why, the rows if they were run."""

    items: list[Item]
    failed: list[tuple[Item, str]]
    rows: Any = None
    #: Whether every number of the rows is finite, those included that only wider rows have.
    finite: bool = True


def each(work: Callable[[Item], None], items: list[Item]) -> Batch:
    """Do the work on every item; set those aside on which it fails, with the reason.

    The reason is kept as a string: an exception would keep the frames alive, and with them pixels and files.
    """
    batch = Batch([], [])
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


class Preparation:
    """Steps before the run: read, fingerprint, prepare.

    Parameters
    ----------
    plan : Plan
        What is run.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.preparer = plan.preparer()
        #: Bytes read ahead.
        self.budget = Budget()
        self._suffix = plan.recipe.key.encode()

    def fingerprint(self, items: list[Item]) -> Batch:
        """Read items, unless they are known by their file's state, and set their keys."""
        return each(self._fingerprint, items)

    def _fingerprint(self, item: Item) -> None:
        digest = self.preparer.glance(item.sample)
        if digest is None:
            source = self._open(item)
            digest, item.sample = source.digest(), source.path
            if item.sample is not None and self.budget.full:  # a file, which is read again when its turn comes
                item.source = item.lease = None
        item.key = digest + self._suffix

    def _open(self, item: Item) -> Any:
        """Read an item; of a sample whose bytes are counted only the path is kept."""
        item.source = source = self.preparer.read(item.sample)
        item.lease = self.budget.lease(source.data)
        item.sample = item.sample if item.lease is None else source.path
        return source

    def prepare(self, items: list[Item]) -> Batch:
        """Read and prepare items."""
        if not self.preparer.bulk:
            return each(self._prepare, items)
        read = each(self._read, items)
        try:
            for item, pieces in zip(read.items, self.preparer.prepare([i.source for i in read.items]), strict=True):
                item.pieces, item.source, item.lease = pieces, None, None
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except BaseException:  # noqa: BLE001 - one by one it shows whose fault it is
            one_by_one = each(self._prepare, read.items)
            return Batch(one_by_one.items, read.failed + one_by_one.failed)
        return read

    def _read(self, item: Item) -> None:
        """Read an item that is not yet; if it was only glanced at, check that it is still what its key says."""
        if item.source is not None:
            return
        source = self._open(item)
        if item.key and not item.key.startswith(source.digest()):
            raise Unreadable("changed while it was being embedded; run again")

    def _prepare(self, item: Item) -> None:
        self._read(item)
        (item.pieces,) = self.preparer.prepare([item.source])
        item.source = item.lease = None

    def ready(self, items: list[Item]) -> Batch:
        """Prepare items, unless they were prepared to be sorted."""
        return Batch(items, []) if self.preparer.by_length else self.prepare(items)


#: Why a sample failed whose row is none.
NOT_FINITE = (
    "its embedding holds NaN or infinity; the graph cannot compute with such a sample, perhaps for lack of bits: try "
    "precision='fp32', or another layer"
)


def _isfinite(row: Any) -> bool:
    """Return whether every number of a row is finite; a tensor of another library is asked by its own arithmetic."""
    return bool(np.isfinite(row).all()) if isinstance(row, np.ndarray) else bool(((row - row) == 0).all())


class Work(Preparation):
    """All steps of one call.

    Parameters
    ----------
    plan : Plan
        What is run.
    form : str
        Form of the line, as in the preparers' tables of batch sizes.
    options : Options
        Batch size, where rows are kept, and whether runs give their memory back.
    step : int
        Lengths of padded batches are multiples of it.
    """

    def __init__(self, plan: Plan, form: str, options: Options = DEFAULT, step: int = 1) -> None:
        super().__init__(plan)
        self.output, self.shrink, self.step = options.output, options.shrink, step
        self.counted = options.batch_size is not None
        #: Batch size of the preparer's table: of tokens, the least that is run at once.
        self.least = self.preparer.batch_size(form)
        self.place = plan.recipe.key, form
        self.batch_size = options.batch_size or _pace.sizes.get(self.place) or self.least

    @cached_property
    def cancel(self) -> runtime.Cancel:
        """Switch that ends the runs of this call."""
        return runtime.cancel_switch(shrink=self.shrink and self.plan.device.kind == "cpu")

    def session(self, like: list[Piece] | None, device: runtime.Device | None = None) -> runtime.Session:
        """Return the open session of a device, by default the first; the first call opens it."""
        return open_backbone(self.plan if device is None else self.plan.on(device), like)

    def run(self, batch: Batch, device: runtime.Device | None = None) -> Batch:
        """Run prepared items.

        Raises
        ------
        ModelError
            If the graph fails on them.
        """
        pieces = [piece for item in batch.items for piece in item.pieces]
        if not pieces:
            return batch
        try:
            rows = self._rows(pieces, device)
        except SklTransferError:
            raise
        except Exception as err:
            first, last = min(item.index for item in batch.items), max(item.index for item in batch.items)
            raise ModelError(
                f"The graph fails on samples {first} to {last}, prepared to shape {pieces[0].shape}: {err}"
            ) from err
        _check_rows(self.plan, rows, len(pieces))
        counts = [len(item.pieces) for item in batch.items]
        for item in batch.items:
            item.pieces = []
        rows = _typed(self.plan, rows if len(rows) == len(counts) else self._means(rows, counts))
        return self._checked(batch._replace(rows=rows))

    def _checked(self, batch: Batch) -> Batch:
        """Set items aside whose rows are not finite: NaN and infinity are no embeddings."""
        if self.output is None and not self.plan.ragged:
            if np.isfinite(batch.rows).all():
                return batch
            good = [bool(np.isfinite(self.plan.take(row)).all()) for row in batch.rows]
        else:
            good = [bool(_isfinite(row)) for row in batch.rows]
        failed = [(item, NOT_FINITE) for item, fine in zip(batch.items, good, strict=True) if not fine]
        items = [item for item, fine in zip(batch.items, good, strict=True) if fine]
        rows = [row for row, fine in zip(batch.rows, good, strict=True) if fine] if failed else batch.rows
        finite = all(map(_isfinite, rows)) if failed or self.plan.view is not None else True
        return Batch(items, [*batch.failed, *failed], rows if items else None, finite)

    def _rows(self, pieces: list[Piece], device: runtime.Device | None) -> Any:
        """Run pieces: at once, but for windows of a text that are more than a batch, and graphs that mix a batch."""
        session, size = self.session(pieces, device), len(pieces)
        if self.preparer.by_length:
            most = self.batch_size if self.counted else -(-self.batch_size // max(map(len, pieces)))
            size = 1 if session.batch_size else most
        parts = [pieces[i : i + size] for i in range(0, len(pieces), size)]
        step = 1 if session.batch_size else self.step  # a graph that mixes padding in gets none
        batches = [partial(self.preparer.collate, part, step=step) for part in parts]
        rows = [session.run_batch(batch, self.cancel, self.output) for batch in batches]
        if self.plan.ragged:
            return [row[: len(piece)] for row, piece in zip((r for part in rows for r in part), pieces, strict=True)]
        if len(rows) == 1:
            return rows[0]
        return np.concatenate(rows) if self.output is None else self.output.join(rows)

    def _means(self, rows: runtime.Rows, counts: list[int]) -> runtime.Rows:
        """Average the rows of each item's pieces."""
        starts = np.cumsum([0, *counts[:-1]])
        means = (np.add.reduceat(rows, starts, axis=0) / np.array(counts, np.float32)[:, None]).astype(np.float32)
        return scaled(means) if self.plan.recipe.normalize else means


def _typed(plan: Plan, rows: Any) -> Any:
    """Return rows in the type they are kept in; what is too large for it becomes infinite, and fails."""
    if (dtype := plan.recipe.dtype) == "float32":
        return rows
    with np.errstate(over="ignore"):
        return [row.astype(dtype) for row in rows] if plan.ragged else rows.astype(dtype)


def _check_rows(plan: Plan, rows: runtime.Rows, count: int) -> None:
    """Refuse rows that are not one for each piece, or of another shape than the plan's."""
    if len(rows) != count:
        raise ModelError(f"The graph returned {len(rows)} rows for {count} samples.")
    if not plan.fits(row := plan.take(rows[0])):
        raise ModelError(
            f"The graph of {plan.card.name!r} returned rows of shape {tuple(row.shape)}, its card says {plan.shape}. "
            "If the file was replaced, load its card again: load_card(...)"
        )
