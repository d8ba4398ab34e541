"""The line: threads that are given items and return rows.

It has two forms, a row each in `LINES`:

- ``cpu``: every worker prepares a small batch and runs it on the one shared one-thread session (measured: a third
  faster than decoders that feed a session of many threads);
- ``cuda``, ``tensorrt``: workers prepare, runners run large batches, two to a device: while one batch is computed, the
  next is copied.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future
from functools import cached_property
from queue import SimpleQueue
from types import TracebackType
from typing import Any, ClassVar, Self

from skltransfer._engine import runtime
from skltransfer._engine.plan import Plan
from skltransfer._engine.stream import _pace
from skltransfer._engine.stream._options import DEFAULT, Options
from skltransfer._engine.stream._pool import PATIENCE, Pool
from skltransfer._engine.stream._work import Batch, Item, Work
from skltransfer.errors import deferring, warn

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


class Line(ABC):
    """Threads of one call, started when they are first needed.

    Leaving it by an exception stops what is running and waits for the threads.

    Parameters
    ----------
    plan : Plan
        What is run.
    options : Options
        Threads, batch size, where rows are kept.
    """

    #: Name of the form, as in the preparers' tables.
    form: ClassVar[str]
    #: Lengths of padded batches are multiples of it.
    step: ClassVar = 1

    def __init__(self, plan: Plan, options: Options = DEFAULT) -> None:
        self.n_jobs = options.n_jobs
        self._warned: list[tuple[str | Warning, type[Warning]]] = []
        self.work = Work(plan, self.form, options, self.step)
        #: Items taken together: a batch, or enough texts that some are of similar length.
        self.window = max(WINDOW, self.work.batch_size) if self.work.preparer.by_length else self.work.batch_size

    @cached_property
    def workers(self) -> int:
        """Number of threads that prepare."""
        return runtime.workers(self.n_jobs)

    @property
    def in_flight(self) -> int:
        """Batches submitted and not collected: enough for the workers while the caller's thread hands a window on."""
        return 4 * self.workers

    @property
    def abreast(self) -> int:
        """Batches that are run at once, each by a thread of its own."""
        return self.workers

    @property
    def ahead(self) -> int:
        """Windows that are prepared while the one before them runs: where each is cut only when all of it is there."""
        return 1 if self.work.preparer.by_length else 0

    @cached_property
    def _pool(self) -> Pool:
        return Pool(self.workers, "skltransfer")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and "cancel" in self.work.__dict__:  # something has been run
            self.work.cancel.terminate = True
        interrupted = kind is not None and not issubclass(kind, Exception)
        self.close(PATIENCE if interrupted else None)

    def close(self, seconds: float | None = None) -> None:
        """Wait for the threads, at most so long; what has not begun is dropped."""
        if "_pool" in self.__dict__:
            self._pool.close(seconds)

    def start(self, pool: Pool, work: Callable[[Any], Batch], on: Any, *, later: bool = False) -> Future[Batch]:
        """Start work in a pool; its warnings are kept for `issue_warnings`."""

        def quietly() -> Batch:
            with deferring(self._warned):
                return work(on)

        return pool.submit(quietly, later=later)

    def issue_warnings(self) -> None:
        """Issue the warnings of the workers, in the thread that has the user's line above it."""
        while self._warned:
            warn(*self._warned.pop(0))

    def read(self, items: list[Item]) -> Future[Batch]:
        """Start to read and fingerprint items, without decoding them."""
        return self.start(self._pool, self.work.fingerprint, items)

    def prepare(self, items: list[Item]) -> Future[Batch]:
        """Start to prepare items without running them, while there is nothing to read or to run."""
        return self.start(self._pool, self.work.prepare, items, later=True)

    @abstractmethod
    def submit(self, items: list[Item]) -> Future[Batch]:
        """Start to prepare and run items."""


class Fused(Line):
    """Every worker prepares and runs its own small batches."""

    form: ClassVar = "fused"

    def submit(self, items: list[Item]) -> Future[Batch]:
        """Start to prepare and run items in one worker."""
        return self.start(self._pool, self._prepare_and_run, items)

    def _prepare_and_run(self, items: list[Item]) -> Batch:
        batch = self.work.ready(items)
        tokens = sum(len(piece) for item in batch.items for piece in item.pieces)
        start = time.thread_time()
        done = self.work.run(batch)
        if self.work.preparer.by_length:
            _pace.note(self.work, tokens, time.thread_time() - start)
        return done


class Pipelined(Line):
    """Workers prepare parts of a batch; a runner waits for them and runs the batch on a device that is free."""

    form: ClassVar = "pipelined"
    step: ClassVar = STEP

    def __init__(self, plan: Plan, options: Options = DEFAULT) -> None:
        super().__init__(plan, options)
        devices = plan.device.each()
        self._lanes = LANES * len(devices)
        self._seen = 0
        self._free: SimpleQueue[runtime.Device] = SimpleQueue()
        for device in devices * LANES:
            self._free.put(device)

    @property
    def abreast(self) -> int:
        """One: all of a device works on a batch."""
        return 1

    @property
    def in_flight(self) -> int:
        """Those on their way through devices, and one that is being prepared."""
        return self._lanes + 1

    @cached_property
    def _runners(self) -> Pool:
        return Pool(self._lanes, "skltransfer-runner")

    def close(self, seconds: float | None = None) -> None:
        """Wait for workers and runners."""
        super().close(seconds)
        if "_runners" in self.__dict__:
            self._runners.close(seconds)

    def submit(self, items: list[Item]) -> Future[Batch]:
        """Start to prepare items in parts, and to run them when all parts are there."""
        parts = [self.start(self._pool, self.work.ready, items[i : i + PART]) for i in range(0, len(items), PART)]
        return self.start(self._runners, self._gather_and_run, parts)

    def _gather_and_run(self, parts: list[Future[Batch]]) -> Batch:
        done = [part.result() for part in parts if not part.cancelled()]
        batch = Batch([i for part in done for i in part.items], [f for part in done for f in part.failed])
        device = self._free.get()
        try:
            self._tune(batch, device)
            return self.work.run(batch, device)
        finally:
            self._free.put(device)

    def _tune(self, batch: Batch, device: runtime.Device) -> None:
        """Find a better size, once some full batches were run, where nobody gave one and samples are of one shape.

        A shorter call is over before the search would be.
        """
        work = self.work
        if work.counted or work.preparer.by_length or not batch.items or len(batch.items) < work.batch_size:
            return
        pieces = [piece for item in batch.items for piece in item.pieces]
        session, self._seen = work.session(pieces, device), self._seen + 1
        if not session.batch_size and (session.best or self._seen >= SETTLED):
            rows = session.tune(work.preparer.collate(pieces))
            work.batch_size = self.window = max(
                1, rows * len(batch.items) // len(pieces)
            )  # views are rows of their own


LINES: dict[str, type[Line]] = {"cpu": Fused, "cuda": Pipelined, "tensorrt": Pipelined}
