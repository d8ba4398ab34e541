"""Steps before an embedder that do what a hostile row would: each has the effect when it sees a text."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from sklearn.base import BaseEstimator, TransformerMixin


class Step(TransformerMixin, BaseEstimator):
    """Does something to every block that holds a mark."""

    def __init__(self, mark="", path="", seconds=0.0):
        self.mark, self.path, self.seconds = mark, path, seconds

    def fit(self, X, y=None):
        return self

    def __sklearn_is_fitted__(self):
        return True

    def transform(self, X):
        time.sleep(self.seconds)
        if any(self.mark in str(x) for x in X):
            self.act()
        return X

    def act(self):
        """Do nothing."""


class Slow(Step):
    """Takes its time."""


class Die(Step):
    """Kills the process, as a decoder with a fault would."""

    def act(self):
        os.kill(os.getpid(), signal.SIGSEGV)


class DieOnce(Step):
    """Kills the process, unless a file says that this was done."""

    def act(self):
        if not Path(self.path).exists():
            Path(self.path).touch()
            os.kill(os.getpid(), signal.SIGKILL)


class Remove(Step):
    """Removes a file."""

    def act(self):
        Path(self.path).unlink(missing_ok=True)


class SlowDisk(Step):
    """Lets every later write wait for a disk that is busy."""

    def act(self):
        os.fsync = lambda descriptor: time.sleep(20)
