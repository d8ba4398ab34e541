"""The pace of a run on a busy machine: a deadline, and the number of threads."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import torch


@dataclass
class DeadlineClock:
    """Progress from 0 to 1 that reaches 1 at a deadline, even if the process is slowed or stopped; a `training.Clock`.

    Each step advances by its share of the time that is left.

    Parameters
    ----------
    deadline : float
        End of the run in seconds since the epoch.
    request : Path, optional
        If this file appears, it is deleted and the deadline moves to `soon` seconds from now.
    soon : float
        See `request`.
    longest : float
        A step counts for at most this many seconds, so that the schedule of a stopped process goes on where it was,
        only faster.
    """

    deadline: float
    request: Path | None = None
    soon: float = 240.0
    longest: float = 3.0
    progress: float = 0.0

    def advance(self, steps: int, seconds: float) -> None:
        """Count a step that ended now; the number of steps plays no part."""
        self.hurry()
        seconds = min(seconds, self.longest)
        left = max(self.deadline - time.time(), 0.0)
        self.progress += (1 - self.progress) * seconds / (seconds + left)
        if left == 0:
            self.progress = 1.0

    def hurry(self) -> None:
        """Move the deadline if the file asks for it."""
        if self.request and self.request.exists():
            self.request.unlink()
            self.deadline = min(self.deadline, time.time() + self.soon)


def find_deadline(minutes: float | None, until: str | None) -> float:
    """Return the end of the run in seconds since the epoch: after `minutes` or at HH:MM, UTC."""
    now = datetime.now(UTC)
    if until is None:
        return (now + timedelta(minutes=minutes or 60)).timestamp()
    hour, minute = map(int, until.split(":"))
    end = now.replace(hour=hour, minute=minute, second=0)
    return (end if end > now else end + timedelta(days=1)).timestamp()


class ThreadTuner:
    """Find the fastest number of threads by trying several, again and again.

    If other work occupies a core, every operation that is shared among cores waits for that one. One thread can then
    be several times faster than two, and slower again a minute later.

    Parameters
    ----------
    most : int
        The largest number of threads to try.
    trial : int
        Steps to try each number for.
    period : int
        Steps from one round of trials to the next.
    """

    def __init__(self, most: int, trial: int = 3, period: int = 60) -> None:
        self.choices = sorted({1, max(1, most // 2), most})
        self.trial, self.period, self.count = trial, period, 0
        self.seconds = dict.fromkeys(self.choices, 0.0)

    def before_step(self) -> None:
        """Set the number of threads of the next step."""
        turn, place = divmod(self.count, self.trial)
        if turn < len(self.choices) and place == 0:
            torch.set_num_threads(self.choices[turn])
        elif self.count == len(self.choices) * self.trial:
            torch.set_num_threads(min(self.choices, key=self.seconds.__getitem__))

    def after_step(self, seconds: float) -> None:
        """Count the time of the step."""
        if self.count == 0:
            self.seconds = dict.fromkeys(self.choices, 0.0)
        turn = self.count // self.trial
        if turn < len(self.choices):
            self.seconds[self.choices[turn]] += seconds
        self.count = (self.count + 1) % self.period
