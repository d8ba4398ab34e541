"""Batches of texts grow where a graph is so quick that a call costs as much as its work; the size is kept."""

from __future__ import annotations

from typing import Protocol

from skltransfer._engine import process

#: Seconds of processor time that a run is worth: calls of ONNX Runtime and of ours take a few tenths of a millisecond.
WORTHWHILE = 0.004
#: Tokens of the largest batch.
MOST = 4096
#: Batch sizes that were found, in tokens, by recipe and form of the line.
sizes: process.Table[tuple[str, str], int] = process.Table(64)


class Sized(Protocol):
    """Work whose batches may grow.

    Attributes
    ----------
    place : (str, str)
        Key of the recipe, and form of the line.
    counted : bool
        Whether the user gave the size.
    least, batch_size : int
        Tokens of a batch: at the beginning, and by now.
    """

    place: tuple[str, str]
    counted: bool
    least: int
    batch_size: int


def note(work: Sized, tokens: int, seconds: float) -> None:
    """Let the batches to come grow where runs are short.

    Parameters
    ----------
    work : Sized
        Its `batch_size` is set.
    tokens : int
        Of a batch that was run, without padding; a small one says nothing.
    seconds : float
        Of processor time that it took.
    """
    better = min(MOST, int(tokens / max(seconds, 1e-6) * WORTHWHILE))
    if not work.counted and 2 * tokens >= work.least and better >= 2 * work.batch_size:
        work.batch_size = better
        sizes.keep(work.place, better)
