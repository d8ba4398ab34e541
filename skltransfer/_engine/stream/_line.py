"""The line: workers are given items and give back rows.

It has two forms, a row each in `LINES`:

- ``cpu``: every worker prepares a small batch and runs it on the one shared one-thread session (measured: a third
  faster than decoders that feed a session of many threads);
- ``cuda``, ``tensorrt``: workers prepare, runners run large batches, two to a device: while one batch is computed, the
  next is copied.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from queue import SimpleQueue
from types import TracebackType
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from skltransfer._engine import runtime
from skltransfer._engine.stream._open import open_backbone
from skltransfer._engine.stream._prepare import PREPARERS, Piece, Plan, scaled
from skltransfer.errors import ModelError, SklTransferError, Unreadable

#: Samples one worker prepares at a time where preparing and running are apart.
PART = 8
#: Batches on their way through a device: one is copied, one is computed.
LANES = 2
#: Full batches after which a size is searched for that suits the device better.
SETTLED = 8
#: Lengths of texts on a GPU are multiples of so many tokens: few shapes, each searched for once.
STEP = 16
#: Texts sorted by length together.
WINDOW = 4096


@dataclass
class Item:
    """A sample on its way; what is no longer needed is let go."""

    index: int
    sample: Any
    source: Any = None
    #: Empty where nothing is cached.
    key: bytes = b""
    pieces: list[Piece] = field(default_factory=list)


class Batch(NamedTuple):
    """What a worker gives back: the items that worked, those that did not and why, the rows if they were run."""

    items: list[Item]
    failed: list[tuple[Item, str]]
    rows: Any = None


class Line(ABC):
    """Threads that prepare and run. Leaving it by an exception stops what is running and waits for the threads."""

    #: Name of the form, as in the preparers' tables.
    form: ClassVar[str]
    #: What lengths are multiples of.
    step: ClassVar = 1

    def __init__(self, plan: Plan, workers: int, batch_size: int | None, output: runtime.Torch | None = None) -> None:
        self.plan, self.workers, self.output = plan, workers, output
        self.preparer = PREPARERS[type(plan.recipe.input)](plan)
        self.counted = batch_size is not None
        self.batch = batch_size or self.preparer.batch(self.form)
        #: Items taken together: a batch, or enough texts that some are of similar length.
        self.window = max(WINDOW, self.batch) if self.preparer.by_length else self.batch
        #: Batches submitted and not collected, and chunks read and not looked up: enough to keep the workers busy.
        self.in_flight, self.ahead = 2 * workers, workers
        self._cancel = runtime.cancel_switch()
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="skltransfer")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cancel.terminate = kind is not None
        self.close()

    def close(self) -> None:
        """Wait for the threads; they are never left behind, for a daemon that runs at exit aborts the process."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def session(self, like: npt.NDArray[Any] | None, device: runtime.Device | None = None) -> runtime.Session:
        """Give the open session of a device, by default the first; the first miss opens it."""
        return open_backbone(self.plan._replace(device=device or self.plan.device), like)

    def read(self, items: list[Item]) -> Future[Batch]:
        """Start to read and fingerprint items, without decoding them."""
        return self._pool.submit(self._each, self._read_and_fingerprint, items)

    @abstractmethod
    def submit(self, items: list[Item]) -> Future[Batch]:
        """Start to prepare and run items."""

    def _read_and_fingerprint(self, item: Item) -> None:
        digest = self.preparer.glance(item.sample)
        if digest is None:
            item.source = self.preparer.read(item.sample)
            digest = item.source.digest()
            item.sample = item.source.path
        item.key = digest + self.plan.recipe.key.encode()

    def prepare(self, items: list[Item]) -> Future[Batch]:
        """Start to prepare items without running them."""
        return self._pool.submit(self._prepared, items)

    def _prepared(self, items: list[Item]) -> Batch:
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
            return Batch(one_by_one.items, read.failed + one_by_one.failed)
        return read

    def _ready(self, items: list[Item]) -> Batch:
        """Prepare items, unless they were prepared to be sorted."""
        return Batch(items, []) if self.preparer.by_length else self._prepared(items)

    def _read(self, item: Item) -> None:
        """Read an item that is not yet; if it was only glanced at, see that it is still what its key says."""
        if item.source is not None:
            return
        item.source = self.preparer.read(item.sample)
        if item.key and not item.key.startswith(item.source.digest()):
            raise Unreadable("changed while it was being embedded; run again")

    def _prepare(self, item: Item) -> None:
        self._read(item)
        (item.pieces,) = self.preparer.prepare([item.source])
        item.source = None

    def _each(self, work: Callable[[Item], None], items: list[Item]) -> Batch:
        """Do the work on every item; those it fails on are set aside, with the reason.

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

    def _run(self, batch: Batch, device: runtime.Device | None = None) -> Batch:
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
        counts = [len(item.pieces) for item in batch.items]
        for item in batch.items:
            item.pieces = []
        return batch._replace(rows=rows if len(rows) == len(counts) else self._means(rows, counts))

    def _rows(self, pieces: list[Piece], device: runtime.Device | None) -> Any:
        """Run pieces: at once, but for windows of a text that are more than a batch, and graphs that mix a batch."""
        session, size = self.session(pieces[0], device), len(pieces)
        if self.preparer.by_length:
            most = self.batch if self.counted else self.batch // max(map(len, pieces))
            size = 1 if session.batch else max(1, most)
        parts = [pieces[i : i + size] for i in range(0, len(pieces), size)]
        step = 1 if session.batch else self.step  # a graph that mixes padding in gets none
        batches = [partial(self.preparer.collate, part, step=step) for part in parts]
        rows = [session.run_batch(batch, self._cancel, self.output) for batch in batches]
        if len(rows) == 1:
            return rows[0]
        return np.concatenate(rows) if self.output is None else self.output.join(rows)

    def _means(self, rows: runtime.Rows, counts: list[int]) -> runtime.Rows:
        """Average the rows of each item's pieces."""
        starts = np.cumsum([0, *counts[:-1]])
        means = (np.add.reduceat(rows, starts, axis=0) / np.array(counts, np.float32)[:, None]).astype(np.float32)
        return scaled(means) if self.plan.recipe.normalize else means


class _Fused(Line):
    """Every worker prepares and runs its own small batches."""

    form: ClassVar = "fused"

    def submit(self, items: list[Item]) -> Future[Batch]:
        return self._pool.submit(lambda: self._run(self._ready(items)))


class _Pipelined(Line):
    """Workers prepare parts of a batch; a runner waits for them and runs the batch on a device that is free."""

    form: ClassVar = "pipelined"
    step: ClassVar = STEP

    def __init__(self, plan: Plan, workers: int, batch_size: int | None, output: runtime.Torch | None = None) -> None:
        super().__init__(plan, workers, batch_size, output)
        devices = plan.device.each()
        lanes = LANES * len(devices)
        self.in_flight = lanes + 1  # those on their way through devices, and one that is being prepared
        self._seen = 0
        self._free: SimpleQueue[runtime.Device] = SimpleQueue()
        for device in devices * LANES:
            self._free.put(device)
        self._runners = ThreadPoolExecutor(lanes, thread_name_prefix="skltransfer-runner")

    def close(self) -> None:
        self._runners.shutdown(wait=False, cancel_futures=True)
        super().close()
        self._runners.shutdown(wait=True)

    def submit(self, items: list[Item]) -> Future[Batch]:
        parts = [self._pool.submit(self._ready, items[i : i + PART]) for i in range(0, len(items), PART)]
        return self._runners.submit(self._gather_and_run, parts)

    def _gather_and_run(self, parts: list[Future[Batch]]) -> Batch:
        done = [part.result() for part in parts]
        batch = Batch([i for part in done for i in part.items], [f for part in done for f in part.failed])
        device = self._free.get()
        try:
            self._tune(batch, device)
            return self._run(batch, device)
        finally:
            self._free.put(device)

    def _tune(self, batch: Batch, device: runtime.Device) -> None:
        """Find a better size, once some full batches were run, where nobody gave one and samples are of one shape.

        A shorter call is over before the search would be.
        """
        if self.counted or self.preparer.by_length or not batch.items or len(batch.items) < self.batch:
            return
        pieces = [piece for item in batch.items for piece in item.pieces]
        session, self._seen = self.session(pieces[0], device), self._seen + 1
        if not session.batch and (session.best or self._seen >= SETTLED):
            self.batch = self.window = session.tune(self.preparer.collate(pieces))


LINES: dict[str, type[Line]] = {"cpu": _Fused, "cuda": _Pipelined, "tensorrt": _Pipelined}
