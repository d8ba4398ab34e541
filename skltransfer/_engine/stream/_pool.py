"""Threads of one call: waited for when it ends, and left to end by themselves after an interrupt."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any

Task = tuple[Future[Any], Callable[[], Any]]

#: Seconds after an interrupt in which threads may end; then the caller has control back.
PATIENCE = 2.0


class Pool:
    """Threads that are started when there is work for them.

    They are daemons, unlike those of `concurrent.futures`: a decoder or a session that is being opened cannot be
    stopped, and must not keep the interpreter from exiting after Ctrl-C. Every call waits for its threads, so that none
    is running at a normal exit.

    Parameters
    ----------
    most : int
        Number of threads.
    name : str
        Their name.
    """

    def __init__(self, most: int, name: str) -> None:
        self._most, self._name = most, name
        self._urgent: deque[Task] = deque()
        self._later: deque[Task] = deque()
        #: True for each task that waits in one of the two, False for each thread that is to end.
        self._calls: SimpleQueue[bool] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._threads: list[threading.Thread] = []
        self._closed = False

    def submit(self, work: Callable[[], Any], *, later: bool = False) -> Future[Any]:
        """Start work, or let it wait until there is no other."""
        future: Future[Any] = Future()
        (self._later if later else self._urgent).append((future, work))
        self._calls.put(True)
        if not self._idle.acquire(blocking=False) and len(self._threads) < self._most:
            thread = threading.Thread(target=self._run, name=f"{self._name}-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()
        return future

    def _next(self) -> Task:
        try:
            return self._urgent.popleft()
        except IndexError:
            return self._later.popleft()

    def _run(self) -> None:
        while self._calls.get():
            future, work = self._next()
            if self._closed:
                future.cancel()
            if future.set_running_or_notify_cancel():
                try:
                    result = work()
                except BaseException as err:  # noqa: BLE001 - the thread that waits for the result raises it
                    future.set_exception(err)
                else:
                    future.set_result(result)
            del future, work
            self._idle.release()

    def close(self, seconds: float | None = None) -> None:
        """End the threads once their present work is done; what waits is dropped.

        Parameters
        ----------
        seconds : float, optional
            Longest wait; None: until they have ended.
        """
        self._closed = True
        with contextlib.suppress(Empty):  # whoever waits for what was dropped is told, or would wait for ever
            while self._calls.get_nowait():
                self._next()[0].cancel()
        for _ in self._threads:
            self._calls.put(False)
        until = None if seconds is None else time.monotonic() + seconds
        for thread in self._threads:
            thread.join(None if until is None else max(0.0, until - time.monotonic()))


def interruptible(work: Callable[[], Any]) -> Any:
    """Do work in a thread, so that Ctrl-C is seen although the work cannot be stopped."""
    pool = Pool(1, "skltransfer")
    try:
        result = pool.submit(work).result()
    except (KeyboardInterrupt, SystemExit):
        pool.close(0)
        raise
    except BaseException:
        pool.close()
        raise
    pool.close()
    return result
