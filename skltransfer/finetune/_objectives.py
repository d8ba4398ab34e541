"""Objectives of a training: a row of `OBJECTIVES` for each kind of y.

An objective turns y into a tensor, begins a head where a linear model on the rows as they are would be, and computes a
loss for each sample, so that weights and missing labels are one product.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import type_of_target

from skltransfer._engine.labels import missing_mask, settled
from skltransfer.errors import TuningError, need

if TYPE_CHECKING:
    import torch

Rows = npt.NDArray[np.float32]
#: Temperature of the supervised contrast, and classes in a batch, of which each has two samples at least.
TEMPERATURE, CLASSES = 0.1, 16
#: Texts up to which ``"auto"`` contrasts: from about thirty a class on, a head learns as much in half the time.
FEW_TEXTS = 1_500
#: Inverse strength of the penalty of a first head on standardized rows.
C = 0.01


class Objective:
    """One target.

    Parameters
    ----------
    y : ndarray of shape (n_samples,) or (n_samples, n_labels)
        The target; missing values are None or NaN.
    weights : ndarray of shape (n_samples,), float
        Of the samples.

    Attributes
    ----------
    present : ndarray of shape (n_samples,), bool
        Whether a sample has a label.
    """

    name: ClassVar[str]

    def __init__(self, y: npt.NDArray[Any], weights: npt.NDArray[np.float64]) -> None:
        self.present = ~_gaps(y)
        if not self.present.any():
            raise TuningError("y has no label; give one at least, or None where it is not known.")
        self.weights = np.where(self.present, weights, 0.0).astype(np.float32)
        self.target = self.encoded(y)

    @property
    def width(self) -> int:
        """Number of columns of the head; 0: there is none."""
        return 1

    def encoded(self, y: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return numbers; those of missing labels are not looked at."""
        raise NotImplementedError

    def first_head(self, rows: Rows, views: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Fit a linear model on standardized rows (views * n, d); return coefficients (width, d) and intercepts."""
        raise NotImplementedError

    def losses(self, outputs: torch.Tensor, target: torch.Tensor) -> Any:
        """Return the loss of each sample of a batch."""
        raise NotImplementedError

    def _known(self, rows: Rows, views: int) -> tuple[Rows, npt.NDArray[Any], npt.NDArray[Any]]:
        """Return rows, targets and weights of samples with labels, for each view."""
        there, target = np.tile(self.present, views), np.concatenate([self.target] * views)
        return rows[there], target[there], np.tile(self.weights, views)[there]


class Classes(Objective):
    """Cross-entropy."""

    name = "classes"

    def encoded(self, y: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the index of each class."""
        self.classes, codes = np.unique(y[self.present], return_inverse=True)
        if len(self.classes) < 2:
            raise TuningError(f"y has one class, {self.classes[0]!r:.80}; two at least are needed.")
        target = np.zeros(len(y), np.int64)
        target[self.present] = codes
        return target

    @property
    def width(self) -> int:
        """Number of classes."""
        return len(self.classes)

    def first_head(self, rows: Rows, views: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Fit logistic regression."""
        rows, target, weights = self._known(rows, views)
        model = LogisticRegression(C=C / views, max_iter=300, tol=1e-3).fit(rows, target, weights)
        if self.width == 2:  # scikit-learn keeps one row for two classes
            return np.vstack([-model.coef_, model.coef_]) / 2, np.concatenate([-model.intercept_, model.intercept_]) / 2
        return model.coef_, model.intercept_

    def losses(self, outputs: torch.Tensor, target: torch.Tensor) -> Any:
        """Return the cross-entropy of each sample."""
        return need("torch", extra="torch").nn.functional.cross_entropy(outputs, target, reduction="none")


class Numbers(Objective):
    """Squared error of standardized numbers."""

    name = "numbers"

    def encoded(self, y: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return numbers of mean 0 and standard deviation 1."""
        values = np.array(y, np.float64)
        mean, spread = values[self.present].mean(), values[self.present].std()
        return np.asarray(np.nan_to_num((values - mean) / (spread or 1.0)), np.float32)

    def first_head(self, rows: Rows, views: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Fit ridge regression."""
        rows, target, weights = self._known(rows, views)
        model = Ridge(alpha=views / C).fit(rows, target, weights)
        return model.coef_[np.newaxis], np.array([model.intercept_])

    def losses(self, outputs: torch.Tensor, target: torch.Tensor) -> Any:
        """Return the squared error of each sample."""
        return (outputs[:, 0] - target).square()


class Labels(Objective):
    """Binary cross-entropy, for samples that have any number of labels."""

    name = "labels"

    def encoded(self, y: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the indicators."""
        return np.asarray(y, np.float32)

    @property
    def width(self) -> int:
        """Number of labels."""
        return int(self.target.shape[1])

    def first_head(self, rows: Rows, views: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Fit ridge regression on +1 and -1."""
        rows, target, weights = self._known(rows, views)
        model = Ridge(alpha=views / C).fit(rows, 2 * target - 1, weights)
        return np.asarray(model.coef_), np.asarray(model.intercept_)

    def losses(self, outputs: torch.Tensor, target: torch.Tensor) -> Any:
        """Return the mean of each sample's losses."""
        functional = need("torch", extra="torch").nn.functional
        return functional.binary_cross_entropy_with_logits(outputs, target, reduction="none").mean(1)


class Contrast(Classes):
    """Samples of one class come together, those of others move apart; there is no head.

    References
    ----------
    .. [1] Khosla et al., "Supervised Contrastive Learning", NeurIPS 2020.
    .. [2] Tunstall et al., "Efficient Few-Shot Learning Without Prompts", 2022, for few texts.
    """

    name = "contrast"

    @property
    def width(self) -> int:
        """Return 0."""
        return 0

    def losses(self, outputs: torch.Tensor, target: torch.Tensor) -> Any:
        """Return the loss of each sample against all others of the batch."""
        torch = need("torch", extra="torch")
        rows = torch.nn.functional.normalize(outputs, dim=1)
        others = ~torch.eye(len(rows), dtype=torch.bool, device=rows.device)
        same = (target[:, None] == target[None]) & others
        scores = (rows @ rows.T / TEMPERATURE).masked_fill(~others, float("-inf"))
        logs = scores - scores.logsumexp(1, keepdim=True)
        return -logs.masked_fill(~same, 0).sum(1) / same.sum(1).clamp(min=1)


OBJECTIVES: dict[str, type[Objective]] = {row.name: row for row in (Classes, Numbers, Labels, Contrast)}


@dataclass
class Goal:
    """All that a tail is trained for: objectives whose losses are added, each over the samples it has labels for.

    Parameters
    ----------
    objectives : list of Objective
        One for each target.
    scalers : StandardScaler
        Of the rows as they are at the start.
    """

    objectives: list[Objective]
    scale: tuple[npt.NDArray[Any], npt.NDArray[Any]] = field(default_factory=lambda: (np.zeros(0), np.ones(0)))

    @property
    def contrast(self) -> bool:
        """Whether batches are of so many samples of so many classes."""
        return isinstance(self.objectives[0], Contrast)

    def first_heads(self, rows: Rows, views: int) -> list[tuple[npt.NDArray[Any], npt.NDArray[Any]]]:
        """Standardize rows and fit the first head of every objective."""
        scaler = StandardScaler().fit(rows)
        assert scaler.mean_ is not None
        assert scaler.scale_ is not None
        self.scale = scaler.mean_, scaler.scale_
        scaled = scaler.transform(rows).astype(np.float32)
        return [one.first_head(scaled, views) for one in self.objectives if one.width]

    def loss(self, outputs: list[torch.Tensor], rows: npt.NDArray[np.int64]) -> Any:
        """Return the mean loss of some samples, summed over objectives."""
        torch = need("torch", extra="torch")
        total = torch.zeros(())
        for one, output in zip(self.objectives, outputs, strict=True):
            weights = torch.from_numpy(one.weights[rows]).to(output.device)
            target = torch.from_numpy(one.target[rows]).to(output.device)
            loss = (one.losses(output, target) * weights).sum() / weights.sum().clamp(min=1e-9)
            total = total.to(output.device) + loss
        return total


def goal(y: Any, objective: str, weights: npt.NDArray[np.float64], class_weight: Any, *, texts: bool) -> Goal:
    """Return what a tail is trained for.

    Parameters
    ----------
    y : array-like, frame or mapping
        The target; columns of a frame or of a mapping are targets of their own.
    objective : str
        ``"auto"`` or one of `OBJECTIVES`.
    weights : ndarray of shape (n_samples,)
        Of the samples.
    class_weight : mapping, "balanced" or None
        As in scikit-learn.
    texts : bool
        Whether samples are texts, of which few are contrasted.

    Raises
    ------
    TuningError
        If y is none of these, or not for the objective.
    ValueError
        If y is of another number of samples.
    """
    columns = _columns(y)
    for column in columns:
        if len(column) != len(weights):
            raise ValueError(f"X has {len(weights)} samples, and y has {len(column)}.")
    if objective != "auto" and len(columns) > 1:
        raise TuningError(f"objective={objective!r} is for one target, and y has {len(columns)}; pass 'auto'.")
    objectives = []
    for column in columns:
        kind = _kind(column) if objective == "auto" else objective
        if objective == "auto" and kind == "classes" and texts and len(columns) == 1 and len(column) <= FEW_TEXTS:
            kind = "contrast"
        factor = np.ones(len(column))
        if class_weight is not None and kind in ("classes", "contrast"):
            there = ~_gaps(column)
            factor[there] = compute_sample_weight(class_weight, column[there])
        objectives.append(OBJECTIVES[kind](column, weights * factor))
    return Goal(objectives)


def _columns(y: Any) -> list[npt.NDArray[Any]]:
    """Return the targets of y as arrays."""
    if isinstance(y, Mapping):
        return [_values(column) for column in y.values()]
    if hasattr(y, "columns"):
        return [_values(y[name]) for name in y.columns]
    return [_values(y)]


def _values(column: Any) -> npt.NDArray[Any]:
    values = column.to_numpy() if hasattr(column, "to_numpy") else np.asarray(column)
    return values if values.ndim < 2 or values.shape[1] > 1 else values[:, 0]


def _gaps(y: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Return which samples have no label, or lack one of several."""
    mask = missing_mask(y)
    return np.asarray(mask if mask.ndim == 1 else mask.any(axis=1))


def _kind(y: npt.NDArray[Any]) -> str:
    """Return the objective that suits a target."""
    there = settled(y[~_gaps(y)])
    there = np.array(there.tolist()) if there.dtype == object else there
    kind = type_of_target(there) if len(there) else "binary"
    if y.dtype.kind == "f" and kind in ("binary", "multiclass") and np.isnan(y).any():
        return "classes"
    kinds: dict[str, str] = {
        **dict.fromkeys(("binary", "multiclass"), "classes"),
        **{"continuous": "numbers", "multilabel-indicator": "labels"},
    }
    if kind not in kinds:
        raise TuningError(
            f"y is {kind!r} to scikit-learn; give classes, numbers, a matrix of 0 and 1, or a frame of several targets."
        )
    return kinds[kind]
