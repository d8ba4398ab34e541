"""State of a training run, and the file it is kept in.

The file is what ``torch.save`` writes of a dictionary: ``format``, ``model``, ``average``, ``optimizer``, ``progress``,
``step`` and ``samples``. To change the format, raise `FORMAT` and read the old number in `read_checkpoint` too.
"""

from __future__ import annotations

import copy
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from skltransfer._engine.training._optimizer import build_optimizer
from skltransfer._engine.training._schedule import Clock
from skltransfer._engine.training._settings import TrainSettings
from skltransfer.errors import need

if TYPE_CHECKING:
    import torch

#: Number of the file's format.
FORMAT = 1


@dataclass(frozen=True)
class Checkpoint:
    """Where and how often a run is saved.

    Parameters
    ----------
    path : Path
        If the file exists, `train` goes on from it.
    seconds : float
        Time between two writes. It is written at the end of a run in any case. Shorter loses less of a run that is
        killed; a write takes as long as three to four copies of the weights take to reach the disk.
    """

    path: Path
    seconds: float = 180.0


class TrainState:
    """All that changes during training.

    Parameters
    ----------
    module : torch.nn.Module
        Trained in place; moved to the settings' device.
    settings : TrainSettings
        Choices of the run.
    clock : Clock
        Progress of the run.

    Attributes
    ----------
    average : torch.nn.Module or None
        Moving average of the module.
    optimizer : torch.optim.Optimizer
        AdamW.
    step, samples : int
        Batches and rows done so far.
    """

    def __init__(self, module: torch.nn.Module, settings: TrainSettings, clock: Clock) -> None:
        self.module, self.clock = module.to(settings.device), clock
        self.average = None if settings.average is None else copy.deepcopy(module)
        self.optimizer = build_optimizer(module, settings)
        self.step = self.samples = 0

    def state_dict(self) -> dict[str, Any]:
        """Return the state as a dictionary of numbers and tensors."""
        return {
            "format": FORMAT,
            "model": self.module.state_dict(),
            "average": self.average.state_dict() if self.average else None,
            "optimizer": self.optimizer.state_dict(),
            "progress": self.clock.progress,
            "step": self.step,
            "samples": self.samples,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned; a moving average that it lacks begins at its weights."""
        self.module.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average:
            self.average.load_state_dict(state["average"] or state["model"])
        self.clock.progress, self.step, self.samples = (state[key] for key in ("progress", "step", "samples"))


def write_checkpoint(state: dict[str, Any], path: Path) -> None:
    """Write a state so that a reader sees the old file or the new one, never half of it."""
    torch = need("torch", extra="torch")
    temporary = path.with_name(f"{path.name}.{uuid4().hex}")
    try:
        with open(temporary, "xb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)  # is there only if something failed


def read_checkpoint(path: Path, device: str) -> dict[str, Any]:
    """Read a state, its tensors on a device.

    Raises
    ------
    ValueError
        If the file has another format.
    """
    torch = need("torch", extra="torch")
    state: dict[str, Any] = torch.load(path, weights_only=True, map_location=device)
    if state.get("format") != FORMAT:
        found = state.get("format")
        raise ValueError(f"{path} has format {found!r}, and {FORMAT} can be read. Use another file, or delete it.")
    return state
