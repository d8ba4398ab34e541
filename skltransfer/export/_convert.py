"""Conversion by skl2onnx of the estimators that this room has no operators for, one at a time, on float32 rows."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import is_classifier, is_outlier_detector

from skltransfer.errors import ExportError, need, shorten
from skltransfer.export._graph import ML, Graph, Rows
from skltransfer.export._linear import Found, flat
from skltransfer.export._rebuild import rebuilt, with_attributes

if TYPE_CHECKING:
    import onnx

#: Options of skl2onnx that are right wherever its converter has them.
OPTIONS: dict[str, Any] = {"zipmap": False}
#: Versions of `ai.onnx.ml`: the oldest that the converter of an estimator takes. Old runtimes know 3, too.
ML_VERSIONS = (1, 3)


def _shaped(estimator: Any) -> Any:
    """Return a voting classifier whose `transform`, which is not exported, has the form that skl2onnx wants."""
    changed = copy.copy(estimator)
    changed.flatten_transform = False
    return changed


def _without_radius(estimator: Any) -> Any:
    """Return a search for the nearest rows without its radius, which `kneighbors` does not use."""
    changed = copy.copy(estimator)
    changed.radius = None
    return changed


#: Changes of an estimator that its converter needs, by the name of its class.
REWRITES: dict[str, Callable[[Any], Any]] = {
    "NearestNeighbors": _without_radius,
    "VotingClassifier": _shaped,
}


def relabeled(estimator: Any, classes: Any) -> Any:
    """Return an estimator whose labels are the indices of its classes, sharing all that stays the same.

    Parameters
    ----------
    estimator : estimator
        Fitted.
    classes : ndarray of shape (n_classes,)
        Labels to replace where an attribute called ``classes_`` or ``classes`` holds exactly these.
    """

    def change(part: Any) -> Any:
        held = {name: vars(part)[name] for name in ("classes_", "classes") if name in vars(part)}
        new = {
            name: np.arange(len(value))
            for name, value in held.items()
            if isinstance(value, np.ndarray) and value.shape == classes.shape and bool(np.all(value == classes))
        }
        return with_attributes(part, new)

    return rebuilt(estimator, change)


def converted(estimator: Any, width: int, opset: int, *, kind: str = "float32") -> onnx.ModelProto:
    """Convert a fitted estimator.

    Parameters
    ----------
    estimator : estimator
        Any that skl2onnx knows.
    width : int
        Number of columns.
    opset : int
        Version of ONNX's operators.
    kind : {"float32", "str"}
        Type of its input.

    Raises
    ------
    ExportError
        With skl2onnx's reason.
    """
    skl2onnx = need("skl2onnx", extra="export")
    types = need("skl2onnx.common.data_types", extra="export")
    tensor = {"float32": types.FloatTensorType, "str": types.StringTensorType}[kind]([None, width])
    estimator = REWRITES.get(type(estimator).__name__, lambda same: same)(estimator)
    options, reason = {id(estimator): chosen} if (chosen := _options(estimator)) else None, None
    logging.getLogger("skl2onnx").setLevel(logging.ERROR)  # it logs every operator
    for version in ML_VERSIONS:
        versions = {"": opset, ML: version}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # skl2onnx reads deprecated attributes; the user does not
                model = skl2onnx.convert_sklearn(
                    estimator, initial_types=[("rows", tensor)], target_opset=versions, options=options
                )
        except Exception as err:  # noqa: BLE001 - converters raise what they like, ours is the one kind for it
            reason = err
        else:
            return _at(model, opset)
    raise ExportError(
        f"{shorten(repr(estimator), 80)} cannot be converted: {shorten(' '.join(str(reason).split()), 200)} "
        "Choose another head, such as LogisticRegression, HistGradientBoostingClassifier or MLPClassifier."
    ) from reason


def _options(estimator: Any) -> dict[str, Any]:
    """Return the options of one estimator, as far as its converter has them."""
    names = need("skl2onnx._supported_operators", extra="export").sklearn_operator_name_map
    registration = need("skl2onnx.common._registration", extra="export")
    if type(estimator) not in names:
        return {}
    allowed: Mapping[str, Any] = registration.get_converter(names[type(estimator)]).get_allowed_options() or {}
    wanted = {**OPTIONS, "raw_scores": not hasattr(estimator, "predict_proba")}
    return {name: value for name, value in wanted.items() if name in allowed}


def _at(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """Declare the version of operators that was asked for.

    skl2onnx declares the oldest that has the operators in use, whose meaning is the same up to that version.
    """
    from onnx import helper

    ml = max((entry.version for entry in model.opset_import if entry.domain == ML), default=1)
    del model.opset_import[:]
    model.opset_import.extend([helper.make_opsetid("", opset), helper.make_opsetid(ML, ml)])
    return model


#: Methods that compute the scores of estimators that have no `decision_function`.
SCORES = {"KMeans": "transform", "MiniBatchKMeans": "transform", "BisectingKMeans": "transform"}


def head(graph: Graph, estimator: Any, rows: Rows) -> Found:
    """Add the nodes of a head."""
    classes = getattr(estimator, "classes_", None)
    chosen = relabeled(estimator, classes) if isinstance(classes, np.ndarray) else estimator
    model = converted(chosen, rows.width, graph.opset)
    named = graph.inline(model, {"rows": rows.tensor})
    tensors = [*named.values()]
    if len(tensors) == 1:
        return Found(values=_values(graph, tensors[0], estimator, rows.width))
    if hasattr(estimator, "kneighbors") and not hasattr(estimator, "predict"):
        return Found(indices=graph.cast(tensors[0], "int64"), distances=tensors[1])
    label = flat(graph, graph.cast(tensors[0], "int64"))
    if hasattr(estimator, "predict_proba"):
        return Found(label, tensors[1])
    if not hasattr(estimator, "decision_function") and type(estimator).__name__ not in SCORES:
        return Found(label)
    return Found(label, scores=_scores(graph, tensors[1], estimator))


def _values(graph: Graph, tensor: str, estimator: Any, width: int) -> str:
    """Return what a regressor predicts, in scikit-learn's shape: one row shows it."""
    return flat(graph, tensor) if np.ndim(estimator.predict(np.zeros((1, width), np.float32))) == 1 else tensor


def _scores(graph: Graph, tensor: str, estimator: Any) -> str:
    """Return scores in scikit-learn's shape: (batch,) of two classes, of which skl2onnx has two columns."""
    if is_outlier_detector(estimator):
        return flat(graph, tensor)
    if is_classifier(estimator) and len(estimator.classes_) == 2:
        return graph.add("Gather", tensor, graph.const(1, np.int64), axis=1)
    return tensor


def transform(graph: Graph, estimator: Any, rows: Rows) -> Rows:
    """Add the nodes of a transformer of rows."""
    model = converted(estimator, rows.width, graph.opset)
    (tensor,) = graph.inline(model, {"rows": rows.tensor}).values()
    return Rows(tensor, int(estimator.transform(np.zeros((1, rows.width), np.float32)).shape[1]))
