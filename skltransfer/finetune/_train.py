"""Training of a tail: the start, the batches, the weights that come out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from skltransfer._engine import graph, training
from skltransfer.errors import need
from skltransfer.finetune import _adapters, _interpreter
from skltransfer.finetune._objectives import CLASSES, Goal
from skltransfer.finetune._trunk import Activations

if TYPE_CHECKING:
    import torch

#: Samples whose rows are computed at once at the start.
AT_ONCE = 256


@dataclass(frozen=True)
class Settings:
    """Choices of a training.

    Parameters
    ----------
    epochs, batch_size, learning_rate, weight_decay, mixup, average, adapter, threads, seed, device
        As in `FineTunedEmbedder`.
    head_rate : float
        How much faster the head learns than the tail.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    mixup: float
    average: float
    adapter: str | None
    threads: int
    seed: int
    device: str
    head_rate: float = 1.0


def trained(
    parts: graph.Parts,
    tail: graph.Tail,
    held: Activations,
    goal: Goal,
    settings: Settings,
    on_epoch: Callable[[int], object],
) -> dict[str, npt.NDArray[np.float32]]:
    """Train a tail.

    Parameters
    ----------
    parts, tail
        The graph, and what is trained of it.
    held : Activations
        Of the samples.
    goal : Goal
        What for.
    settings : Settings
        How.
    on_epoch : callable
        Called with the number of epochs done.

    Returns
    -------
    dict of str to ndarray
        The weights by the names of their initializers, or the factors of their changes, see `_adapters`.
    """
    torch = need("torch", extra="torch")
    before, threads = torch.random.get_rng_state(), torch.get_num_threads()
    torch.set_num_threads(settings.threads)
    try:
        torch.manual_seed(settings.seed)
        return _trained(parts, tail, held, goal, settings, on_epoch)
    finally:
        torch.set_num_threads(threads)
        torch.random.set_rng_state(before)


def _trained(
    parts: graph.Parts, tail: graph.Tail, held: Activations, goal: Goal, settings: Settings, on_epoch: Any
) -> dict[str, npt.NDArray[np.float32]]:
    body = _interpreter.module(parts, tail)
    model = _model(body, _first_heads(body, held, goal), goal, settings)
    start = {name: value.detach().clone() for name, value in model.tuned().items()}
    order = _Order(held, goal, settings)
    rate = settings.learning_rate * (_adapters.RATE if settings.adapter == "lora" else 1.0)
    chosen = training.TrainSettings(
        steps=settings.epochs * order.steps,
        learning_rate=rate,
        weight_decay=settings.weight_decay,
        factors={"heads.": settings.head_rate} if len(model.heads) else {},
        threads=settings.threads,
        seed=settings.seed,
        device=settings.device,
    )

    def loss(outputs: list[Any], mixed: Any) -> Any:
        rows, others, share = mixed
        return share * goal.loss(outputs, rows) + (1 - share) * goal.loss(outputs, others)

    def count(report: training.StepReport) -> None:
        if report.step % order.steps == 0:
            on_epoch(report.step // order.steps)

    training.train(model, order.batch, loss, chosen, on_step=count)
    # Of a product of factors it is the right one, zero at the start, that lies between.
    return {
        name: _between(start[name], value.detach().cpu(), 0.0 if name.endswith(_adapters.LEFT) else settings.average)
        for name, value in model.tuned().items()
    }


def _between(first: torch.Tensor, last: torch.Tensor, average: float) -> npt.NDArray[np.float32]:
    """Return weights between those of the start and the end [1]_.

    References
    ----------
    .. [1] Wortsman et al., "Robust Fine-Tuning of Zero-Shot Models", CVPR 2022.
    """
    return np.asarray((average * first + (1 - average) * last).numpy(), np.float32)


def _first_heads(body: Any, held: Activations, goal: Goal) -> list[tuple[Any, Any]]:
    """Fit the heads on the rows of the tail as it is: a random head would undo what the backbone knows [1]_.

    References
    ----------
    .. [1] Kumar et al., "Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution", ICLR 2022.
    """
    if goal.contrast:
        return []
    torch = need("torch", extra="torch")
    rows, order = [], np.argsort(held.lengths(), kind="stable")
    with torch.no_grad():
        for view in range(len(held.views)):
            found: list[Any] = [None] * len(held)
            for at in range(0, len(order), AT_ONCE):
                some = order[at : at + AT_ONCE]
                made = _rows(body, held.batch(some, [view] * len(some))).numpy()
                for row, place in zip(made, some, strict=True):
                    found[place] = row
            rows += found
    return goal.first_heads(np.stack(rows), len(held.views))


def _rows(body: Any, pieces: list[dict[str, Any]], changed: Mapping[str, Any] = MappingProxyType({})) -> Any:
    """Return the rows of a batch, which is in pieces, one below the other."""
    made = [body({**piece, **changed}).flatten(1) for piece in pieces]
    return need("torch", extra="torch").cat(made)


def _model(body: Any, heads: list[tuple[Any, Any]], goal: Goal, settings: Settings) -> Any:
    """Return the module that is trained: tail, scaler, heads; where it is asked for, factors in place of matrices."""
    torch = need("torch", extra="torch")
    mean, spread = (torch.tensor(value, dtype=torch.float32) for value in goal.scale)

    class Model(torch.nn.Module):  # type: ignore[misc,name-defined,unused-ignore]  # torch may be absent
        def __init__(self) -> None:
            super().__init__()
            self.body = body
            self.heads = torch.nn.ModuleList(_linear(*head) for head in heads)
            self.register_buffer("mean", mean)
            self.register_buffer("spread", spread)
            thin: dict[str, Any] = {}
            if settings.adapter == "lora":
                body.requires_grad_(False)
                thin = _adapters.factors(body.names, body.weights)
            self.thin, self.factors = list(thin), torch.nn.ParameterList(thin.values())

        def tuned(self) -> dict[str, Any]:
            """Return what is trained of the tail, by name."""
            return dict(zip(self.thin, self.factors, strict=True)) or self.whole()

        def whole(self) -> dict[str, Any]:
            """Return the weights of the tail, by name."""
            return dict(zip(self.body.names, self.body.weights, strict=True))

        def forward(self, given: Any) -> list[Any]:
            rows = _rows(self.body, given, _adapters.added(self.whole(), self.tuned()))
            if goal.contrast:
                return [rows]
            scaled = (rows - self.mean) / self.spread
            return [head(scaled) for head in self.heads]

    return Model()


def _linear(coefficients: npt.NDArray[Any], intercepts: npt.NDArray[Any]) -> Any:
    torch = need("torch", extra="torch")
    layer = torch.nn.Linear(coefficients.shape[1], coefficients.shape[0])
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(coefficients))
        layer.bias.copy_(torch.tensor(intercepts))
    return layer


class _Order:
    """Batches of a training: a function of the step and the seed."""

    def __init__(self, held: Activations, goal: Goal, settings: Settings) -> None:
        self._held, self._goal, self._settings = held, goal, settings
        self._lengths = held.lengths()
        self.size = min(settings.batch_size, len(held))
        self.steps = training.steps_per_epoch(len(held), self.size)

    def batch(self, step: int) -> tuple[Any, Any]:
        """Return activations, and the samples and shares of their loss."""
        dice = np.random.default_rng((self._settings.seed, step))
        rows = self._of_classes(dice) if self._goal.contrast else self._of_epoch(step)
        if self._held.ragged:  # the pieces of the batch are of similar lengths then
            rows = rows[np.argsort(self._lengths[rows], kind="stable")]
        given = self._held.batch(rows, dice.integers(0, len(self._held.views), len(rows)))
        share, others = 1.0, rows
        if self._settings.mixup and not self._held.ragged and not self._goal.contrast:
            share = float(dice.beta(self._settings.mixup, self._settings.mixup))
            order = dice.permutation(len(rows))
            maps = given[0][self._held.cut]
            given[0][self._held.cut] = share * maps + (1 - share) * maps[order]
            others = rows[order]
        return given, (rows, others, share)

    def _of_epoch(self, step: int) -> npt.NDArray[np.int64]:
        """Return samples of a new permutation each epoch."""
        epoch, place = divmod(step, self.steps)
        order = np.random.default_rng((self._settings.seed, epoch, 1)).permutation(len(self._held))
        return order[place * self.size : (place + 1) * self.size]

    def _of_classes(self, dice: np.random.Generator) -> npt.NDArray[np.int64]:
        """Return samples of up to `CLASSES` classes, as many of each."""
        target = self._goal.objectives[0]
        there = [np.flatnonzero(target.present & (target.target == c)) for c in range(len(target.classes))]  # type: ignore[attr-defined]  # contrast has classes
        chosen = dice.permutation(len(there))[:CLASSES]
        each = max(2, self.size // len(chosen))
        rows = [dice.choice(there[c], each, replace=len(there[c]) < each) for c in chosen]
        return np.concatenate(rows)
