"""Schedule, settings and rows of a training run: plain numbers, no torch."""

import sys

import numpy as np
import pytest

from skltransfer._engine.training import (
    StepClock,
    TrainSettings,
    epoch_rows,
    learning_rate,
    steps_per_epoch,
    train,
)
from skltransfer.errors import MissingDependencyError


@pytest.mark.parametrize(
    ("progress", "rate"),
    [(0.0, 0.02), (0.05, 1.02), (0.1, 2.0), (0.55, 1.0), (0.325, 1 + 0.5**0.5), (1.0, 0.0)],
)
def test_learning_rate_rises_then_follows_a_cosine(progress, rate):
    assert learning_rate(progress, peak=2.0, warmup=0.1) == pytest.approx(rate, abs=1e-12)


def test_learning_rate_without_warmup_begins_at_the_peak():
    assert learning_rate(0.0, peak=2.0, warmup=0.0) == 2.0


def test_step_clock_reaches_one_with_the_last_step():
    clock, seen = StepClock(3), []
    for step in (1, 2, 3):
        clock.advance(step, seconds=9.0)
        seen.append(clock.progress)
    assert seen == [1 / 3, 2 / 3, 1.0]


def test_rows_of_an_epoch_are_different_and_sorted():
    parts = [epoch_rows(step, n_samples=20, batch_size=5, seed=0) for step in range(4)]
    assert sorted(np.concatenate(parts)) == list(range(20))
    assert all((np.diff(part) > 0).all() for part in parts)


def test_next_epoch_has_another_order():
    assert not np.array_equal(epoch_rows(0, 20, 5, seed=0), epoch_rows(4, 20, 5, seed=0))


def test_few_samples_make_one_smaller_batch():
    assert steps_per_epoch(3, batch_size=8) == 1
    assert epoch_rows(7, 3, batch_size=8, seed=0).tolist() == [0, 1, 2]


def test_settings_name_all_their_mistakes_at_once():
    with pytest.raises(ValueError, match=r"steps=0 must be at least 1; warmup=1 must be .* autocast='float16' must"):
        TrainSettings(steps=0, warmup=1, autocast="float16")


def test_training_without_torch_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'skltransfer\[torch\]'"):
        train(object(), lambda step: ((), ()), lambda outputs, targets: outputs, TrainSettings())
