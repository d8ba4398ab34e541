"""Compare a quantized model with its original: cosine of the rows, and speed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from skltransfer._engine import plan, runtime, samples, stream
from skltransfer.cards import Card

#: Number of samples that are timed, and of passes; the fastest pass counts.
TIMED, PASSES = 8, 5


def embed(card: Card, given: Sequence[Any]) -> np.ndarray:
    """Embed samples at the card's layer, on the CPU."""
    made = plan.make(card, runtime.Device())
    return np.asarray(stream.embed(samples.Samples(given, len(given)), made).rows)


def compare(original: Card, quantized: Card, given: Sequence[Any], rows: np.ndarray) -> dict[str, Any]:
    """Compare a quantized model with its original.

    Parameters
    ----------
    original, quantized : Card
        From `catalog.load_card`.
    given : sequence
        Samples that were not used for calibration.
    rows : ndarray of shape (n_samples, columns)
        Rows of the original, from `embed`.

    Returns
    -------
    dict
        ``cosine`` and ``least_cosine``, the mean and the minimum over the rows; ``speed``, how many times as fast the
        quantized graph is, alone, on one thread, one sample at a time.
    """
    cosines = _cosines(rows, embed(quantized, given))
    return {
        "cosine": round(float(cosines.mean()), 5),
        "least_cosine": round(float(cosines.min()), 5),
        "speed": round(_speed(original, quantized, given[:TIMED]), 2),
    }


def _cosines(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the cosine of each pair of rows; that of equal rows is 1, even if they are zero."""
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    same = np.abs(left - right).max(axis=1) == 0
    return np.where(same, 1.0, (left * right).sum(axis=1) / np.where(lengths > 0, lengths, 1.0))


def _speed(original: Card, quantized: Card, given: Sequence[Any]) -> float:
    """Time both in turn, so that other load on the machine slows both."""
    plans = [plan.make(card, runtime.Device()) for card in (original, quantized)]
    preparer = plans[0].preparer()
    prepared = [preparer.collate(parts[:1]) for parts in preparer.prepare([preparer.read(s) for s in given])]
    seconds = np.empty((PASSES, 2))
    for attempt in seconds:
        for i, one in enumerate(plans):
            session = stream.open_backbone(one, list(prepared[0]))
            start = time.perf_counter()
            for piece in prepared:
                session.run(piece)
            attempt[i] = time.perf_counter() - start
    before, after = seconds.min(axis=0)
    return float(before / after)
