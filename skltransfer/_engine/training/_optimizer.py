"""AdamW with weight decay where it belongs, and the moving average of the weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from skltransfer._engine.training._schedule import learning_rate
from skltransfer._engine.training._settings import TrainSettings
from skltransfer.errors import nearest, need

if TYPE_CHECKING:
    import torch
    from torch.optim import Optimizer


def parameter_groups(
    module: torch.nn.Module, weight_decay: float, factors: Mapping[str, float] | None = None
) -> list[dict[str, Any]]:
    """Return the trainable parameters of a module, grouped for an optimizer.

    Parameters
    ----------
    module : torch.nn.Module
        Parameters that require no gradient are left out.
    weight_decay : float
        Of parameters with two axes or more, that is matrices and kernels; that of the others is zero.
    factors : mapping of str to float, optional
        See `TrainSettings`.

    Returns
    -------
    list of dict
        Each with ``params``, ``weight_decay`` and ``factor``; no group is empty.

    Raises
    ------
    ValueError
        If nothing can be trained, or no parameter has one of the prefixes.
    """
    trainable = {name: one for name, one in module.named_parameters() if one.requires_grad}
    if not trainable:
        raise ValueError(f"{type(module).__name__} has no parameter that requires a gradient: nothing can be trained.")
    _check_prefixes(factors or {}, trainable)
    groups: dict[tuple[float, bool], list[Any]] = {}
    for name, one in trainable.items():
        groups.setdefault((_factor(name, factors or {}), one.ndim > 1), []).append(one)
    # Sorted, so that a checkpoint finds the groups in the same order: by factor, matrices first.
    order = sorted(groups, key=lambda kind: (kind[0], not kind[1]))
    return [
        {"params": groups[factor, decays], "weight_decay": weight_decay if decays else 0.0, "factor": factor}
        for factor, decays in order
    ]


def _check_prefixes(prefixes: Iterable[str], names: Iterable[str]) -> None:
    """Raise for a prefix that no parameter's name has."""
    for prefix in prefixes:
        if not any(name.startswith(prefix) for name in names):
            raise ValueError(f"No trainable parameter has a name that starts with {prefix!r}.{nearest(prefix, names)}")


def _factor(name: str, factors: Mapping[str, float]) -> float:
    """Return the factor of the longest prefix of a name, or 1."""
    fitting = [prefix for prefix in factors if name.startswith(prefix)]
    return factors[max(fitting, key=len)] if fitting else 1.0


def build_optimizer(module: torch.nn.Module, settings: TrainSettings) -> Optimizer:
    """Return AdamW on the groups of a module; `set_learning_rate` sets its rate before each step."""
    torch = need("torch", extra="torch")
    groups = parameter_groups(module, settings.weight_decay, settings.factors)
    optimizer: Optimizer = torch.optim.AdamW(groups, lr=0.0, betas=settings.betas)
    return optimizer


def set_learning_rate(optimizer: Optimizer, progress: float, settings: TrainSettings) -> float:
    """Set the rate of every group, and return it for a factor of 1."""
    rate = learning_rate(progress, settings.learning_rate, settings.warmup)
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]
    return rate


def update_average(average: torch.nn.Module, module: torch.nn.Module, step: int, decay: float) -> None:
    """Move averaged weights and statistics towards the current ones.

    Parameters
    ----------
    average, module : torch.nn.Module
        Of the same architecture. Tensors of integers, such as counters, are not averaged.
    step : int
        From 0. The first steps move the average faster, or it would keep the random weights for long.
    decay : float
        Share of the average that stays, after the first steps.
    """
    torch = need("torch", extra="torch")
    rate = 1 - min(decay, (1 + step) / (10 + step))
    with torch.no_grad():
        for kept, current in zip(average.state_dict().values(), module.state_dict().values(), strict=True):
            if kept.is_floating_point():
                kept.lerp_(current, rate)
