"""Threads that finish units: compute the results of rows, and write them."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from skltransfer._engine import process

#: Rows of units that wait or are being finished; from so many on, `put` waits, unless there is only one unit. Many
#: small ones become full at once, when a window of texts is through.
HELD = 8192
#: Threads that finish units: while others wait for the disk, one computes.
WRITERS = 4
#: Seconds after an interrupt in which the unit at hand may be finished.
PATIENCE = 1.0


class Finisher:
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
        #: Units that were put and are not finished, and their rows; notified whenever they become fewer.
        self._units = self._rows = 0
        self._room = threading.Condition()
        # Daemons: a head that takes minutes must not keep the process from ending after Ctrl-C.
        self._threads = [
            threading.Thread(target=self._run, name=f"skltransfer-scoring-{i}", daemon=True) for i in range(WRITERS)
        ]

    def __enter__(self) -> Finisher:
        for thread in self._threads:
            thread.start()
        return self

    def put(self, item: Any, rows: int) -> None:
        """Hand a unit of so many rows over, once there is room."""
        with self._room:
            while self._units > 1 and self._rows >= HELD and self._failed is None:
                self._room.wait(0.1)  # without a limit Windows would not hear Ctrl-C
            if self._failed is not None:
                raise self._failed
            self._units, self._rows = self._units + 1, self._rows + rows
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
                self._units, self._rows = self._units - 1, self._rows - rows
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
        try:
            for _ in self._threads:
                self._queue.put(None)
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
