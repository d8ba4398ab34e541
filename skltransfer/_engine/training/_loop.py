"""The loop: steps until the clock says 1, each a batch, a gradient and an update."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from skltransfer._engine.training._batches import count_rows, map_tensors, step_seed
from skltransfer._engine.training._checkpoint import Checkpoint, TrainState, read_checkpoint, write_checkpoint
from skltransfer._engine.training._optimizer import set_learning_rate, update_average
from skltransfer._engine.training._schedule import Clock, StepClock
from skltransfer._engine.training._settings import TrainSettings
from skltransfer.errors import need

if TYPE_CHECKING:
    import torch

Batches = Callable[[int], tuple[Any, Any]]
Loss = Callable[[Any, Any], "torch.Tensor"]


@dataclass(frozen=True)
class StepReport:
    """One finished step, as a callback sees it.

    Attributes
    ----------
    step : int
        Steps done so far, this one included; a resumed run goes on counting.
    samples : int
        Rows seen so far.
    loss : float
        Loss of the batch, before the update.
    learning_rate : float
        Rate of the update, for a factor of 1.
    progress : float
        From 0 to 1.
    seconds : float
        Time the step took, waiting for its batch included.
    """

    step: int
    samples: int
    loss: float
    learning_rate: float
    progress: float
    seconds: float


@dataclass(frozen=True)
class TrainResult:
    """Result of a run.

    Attributes
    ----------
    module : torch.nn.Module
        The trained module, in evaluation mode.
    average : torch.nn.Module or None
        Moving average of its weights, in evaluation mode, if the settings ask for one.
    step, samples : int
        Batches and rows seen.
    finished : bool
        Whether the schedule ended; False if a callback stopped the run.
    """

    module: torch.nn.Module
    average: torch.nn.Module | None
    step: int
    samples: int
    finished: bool


def train(
    module: torch.nn.Module,
    batches: Batches,
    loss: Loss,
    settings: TrainSettings,
    *,
    clock: Clock | None = None,
    on_step: Callable[[StepReport], bool | None] | None = None,
    checkpoint: Checkpoint | None = None,
) -> TrainResult:
    """Train a module in place.

    On the CPU, the same settings, batches and number of threads give the same weights, bit for bit, interrupted or not.
    The number of threads and torch's random numbers are afterwards as they were before.

    Parameters
    ----------
    module : torch.nn.Module
        Called with the inputs of a batch. Parameters that require no gradient stay as they are.
    batches : callable
        ``batches(step)`` returns the inputs and targets of a step, counted from 0: tensors, or tuples, lists and
        dictionaries of them. A function of the step, so that a resumed run goes on with the right one; it may load the
        next batch ahead.
    loss : callable
        ``loss(outputs, targets)`` returns a scalar tensor. Outputs are float32.
    settings : TrainSettings
        Choices that change the result.
    clock : Clock, optional
        Progress of the run. By default, it ends after ``settings.steps``.
    on_step : callable, optional
        Called with a `StepReport` after each step. Returning True stops the run.
    checkpoint : Checkpoint, optional
        File that the run is saved in, and resumed from if it exists.

    Returns
    -------
    TrainResult
        The module and the average of its weights.

    Raises
    ------
    FloatingPointError
        If the loss is not finite. A checkpoint stays as it was last written.
    MissingDependencyError
        If torch is not installed.
    """
    clock = clock or StepClock(settings.steps)
    with _torch_state(settings):
        state = TrainState(module, settings, clock)
        if checkpoint and checkpoint.path.exists():
            state.load_state_dict(read_checkpoint(checkpoint.path, settings.device))
        _run(state, batches, loss, settings, on_step, checkpoint)
    if checkpoint:
        write_checkpoint(state.state_dict(), checkpoint.path)
    average = state.average.eval() if state.average else None
    return TrainResult(module.eval(), average, state.step, state.samples, clock.progress >= 1)


@contextmanager
def _torch_state(settings: TrainSettings) -> Iterator[None]:
    """Set the number of threads; restore it and the random numbers afterwards."""
    torch = need("torch", extra="torch")
    device, threads = torch.device(settings.device), torch.get_num_threads()
    gpus = [torch.cuda.current_device() if device.index is None else device.index] if device.type == "cuda" else []
    with torch.random.fork_rng(gpus):
        torch.set_num_threads(settings.threads or threads)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def _run(
    state: TrainState,
    batches: Batches,
    loss: Loss,
    settings: TrainSettings,
    on_step: Callable[[StepReport], bool | None] | None,
    checkpoint: Checkpoint | None,
) -> None:
    """Run steps until the clock says 1 or the callback says stop, and save from time to time."""
    state.module.train()
    saved = time.monotonic()
    while state.clock.progress < 1:
        report = _step(state, batches, loss, settings)
        if on_step and on_step(report):
            return
        if checkpoint and time.monotonic() - saved > checkpoint.seconds:
            write_checkpoint(state.state_dict(), checkpoint.path)
            saved = time.monotonic()


def _step(state: TrainState, batches: Batches, loss: Loss, settings: TrainSettings) -> StepReport:
    """Run one step and count it."""
    torch = need("torch", extra="torch")
    start = time.monotonic()
    torch.manual_seed(step_seed(settings.seed, state.step))
    inputs, targets = map_tensors(lambda tensor: tensor.to(settings.device), batches(state.step))
    rate = set_learning_rate(state.optimizer, state.clock.progress, settings)
    value = _update(state, inputs, targets, loss, settings)
    if settings.average is not None and state.average:
        update_average(state.average, state.module, state.step, settings.average)
    state.step += 1
    state.samples += count_rows(inputs)
    seconds = time.monotonic() - start
    state.clock.advance(state.step, seconds)
    return StepReport(state.step, state.samples, value, rate, state.clock.progress, seconds)


def _update(state: TrainState, inputs: Any, targets: Any, loss: Loss, settings: TrainSettings) -> float:
    """Move the weights against the gradient of the loss, and return the loss."""
    torch = need("torch", extra="torch")
    with _autocast(settings):
        outputs = state.module(inputs)
    value = loss(map_tensors(_to_float32, outputs), targets)
    state.optimizer.zero_grad()
    value.backward()  # type: ignore[no-untyped-call,unused-ignore]  # torch may be absent where types are checked
    if settings.max_grad_norm is not None:
        torch.nn.utils.clip_grad_norm_(state.module.parameters(), settings.max_grad_norm)
    _check_finite(value.item(), state.step, settings)
    state.optimizer.step()
    return value.item()


def _autocast(settings: TrainSettings) -> AbstractContextManager[Any]:
    """Return the context in which the module runs."""
    if settings.autocast is None:
        return nullcontext()
    torch = need("torch", extra="torch")
    device = torch.device(settings.device).type
    context: AbstractContextManager[Any] = torch.autocast(device, getattr(torch, settings.autocast))
    return context


def _to_float32(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor of floating point numbers as float32, any other as it is."""
    return tensor.float() if tensor.is_floating_point() else tensor


def _check_finite(value: float, step: int, settings: TrainSettings) -> None:
    """Raise if the loss has become infinite or not a number."""
    if not math.isfinite(value):
        raise FloatingPointError(
            f"The loss is {value} at step {step}. Lower learning_rate={settings.learning_rate}, set max_grad_norm"
            f"={settings.max_grad_norm} to a smaller number, or look for NaN in the batches."
        )
