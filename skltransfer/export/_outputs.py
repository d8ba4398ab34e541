"""Outputs of the file, and what the pipeline returns for each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from skltransfer.errors import ExportError
from skltransfer.export._convert import SCORES
from skltransfer.export._graph import Graph, Rows
from skltransfer.export._inputs import named
from skltransfer.export._walk import Head

#: Methods of a pipeline that return what the tensors of a head hold.
METHODS = {
    "label": "predict",
    "values": "predict",
    "probabilities": "predict_proba",
    "scores": "decision_function",
    "features": "transform",
    "distances": "kneighbors",
    "indices": "kneighbors",
}
#: Types of tensors that are not float32.
DTYPES = {"label": "int64", "indices": "int64"}


class Output(NamedTuple):
    """An output of the file.

    Attributes
    ----------
    name : str
        In the graph.
    kind : str
        One of `METHODS`.
    dtype : str
        NumPy's name of its type; ``"str"`` for strings.
    head : Head or None
        What computes it; None for rows that no head takes.
    """

    name: str
    kind: str
    dtype: str
    head: Head | None = None

    @property
    def task(self) -> Any:
        """Name of the task; None if there is one head."""
        return None if self.head is None else self.head.task

    @property
    def classes(self) -> npt.NDArray[Any] | None:
        """Labels of a classifier, in the order of its probabilities."""
        return None if self.head is None else getattr(self.head.estimator, "classes_", None)

    @property
    def method(self) -> str:
        """Method of the pipeline that returns the same."""
        own = SCORES.get(type(self.head.estimator).__name__) if self.head and self.kind == "scores" else None
        return own or METHODS[self.kind]


class Reference:
    """Results of a pipeline for samples, method by method.

    Parameters
    ----------
    pipeline : estimator
        Fitted.
    X : object
        Samples.
    """

    def __init__(self, pipeline: Any, X: Any) -> None:
        self.pipeline, self.X = pipeline, X
        self._found: dict[str, Any] = {}

    def has(self, method: str) -> bool:
        """Return whether the pipeline has a method."""
        return hasattr(self.pipeline, method)

    def __call__(self, output: Output, method: str = "") -> npt.NDArray[Any]:
        """Return what a method, by default that of the output, returns for its task."""
        method = method or output.method
        if method not in self._found:
            self._found[method] = self._call(method)
        found = self._found[method]
        if method == "kneighbors":
            return np.asarray(found[0 if output.kind == "distances" else 1])
        return np.asarray(found if output.task is None else _of_task(found, output.task))

    def _call(self, method: str) -> Any:
        """Call a method; pipelines of scikit-learn hand on all but `kneighbors`."""
        if method == "kneighbors" and not self.has(method):
            return self.pipeline[-1].kneighbors(self.pipeline[:-1].transform(self.X))
        return getattr(self.pipeline, method)(self.X)


def add(graph: Graph, heads: list[Head], labels: str, reference: Reference) -> list[Output]:
    """Name the tensors of heads as outputs, in the shapes of the pipeline's.

    Labels are indices of classes or, with ``labels="string"``, their names.
    """
    outputs: list[Output] = []
    taken = [value.name for value in graph.inputs]
    for head in heads:
        for kind, tensor in head.found._asdict().items():
            if tensor is None:
                continue
            name = named(_name(head.task, kind), [*taken, *(one.name for one in outputs)])
            output = Output(name, kind, DTYPES.get(kind, "float32"), head)
            if kind == "label" and labels == "string" and output.classes is not None:
                words = graph.const(np.array([str(one) for one in output.classes], object))
                tensor, output = graph.add("Gather", words, tensor, axis=0), output._replace(dtype="str")
            graph.output(name, tensor, output.dtype, reference(output).shape[1:])
            outputs.append(output)
    return outputs


def add_features(graph: Graph, rows: Rows) -> list[Output]:
    """Name rows that no head takes as the only output."""
    graph.output("features", rows.tensor, "float32", [rows.width])
    return [Output("features", "features", "float32")]


def _name(task: Any, kind: str) -> str:
    """Return the name of an output: that of its task alone where it is what a regressor predicts."""
    if task is None:
        return {"values": "prediction"}.get(kind, kind)
    return str(task) if kind == "values" else f"{task}_{kind}"


def _of_task(found: Any, task: Any) -> Any:
    """Return the column or the entry of a task; positions count where nothing has names."""
    if isinstance(found, Mapping) or hasattr(found, "columns"):
        return found[task]
    if isinstance(found, np.ndarray) and found.ndim == 1:
        return found
    place = int(str(task).rpartition("_")[2]) if not isinstance(task, int) else task
    return found[place] if isinstance(found, list) else found[:, place]


def index_of(labels: npt.NDArray[Any], classes: npt.NDArray[Any] | None) -> npt.NDArray[np.int64]:
    """Return labels as the file has them: indices of classes; numbers of clusters stay.

    Raises
    ------
    ExportError
        If they are several columns.
    """
    if labels.ndim != 1:
        raise ExportError(f"predict returns labels of shape {labels.shape}; use MultiTask, which names each.")
    if classes is None:
        return labels.astype(np.int64)
    places = {one: place for place, one in enumerate(classes.tolist())}
    return np.array([places[one] for one in labels.tolist()], np.int64)
