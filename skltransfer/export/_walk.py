"""`Walk`, the way through a fitted pipeline: what holds others is taken apart, what computes adds its nodes.

A part of ours is asked for its graph by ``_onnx_parts()``, which returns a dictionary: ``backbone``, a plan;
``affine``, (offset, vector or matrix, shift) of rows; ``estimator``, a fitted one that does the rest; or ``tasks``,
fitted heads by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from skltransfer._engine import graph as backbones
from skltransfer.errors import ExportError, LayerError, shorten
from skltransfer.export import _convert, _linear, _trees
from skltransfer.export._affine import TRANSFORMERS, joined, moved, multiplied, select
from skltransfer.export._forms import form_of
from skltransfer.export._graph import BATCH, Graph, Rows
from skltransfer.export._inputs import Input, column, named
from skltransfer.export._linear import Found

HEADS: dict[str, Callable[[Graph, Any, Rows], Found | None]] = {**_linear.HEADS, **_trees.HEADS}


class Raw(NamedTuple):
    """Samples as they come, or some columns of them.

    Attributes
    ----------
    columns : tuple or None
        Names or positions; None for all of X.
    """

    columns: tuple[Any, ...] | None = None


Source = Raw | Rows


class Head(NamedTuple):
    """A head that was added.

    Attributes
    ----------
    task : object
        Name of its task; None if there is one head.
    estimator : estimator
        As it was fitted.
    found : Found
        Its tensors.
    cut : (int, float) or None
        Class and threshold of a classifier whose label is decided by a threshold of its own.
    """

    task: Any
    estimator: Any
    found: Found
    cut: tuple[int, float] | None = None


class Walk:
    """Adds a pipeline to a graph.

    Parameters
    ----------
    graph : Graph
        Takes the nodes.
    X : object
        Samples; only their columns' types are looked at.
    raw : bool
        Whether backbones take samples as they are, see `_forms`.
    """

    def __init__(self, graph: Graph, X: Any, *, raw: bool = False) -> None:
        self.graph, self.X, self.raw = graph, X, raw
        self.inputs: list[Input] = []

    def heads(self, estimator: Any, source: Source, task: Any = None) -> list[Head]:
        """Add a pipeline with its head, or several heads; none if it only transforms."""
        if (inner := unwrapped(estimator)) is not estimator:
            return self.heads(inner, source, task)
        last = estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator
        if not is_head(unwrapped(last)):
            return []
        parts, kind = parts_of(estimator), type(estimator).__name__
        if last is not estimator:
            return self.heads(last, self._through(estimator.steps[:-1], source), task)
        if kind == "MultiOutputClassifier":
            parts = {"tasks": {f"target_{i}": one for i, one in enumerate(estimator.estimators_)}}
        if "tasks" in parts:
            return self._tasks(parts["tasks"], self.rows(source))
        if "estimator" in parts:
            return self.heads(parts["estimator"], self._affine(parts, source), task)
        if kind in THRESHOLDS:
            (head,) = self.heads(estimator.estimator_, source, task)
            return [self._with_threshold(estimator, head)]
        return [Head(task, estimator, self._head(estimator, self.rows(source)))]

    def transform(self, estimator: Any, source: Source) -> Rows:
        """Add a transformer."""
        if (inner := unwrapped(estimator)) is not estimator:
            return self.transform(inner, source)
        parts, kind = parts_of(estimator), type(estimator).__name__
        if "backbone" in parts:
            return self._embed(parts["backbone"], source)
        if hasattr(estimator, "steps"):
            return self.rows(self._through(estimator.steps, source))
        if kind in CONTAINERS:
            return CONTAINERS[kind](self, estimator, source)
        if "affine" in parts:
            return self._affine(parts, source)
        if kind == "FunctionTransformer" and estimator.func is None:
            return self.rows(source)
        if (texts := self._strings(source)) is not None:
            model = _convert.converted(estimator, texts.width, self.graph.opset, kind="str")
            (tensor,) = self.graph.inline(model, {"rows": texts.tensor}).values()
            return Rows(tensor, len(estimator.get_feature_names_out()))
        if (emit := TRANSFORMERS.get(kind)) is not None:
            return emit(self.graph, estimator, self.rows(source))
        return _convert.transform(self.graph, estimator, self.rows(source))

    def rows(self, source: Source) -> Rows:
        """Return numbers: those of a tensor, or columns of X, an input each."""
        if isinstance(source, Rows):
            return source
        if source.columns is None:
            raise ExportError(
                "The pipeline takes samples where a PretrainedEmbedder is expected: its first step must be one, or a "
                "FeatureUnion or ColumnTransformer of some."
            )
        names = [self._input(Input(str(name), name, "float32", (BATCH, 1))) for name in source.columns]
        return joined(self.graph, [Rows(name, 1) for name in names])

    def _through(self, steps: list[tuple[str, Any]], source: Source) -> Source:
        for _, step in steps:
            if step is not None and step != "passthrough":
                source = self.transform(step, source)
        return source

    def _head(self, estimator: Any, rows: Rows) -> Found:
        emit = HEADS.get(type(estimator).__name__)
        found = None if emit is None else emit(self.graph, estimator, rows)
        return _convert.head(self.graph, estimator, rows) if found is None else found

    def _tasks(self, tasks: Mapping[Any, Any], rows: Rows) -> list[Head]:
        """Add the head of every task that was fitted."""
        return [head for name, one in tasks.items() if one is not None for head in self.heads(one, rows, name)]

    def _affine(self, parts: Mapping[str, Any], source: Source) -> Rows:
        """Add ``(rows - offset) * factor + shift``, in which the factor may be a matrix."""
        rows = self.rows(source)
        if parts.get("affine") is None:
            return rows
        offset, factor, shift = parts["affine"]
        if np.ndim(factor) == 2:
            return multiplied(self.graph, moved(self.graph, rows, offset, None), factor, shift)
        return moved(self.graph, moved(self.graph, rows, offset, factor), -np.asarray(shift), None)

    def _with_threshold(self, estimator: Any, head: Head) -> Head:
        """Replace a label by that of a threshold."""
        positive, threshold, method = THRESHOLDS[type(estimator).__name__](estimator)
        found, graph = head.found, self.graph
        if method == "predict_proba" or (method == "auto" and found.probabilities):
            assert found.probabilities is not None
            score = graph.add("Gather", found.probabilities, graph.const(positive, np.int64), axis=1)
            threshold = 0.5 if threshold == "auto" else threshold
        else:
            assert found.scores is not None
            score = found.scores if positive == 1 else graph.add("Neg", found.scores)
            threshold = 0.0 if threshold == "auto" else threshold
        below = graph.add("Less", score, graph.const(np.float32(threshold)))
        index = graph.cast(graph.add("Not", below) if positive == 1 else below, "int64")
        return Head(head.task, estimator, found._replace(label=index), (positive, float(threshold)))

    def _embed(self, plan: Any, source: Source) -> Rows:
        if not isinstance(source, Raw) or len(source.columns or (None,)) != 1:
            raise ExportError("PretrainedEmbedder takes one column of samples; name it as a str in ColumnTransformer.")
        _check_rows(plan)
        place = None if source.columns is None else source.columns[0]
        model = plan.build()
        if backbones.opset(model) < self.graph.opset:
            from onnx import version_converter

            model = version_converter.convert_version(model, self.graph.opset)
        value = model.graph.input[0]
        fed = self._samples(plan, place) if self.raw else self._prepared(plan, place, value)
        (tensor,) = self.graph.inline(model, {value.name: fed}).values()
        return Rows(tensor, plan.shape[0])

    def _prepared(self, plan: Any, place: Any, value: Any) -> str:
        """Return the tensor of samples that are prepared before they enter the file."""
        sizes = tuple(d.dim_value or d.dim_param or None for d in value.type.tensor_type.shape.dim)[1:]
        name = plan.modality.prepared if place is None else str(place)
        return self._input(Input(name, place, _dtype(value), (BATCH, *sizes), plan))

    def _samples(self, plan: Any, place: Any) -> str:
        """Return the tensor of samples that the file prepares."""
        form = form_of(plan)
        name = form.name if place is None else str(place)
        return form.emit(self.graph, self._input(Input(name, place, form.dtype, form.shape, plan, form)), plan)

    def _input(self, wanted: Input) -> str:
        """Return the tensor of an input, which is added unless it is there."""
        if (known := next((one for one in self.inputs if one.key == wanted.key), None)) is not None:
            return known.name
        new = wanted._replace(name=named(wanted.name, (one.name for one in self.inputs)))
        self.inputs.append(new)
        return self.graph.input(new.name, new.dtype, new.shape)

    def _strings(self, source: Source) -> Rows | None:
        """Return columns of strings; None if they are numbers."""
        if isinstance(source, Rows) or source.columns is None:
            return None
        kinds = {np.asarray(column(self.X, name)).dtype.kind in "OUT" for name in source.columns}
        if kinds != {True}:
            return None
        names = [self._input(Input(str(name), name, "str", (BATCH, 1))) for name in source.columns]
        return joined(self.graph, [Rows(name, 1) for name in names])


def is_head(estimator: Any) -> bool:
    """Return whether an estimator does more than transform."""
    return hasattr(estimator, "predict") or hasattr(estimator, "kneighbors")


def parts_of(estimator: Any) -> dict[str, Any]:
    """Return what an estimator of ours says of its graph; nothing of others."""
    ask = getattr(estimator, "_onnx_parts", None)
    return {} if ask is None else ask()


def unwrapped(estimator: Any) -> Any:
    """Return what a search found best, or what must not be fitted again."""
    if hasattr(estimator, "best_estimator_"):
        return estimator.best_estimator_
    return estimator.estimator if type(estimator).__name__ == "FrozenEstimator" else estimator


def _check_rows(plan: Any) -> None:
    """Refuse rows that no single run of the backbone computes."""
    if len(plan.shape or ()) != 1:
        raise LayerError(f"A head takes rows, and this embedder returns {plan.shape}; choose pool='mean'.")
    if plan.recipe.averaged:
        choice = f"views={plan.recipe.views!r}" if plan.recipe.views else "long_text='windows'"
        raise ExportError(f"{choice} averages several runs of the backbone, which one file does not; fit without it.")


def _dtype(value: Any) -> str:
    from onnx import helper

    return str(np.dtype(helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)))


def _fixed(estimator: Any) -> tuple[int, Any, str]:
    return _index(estimator, estimator.pos_label), estimator.threshold, estimator.response_method


def _tuned(estimator: Any) -> tuple[int, Any, str]:
    return (
        _index(estimator, estimator._curve_scorer._get_pos_label()),
        estimator.best_threshold_,
        estimator.response_method,
    )


def _index(estimator: Any, label: Any) -> int:
    return 1 if label is None else int(np.flatnonzero(estimator.classes_ == label)[0])


#: The positive class, the threshold and the method of classifiers that have a threshold of their own.
THRESHOLDS: dict[str, Callable[[Any], tuple[int, Any, str]]] = {
    "FixedThresholdClassifier": _fixed,
    "TunedThresholdClassifierCV": _tuned,
}


def _union(walk: Walk, union: Any, source: Source) -> Rows:
    """Put the columns of all parts side by side."""
    weights = union.transformer_weights or {}
    parts = []
    for name, part in union.transformer_list:
        if part is None or part == "drop":
            continue
        rows = walk.rows(source) if part == "passthrough" else walk.transform(part, source)
        parts.append(moved(walk.graph, rows, None, weights[name]) if name in weights else rows)
    return joined(walk.graph, parts)


def _columns(walk: Walk, transformer: Any, source: Source) -> Rows:
    """Put the columns of all parts side by side, each of its own columns of X."""
    names = list(getattr(transformer, "feature_names_in_", range(transformer.n_features_in_)))
    weights = transformer.transformer_weights or {}
    parts = []
    for name, part, wanted in transformer.transformers_:
        chosen = _resolved(wanted, names)
        if not chosen or part is None or (isinstance(part, str) and part == "drop"):
            continue
        taken: Source = Raw(chosen)
        if isinstance(source, Rows):
            taken = select(walk.graph, source, [names.index(one) for one in chosen])
        rows = walk.rows(taken) if isinstance(part, str) else walk.transform(part, taken)
        parts.append(moved(walk.graph, rows, None, weights[name]) if name in weights else rows)
    return joined(walk.graph, parts)


def _resolved(wanted: Any, names: list[Any]) -> tuple[Any, ...]:
    """Return the names of columns that are wanted by name, position, slice or mask."""
    if isinstance(wanted, slice) and not isinstance(wanted.start, str) and not isinstance(wanted.stop, str):
        return tuple(names[wanted])
    if isinstance(wanted, slice):
        raise ExportError(f"Columns {shorten(repr(wanted))} are a slice of names; list the names.")
    chosen = [wanted] if isinstance(wanted, str) or np.ndim(wanted) == 0 else list(wanted)
    if chosen and all(isinstance(one, bool | np.bool_) for one in chosen):
        return tuple(name for name, keep in zip(names, chosen, strict=True) if keep)
    return tuple(one if isinstance(one, str) else names[one] for one in chosen)


#: Transformers that hold others, by the name of the class.
CONTAINERS: dict[str, Callable[[Walk, Any, Source], Rows]] = {"ColumnTransformer": _columns, "FeatureUnion": _union}
