"""One head of `MultiTask`: chosen by its labels, fitted to the rows that have one, scored on them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn import get_config
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import has_fit_parameter

from skltransfer.errors import InputWarning, warn
from skltransfer.heads._rows import take
from skltransfer.heads._targets import Column

#: Fewest integers that may be numbers rather than classes: of a few labels, half differ by chance.
MIN_NUMBERS = 20


def listed(names: Iterable[Any]) -> str:
    """Return names for a message; ten are enough."""
    names = list(names)
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return ", ".join(map(repr, names[:10])) + more


def choose(head: Any, labels: npt.NDArray[Any], name: Any) -> Any:
    """Return an unfitted copy of a head; ``"auto"`` is chosen by the labels, as `compare_backbones` chooses its probe.

    Parameters
    ----------
    head : estimator or "auto"
        The head as it was passed.
    labels : ndarray of shape (n_labeled,)
        Labels of the task.
    name : object
        Name of the task, for messages.
    """
    if isinstance(head, str):
        if head != "auto":
            raise ValueError(f"The head of task {name!r} is {head!r}; pass an estimator, or 'auto'.")
        learner = RidgeCV(np.logspace(0, 6, 13)) if are_numbers(labels) else LogisticRegression(C=0.01, max_iter=1000)
        return make_pipeline(*(_wanting_weights(step) for step in (StandardScaler(), learner)))
    if not hasattr(head, "fit") or isinstance(head, type):
        raise TypeError(f"The head of task {name!r} is {head!r}; pass an estimator, or 'auto'.")
    return clone(head)


def _wanting_weights(step: Any) -> Any:
    """Return a step that gets weights where metadata are routed; where they are not, it need not ask."""
    return step.set_fit_request(sample_weight=True) if get_config()["enable_metadata_routing"] else step


def are_numbers(labels: npt.NDArray[Any]) -> bool:
    """Return whether labels are numbers to predict, not classes."""
    if labels.dtype.kind not in "iuf" or not len(labels):
        return False
    if labels.dtype.kind == "f" and (labels != np.round(labels)).any():
        return True
    return len(labels) >= MIN_NUMBERS and len(np.unique(labels)) > len(labels) / 2


def fitted(name: Any, head: Any, rows: Any, column: Column, weight: Any) -> Any:
    """Fit a head to the rows that have a label; None without any, a constant where there is one class.

    Parameters
    ----------
    name : object
        Name of the task.
    head : estimator
        Unfitted; it is fitted itself.
    rows : array-like of shape (n_samples, n_features)
        All rows.
    column : Column
        Labels of the task.
    weight : array-like of shape (n_samples,) or None
        Weights of all rows.
    """
    if not len(column.labels):
        warn(f"Task {name!r} has no label here and is left out. Use TaskStratifiedKFold, or fewer folds.", InputWarning)
        return None
    chosen = take(rows, column.labeled)
    if is_classifier(head) and bool((column.labels == column.labels[0]).all()):
        warn(
            f"Task {name!r} has one class here, {column.labels.tolist()[0]!r}: it is predicted for every row.",
            InputWarning,
        )
        return DummyClassifier().fit(chosen, column.labels)
    weights = {} if weight is None else dict.fromkeys(_weight_names(name, head), take(weight, column.labeled))
    try:
        return head.fit(chosen, column.labels, **weights)
    except Exception as err:
        err.add_note(f"This is the head of task {name!r}, which has {len(column.labels)} labels.")
        raise


def _weight_names(name: Any, head: Any) -> list[str]:
    """Return what the head calls the weights; refuse where it has none. Every step of a pipeline that can gets them."""
    steps = getattr(head, "steps", None) or [("", head)]
    if not has_fit_parameter(steps[-1][1], "sample_weight"):
        raise TypeError(
            f"The head of task {name!r}, {head!r}, takes no sample_weight. Pass a dict of weights by task, without it."
        )
    if steps[-1][1] is head or get_config()["enable_metadata_routing"]:
        return ["sample_weight"]
    able = [step for step, part in steps if hasattr(part, "fit") and has_fit_parameter(part, "sample_weight")]
    return [f"{step}__sample_weight" for step in able]


def score_of(head: Any, rows: Any, column: Column, weight: Any) -> float | None:
    """Return the score of a fitted head on the rows that have a label, or None if there is no such figure."""
    if head is None or len(column.labels) < (2 if is_regressor(head) else 1):
        return None
    weights = {} if weight is None else {"sample_weight": take(weight, column.labeled)}
    score = float(head.score(take(rows, column.labeled), column.labels, **weights))
    return None if np.isnan(score) else score


def unknown(head: Any, n_rows: int) -> npt.NDArray[Any]:
    """Return predictions of a task that had no label: NaN for numbers, else None."""
    return np.full(n_rows, np.nan) if is_regressor(head) else np.full(n_rows, None, object)
