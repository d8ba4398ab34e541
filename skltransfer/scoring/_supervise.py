"""The process above `skltransfer score`: it begins again when the one that scores dies, and hands signals on."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from skltransfer._engine import process
from skltransfer.scoring._job import SUCCESS
from skltransfer.scoring._sink import open_sink

#: Deaths in a row without a new part, after which it is not a row. Two make a part suspected, a third is chance.
MOST_DEATHS = 4
#: Seconds that the process has to end after a signal.
PATIENCE = 2.0
#: Exit status of a job with parts missing.
MISSING = 3


def supervise(arguments: Sequence[str], sink: str | os.PathLike[str]) -> int:
    """Run ``skltransfer score`` in a child process, again and again while it dies and gets on.

    Parameters
    ----------
    arguments : sequence of str
        Of the program.
    sink : path
        Where it writes: a death without a new part counts.

    Returns
    -------
    int
        Exit status of the child; 128 and the signal if this process was told to end.
    """
    deaths, parts = 0, -1
    while deaths < MOST_DEATHS:
        status, told = _run(arguments)
        if told:
            open_sink(sink).clear()  # of what a child was writing that did not end in time
            return 128 + told
        if status >= 0:
            return status
        there = len(open_sink(sink).names())
        deaths, parts = (1 if there > parts >= 0 else deaths + 1), there
    return MISSING


def _run(arguments: Sequence[str]) -> tuple[int, int]:
    """Run the child once; return its status, and the signal that this process got meanwhile, or 0."""
    child = process.start_child("skltransfer", arguments)
    told: list[int] = []
    since: list[float] = []

    def hand_on(number: int, frame: object) -> None:
        told.append(number)
        since.append(time.monotonic())
        child.send_signal(number)

    with _handling(hand_on):
        while True:
            try:
                return child.wait(0.1), told[0] if told else 0
            except subprocess.TimeoutExpired:
                if since and time.monotonic() - since[0] > PATIENCE:
                    child.kill()


@contextmanager
def _handling(handler: Any) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def is_finished(sink: str | os.PathLike[str]) -> bool:
    """Return whether a job in a sink has ended: what is left to do needs no process of its own."""
    return open_sink(sink).exists(SUCCESS)


def end_with_parent() -> None:
    """End this process when the one above it does, whose end of stdin closes then."""

    def watch() -> None:
        while os.read(0, 1):  # not through sys.stdin, whose lock the end of the interpreter would miss
            pass
        os._exit(128 + signal.SIGTERM)

    threading.Thread(target=watch, name="skltransfer-parent", daemon=True).start()


def end_on_sigterm() -> None:
    """Let SIGTERM end this process as Ctrl-C does: by an exception, with whole parts only."""

    def leave(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, leave)
