"""How far a run has come, and the learning rate at that point. Plain numbers; needs no torch."""

from __future__ import annotations

import math
from typing import Protocol


class Clock(Protocol):
    """Progress of a run from 0 to 1, which the schedule follows.

    Write another one where a run has no fixed number of steps: until a deadline, for example. `train` restores
    `progress` from a checkpoint.

    Attributes
    ----------
    progress : float
        Training ends at 1.
    """

    progress: float

    def advance(self, steps: int, seconds: float) -> None:
        """Count a step that has just ended.

        Parameters
        ----------
        steps : int
            Steps done so far, this one included.
        seconds : float
            Time this one took.
        """


class StepClock:
    """Progress that reaches 1 after a fixed number of steps.

    Parameters
    ----------
    total : int
        Number of steps of the run.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.progress = 0.0

    def advance(self, steps: int, seconds: float) -> None:
        """Count a step; its time plays no part."""
        self.progress = steps / self.total


def learning_rate(progress: float, peak: float, warmup: float) -> float:
    """Return the learning rate: a linear rise, then half a cosine down to zero.

    Parameters
    ----------
    progress : float
        From 0 to 1.
    peak : float
        Rate at the end of the rise.
    warmup : float
        Share of the run in which the rate rises.
    """
    if progress < warmup:
        return peak * (progress + 1e-3) / warmup  # without the thousandth, the first step would change nothing
    return peak * 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))
