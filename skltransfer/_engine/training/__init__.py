"""The training loop: a module, batches, a loss and settings in; the trained module out.

The room owns the order of a training step, the optimizer, the schedule of the learning rate, the moving average of
the weights, checkpoints, and the state of torch that a run may change: number of threads and random numbers. It must
not know what a sample is, where batches come from, or what becomes of the module: image recipes and fine-tuning call
the same loop.

torch is imported inside functions, so that ``import skltransfer`` stays light.

A straight line, learned in 200 steps (no doctest, for torch may be absent)::

    x = torch.linspace(-1, 1, 64)[:, None]

    def batches(step):
        rows = training.epoch_rows(step, 64, batch_size=16, seed=0)
        return x[rows], 3 * x[rows]

    settings = training.TrainSettings(steps=200, learning_rate=0.1)
    line = torch.nn.Linear(1, 1)
    training.train(line, batches, torch.nn.functional.mse_loss, settings)  # line.weight is 3 afterwards
"""

from skltransfer._engine.training._batches import epoch_rows, steps_per_epoch
from skltransfer._engine.training._checkpoint import Checkpoint
from skltransfer._engine.training._loop import StepReport, TrainResult, train
from skltransfer._engine.training._optimizer import build_optimizer, parameter_groups, update_average
from skltransfer._engine.training._schedule import Clock, StepClock, learning_rate
from skltransfer._engine.training._settings import TrainSettings

__all__ = [
    "Checkpoint",
    "Clock",
    "StepClock",
    "StepReport",
    "TrainResult",
    "TrainSettings",
    "build_optimizer",
    "epoch_rows",
    "learning_rate",
    "parameter_groups",
    "steps_per_epoch",
    "train",
    "update_average",
]
