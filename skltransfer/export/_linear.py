"""Linear models and multilayer perceptrons as ONNX's own operators, without `ai.onnx.ml`: a row of a table each.

skl2onnx is not asked for them: its label of `SGDClassifier(loss="log_loss")` is that of probabilities that saturate to
ties, which is not what `predict` returns, and its nodes need `ai.onnx.ml`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from skltransfer.export._affine import moved, multiplied
from skltransfer.export._graph import Graph, Rows

#: Below this score, scikit-learn's probability of a class is 0 in double precision.
LOWEST = -745.0


class Found(NamedTuple):
    """Tensors that a head computes; None for what it does not.

    Attributes
    ----------
    label : str or None
        int64 (batch,): index of the class, of the cluster, or 1 and -1.
    probabilities, scores : str or None
        float32 (batch, classes); scores may be (batch,).
    values : str or None
        float32 (batch,) or (batch, targets): what a regressor predicts.
    distances, indices : str or None
        float32 and int64 (batch, n_neighbors): of the nearest rows that were fitted.
    """

    label: str | None = None
    probabilities: str | None = None
    scores: str | None = None
    values: str | None = None
    distances: str | None = None
    indices: str | None = None


Emitter = Callable[[Graph, Any, Rows], Found]


def _classes(graph: Graph, rows: Rows, coef: npt.NDArray[Any], intercept: npt.ArrayLike) -> tuple[str, str]:
    """Add a score per class; return these, and the scores as `decision_function` returns them.

    Of two classes the first has the score 0, so that the greatest score is the label, and softmax the probability.
    """
    weights, shift = np.atleast_2d(coef).T, np.broadcast_to(intercept, len(np.atleast_2d(coef)))
    if weights.shape[1] > 1:
        scores = multiplied(graph, rows, weights, shift).tensor
        return scores, scores
    both = np.concatenate([np.zeros_like(weights), weights], axis=1)
    scores = multiplied(graph, rows, both, np.concatenate([[0], shift])).tensor
    return scores, graph.add("Gather", scores, graph.const(1, np.int64), axis=1)


def label(graph: Graph, scores: str) -> str:
    """Add the index of the greatest score."""
    return graph.add("ArgMax", scores, axis=1, keepdims=0)


def _plain(graph: Graph, head: Any, rows: Rows) -> Found:
    each, scores = _classes(graph, rows, head.coef_, head.intercept_)
    return Found(label(graph, each), scores=scores)


def _softmax(graph: Graph, head: Any, rows: Rows) -> Found:
    each, _ = _classes(graph, rows, head.coef_, head.intercept_)
    return Found(label(graph, each), graph.add("Softmax", each, axis=1))


def _one_against_rest(graph: Graph, head: Any, rows: Rows) -> Found:
    """Add probabilities that are sigmoids of the scores, divided by their sum.

    As the softmax of their logarithms, which float32 does not round to 0.
    """
    each, _ = _classes(graph, rows, head.coef_, head.intercept_)
    index = label(graph, each)
    if len(np.atleast_2d(head.coef_)) > 1:
        logs = graph.add("Neg", graph.add("Softplus", graph.add("Neg", each)))
        each = graph.add("Max", logs, graph.const(np.float32(LOWEST)))
    return Found(index, graph.add("Softmax", each, axis=1))


def _discriminant(graph: Graph, head: Any, rows: Rows) -> Found:
    """Add scores around the mean of all rows: with it, large coefficients would cost half of the digits of float32."""
    mean = head.priors_ @ head.means_
    coef = np.atleast_2d(head.coef_)
    if len(coef) > 1:  # what is the same for all classes does not count
        coef = coef - coef.mean(axis=0)
    centered = moved(graph, rows, mean, None)
    shift = np.atleast_2d(head.coef_) @ mean + head.intercept_
    each, _ = _classes(graph, centered, coef, shift if len(coef) == 1 else shift - shift.mean())
    return Found(label(graph, each), graph.add("Softmax", each, axis=1))


def _logistic(graph: Graph, head: Any, rows: Rows) -> Found:
    emit = _one_against_rest if getattr(head, "solver", "") == "liblinear" else _softmax
    return emit(graph, head, rows)


def _sgd(graph: Graph, head: Any, rows: Rows) -> Found | None:
    losses = {"log_loss": _one_against_rest, "modified_huber": None}
    emit = losses.get(head.loss, _plain)
    return None if emit is None else emit(graph, head, rows)


def _centroids(graph: Graph, head: Any, rows: Rows) -> Found | None:
    """Add the nearest center: of squared distances, the part that differs between centers is linear."""
    if head.metric != "euclidean":
        return None
    centers = head.centroids_.astype(np.float64)
    scores = multiplied(graph, rows, 2 * centers.T, -(centers**2).sum(axis=1))
    return Found(label(graph, scores.tensor))


def _regressor(graph: Graph, head: Any, rows: Rows) -> Found:
    weights = np.atleast_2d(head.coef_)
    values = multiplied(graph, rows, weights.T, np.broadcast_to(head.intercept_, len(weights))).tensor
    return Found(values=values if np.ndim(head.coef_) > 1 else flat(graph, values))


def flat(graph: Graph, tensor: str) -> str:
    """Add a change of shape from (batch, 1) to (batch,)."""
    return graph.add("Reshape", tensor, graph.const([-1], np.int64))


#: Operators of an MLP's activations.
ACTIVATIONS = {"identity": "Identity", "logistic": "Sigmoid", "relu": "Relu", "tanh": "Tanh"}


def _layers(graph: Graph, head: Any, rows: Rows) -> Rows:
    last = len(head.coefs_) - 1
    for i, (weights, shift) in enumerate(zip(head.coefs_, head.intercepts_, strict=True)):
        rows = multiplied(graph, rows, weights, shift)
        if i < last:
            rows = Rows(graph.add(ACTIVATIONS[head.activation], rows.tensor), rows.width)
    return rows


def _mlp_classifier(graph: Graph, head: Any, rows: Rows) -> Found | None:
    if head.out_activation_ == "logistic" and head.n_outputs_ > 1:  # several labels at once
        return None
    each = _layers(graph, head, rows).tensor
    if head.n_outputs_ == 1:
        each = graph.add("Concat", graph.add("Sub", each, each), each, axis=1)
    return Found(label(graph, each), graph.add("Softmax", each, axis=1))


def _mlp_regressor(graph: Graph, head: Any, rows: Rows) -> Found:
    each = _layers(graph, head, rows)
    return Found(values=each.tensor if each.width > 1 else flat(graph, each.tensor))


#: Emitters by the name of the class; one that returns None leaves the head to skl2onnx.
HEADS: dict[str, Callable[[Graph, Any, Rows], Found | None]] = {
    **dict.fromkeys(("LinearSVC", "PassiveAggressiveClassifier", "Perceptron", "RidgeClassifier"), _plain),
    **dict.fromkeys(
        (
            "ARDRegression",
            "BayesianRidge",
            "ElasticNet",
            "ElasticNetCV",
            "HuberRegressor",
            "Lasso",
            "LassoCV",
            "LinearRegression",
            "LinearSVR",
            "Ridge",
            "RidgeCV",
            "SGDRegressor",
            "TheilSenRegressor",
        ),
        _regressor,
    ),
    "LinearDiscriminantAnalysis": _discriminant,
    "LogisticRegression": _logistic,
    "LogisticRegressionCV": _logistic,
    "MLPClassifier": _mlp_classifier,
    "MLPRegressor": _mlp_regressor,
    "NearestCentroid": _centroids,
    "RidgeClassifierCV": _plain,
    "SGDClassifier": _sgd,
}
