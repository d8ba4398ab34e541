"""Histogram gradient boosting as one `TreeEnsembleRegressor` of `ai.onnx.ml` and the link of its loss.

skl2onnx 1.20 passes integers of NumPy as attributes, which onnx refuses since 1.21; so the trees are read here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from skltransfer.errors import ExportError
from skltransfer.export._graph import ML, Graph, Rows
from skltransfer.export._linear import Found, flat, label

#: Operators that turn a regressor's raw values into what it predicts, by the name of its link.
LINKS = {"IdentityLink": "", "LogLink": "Exp"}


def _rounded_down(thresholds: Any) -> list[float]:
    """Round to the greatest float32 that is not above: then float32 rows go to the same side as in double precision."""
    near = np.asarray(thresholds, np.float64).astype(np.float32)
    return [float(v) for v in np.where(near > thresholds, np.nextafter(near, np.float32(-np.inf)), near)]


def _ensemble(head: Any) -> dict[str, list[Any]]:
    """Return the attributes of all trees; tree i of every round adds to target i."""
    table: dict[str, list[Any]] = {}

    def put(**columns: list[Any]) -> None:
        for name, values in columns.items():
            table.setdefault(name, []).extend(values)

    for number, (target, tree) in enumerate((t, p) for each in head._predictors for t, p in enumerate(each)):
        nodes = tree.nodes
        if nodes["is_categorical"].any():
            raise ExportError(
                f"{type(head).__name__} splits by categories, which no operator of ONNX does as scikit-learn does. "
                "Encode them with OneHotEncoder, and pass categorical_features=None."
            )
        leaf, ids = nodes["is_leaf"].astype(bool), range(len(nodes))
        put(
            nodes_treeids=[number] * len(nodes),
            nodes_nodeids=[*ids],
            nodes_featureids=np.where(leaf, 0, nodes["feature_idx"]).tolist(),
            nodes_modes=np.where(leaf, "LEAF", "BRANCH_LEQ").tolist(),
            nodes_values=_rounded_down(np.where(leaf, 0, nodes["num_threshold"])),
            nodes_truenodeids=np.where(leaf, 0, nodes["left"]).tolist(),
            nodes_falsenodeids=np.where(leaf, 0, nodes["right"]).tolist(),
            nodes_missing_value_tracks_true=np.where(leaf, 0, nodes["missing_go_to_left"]).tolist(),
        )
        leaves = np.flatnonzero(leaf)
        put(
            target_treeids=[number] * len(leaves),
            target_nodeids=leaves.tolist(),
            target_ids=[target] * len(leaves),
            target_weights=nodes["value"][leaves].tolist(),
        )
    return table


def _raw(graph: Graph, head: Any, rows: Rows) -> tuple[str, int]:
    """Add the raw values (batch, targets); return their tensor and number."""
    base = np.ravel(head._baseline_prediction).astype(float).tolist()
    graph.domains.setdefault(ML, 1)
    attributes = {**_ensemble(head), "n_targets": len(base), "base_values": base, "aggregate_function": "SUM"}
    return graph.add("TreeEnsembleRegressor", rows.tensor, domain=ML, **attributes), len(base)


def classifier(graph: Graph, head: Any, rows: Rows) -> Found:
    """Add a `HistGradientBoostingClassifier`."""
    raw, count = _raw(graph, head, rows)
    each = raw if count > 1 else graph.add("Concat", graph.add("Sub", raw, raw), raw, axis=1)
    return Found(label(graph, each), graph.add("Softmax", each, axis=1))


def regressor(graph: Graph, head: Any, rows: Rows) -> Found | None:
    """Add a `HistGradientBoostingRegressor`."""
    link = LINKS.get(type(head._loss.link).__name__)
    if link is None:
        return None
    raw = flat(graph, _raw(graph, head, rows)[0])
    return Found(values=graph.add(link, raw) if link else raw)


HEADS = {"HistGradientBoostingClassifier": classifier, "HistGradientBoostingRegressor": regressor}
