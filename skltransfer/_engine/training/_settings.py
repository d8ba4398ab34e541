"""Every choice of a training run that changes its result, as one frozen record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class TrainSettings:
    """Choices of a training run.

    Parameters
    ----------
    steps : int
        Length of the run, one batch per step. The schedule of the learning rate needs it in advance. Ignored by
        `train` if it is called with a clock of its own.
    learning_rate : float
        Peak of the schedule. Lower it for a strong pretrained module and few samples.
    weight_decay : float
        Of AdamW, on parameters with two axes or more; biases and scales of normalization do not decay.
    warmup : float
        Share of the run, from 0 to below 1, in which the learning rate rises.
    betas : tuple of float
        Of AdamW. A smaller second value (0.98) follows quickly changing gradients, at the cost of noisier steps.
    factors : mapping of str to float
        Factor of the learning rate for parameters whose name starts with a prefix; the longest prefix that fits
        counts. ``{"head.": 10}`` trains a new head faster than what lies below it.
    max_grad_norm : float or None
        Largest norm of all gradients together; larger ones are scaled down to it. None leaves them.
    average : float or None
        Decay of a moving average of the weights, such as 0.999. It often generalizes better than the last weights
        and costs a second copy of the module. None keeps none.
    autocast : str or None
        ``"bfloat16"`` runs the module in that dtype; weights and loss stay float32. Faster on processors with such
        units, less precise. float16 is not offered: its gradients need to be scaled.
    device : str
        Where torch computes.
    threads : int or None
        Threads of torch during the run. Another number gives other last digits of the weights. None leaves the
        number as it is.
    seed : int
        Seed of torch's random numbers: those of step n depend on the seed and n only.

    Raises
    ------
    ValueError
        If values are out of range; all of them are listed.
    """

    steps: int = 1000
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup: float = 0.1
    betas: tuple[float, float] = (0.9, 0.999)
    factors: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    max_grad_norm: float | None = None
    average: float | None = None
    autocast: str | None = None
    device: str = "cpu"
    threads: int | None = 1
    seed: int = 0

    def __post_init__(self) -> None:
        wrong = [
            f"{name}={getattr(self, name)!r} must be {words}"
            for name, (holds, words) in CONSTRAINTS.items()
            if not holds(getattr(self, name))
        ]
        if wrong:
            raise ValueError(f"{'; '.join(wrong)}.")


#: What each setting must be: a test and its words.
CONSTRAINTS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "steps": (lambda value: value >= 1, "at least 1"),
    "learning_rate": (lambda value: value > 0, "above 0"),
    "weight_decay": (lambda value: value >= 0, "at least 0"),
    "warmup": (lambda value: 0 <= value < 1, "at least 0 and below 1"),
    "betas": (lambda value: all(0 <= beta < 1 for beta in value), "two numbers, at least 0 and below 1"),
    "factors": (lambda value: all(factor >= 0 for factor in value.values()), "a mapping to numbers of at least 0"),
    "max_grad_norm": (lambda value: value is None or value > 0, "above 0, or None"),
    "average": (lambda value: value is None or 0 < value < 1, "between 0 and 1, or None"),
    "autocast": (lambda value: value in (None, "bfloat16"), "'bfloat16' or None"),
    "threads": (lambda value: value is None or value >= 1, "at least 1, or None"),
    "seed": (lambda value: value >= 0, "at least 0"),
}
