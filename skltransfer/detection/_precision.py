"""Average precision by the rules of COCO, and scorers for scikit-learn.

The rules: detections of a class, best first, take the free object they overlap most, if by enough; precision is made
monotone and averaged at 101 recalls; a crowd may be met by many detections, which then count neither way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from skltransfer.detection import _boxes
from skltransfer.detection._targets import Target, check_found, check_targets

#: IoU from .5 to .95, over which COCO averages.
THRESHOLDS = tuple(np.linspace(0.5, 0.95, 10).tolist())
RECALLS = np.linspace(0, 1, 101)
#: Names of scorers, with their thresholds.
METRICS: dict[str, Sequence[float]] = {"map": THRESHOLDS, "ap50": (0.5,), "ap75": (0.75,)}


def average_precision(
    targets: Sequence[Mapping[str, Any]],
    found: Sequence[Mapping[str, Any]],
    *,
    iou: float | Sequence[float] | None = None,
    max_detections: int = 100,
    per_class: bool = False,
    box_format: str = "xyxy",
) -> Any:
    """Compute the mean average precision of detections, by the rules of COCO.

    Parameters
    ----------
    targets : sequence of dict
        For each image ``boxes`` (n, 4), xyxy in pixels, and ``labels`` (n,); perhaps ``iscrowd`` and ``difficult``
        (n,), which mark boxes that count neither as found nor as missed.
    found : sequence of dict
        For each image ``boxes``, ``labels`` and ``scores``.
    iou : float or sequence of float, default=None
        Least overlap with an object to be right; None averages over .5, .55, ..., .95, as COCO does.
    max_detections : int, default=100
        Detections of an image and class that count, the best ones.
    per_class : bool, default=False
        Whether to return a dictionary of the classes instead of their mean.
    box_format : {"xyxy", "xywh", "cxcywh"}, default="xyxy"
        Of targets and detections.

    Returns
    -------
    float or dict
        0 to 1; NaN if no image has an object.

    Raises
    ------
    ValueError
        If a box has no area, or the lengths differ.

    References
    ----------
    .. [1] Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014.

    Examples
    --------
    >>> from skltransfer.detection import average_precision
    >>> targets = [{"boxes": [[0, 0, 10, 10], [20, 20, 30, 30]], "labels": ["cat", "cat"]}]
    >>> found = [{"boxes": [[0, 0, 10, 8]], "labels": ["cat"], "scores": [0.9]}]
    >>> round(average_precision(targets, found, iou=0.5), 3)
    0.505
    """
    if len(targets) != len(found):
        raise ValueError(f"targets has {len(targets)} images and found has {len(found)}; they must be the same.")
    true, seen = check_targets(targets, box_format), check_found(found, box_format)
    thresholds = THRESHOLDS if iou is None else tuple(np.atleast_1d(np.asarray(iou, float)).tolist())
    labels = sorted({label for target in true for label in target.labels[~target.ignored].tolist()})
    precisions = {label: float(np.mean(_of_class(label, true, seen, thresholds, max_detections))) for label in labels}
    if per_class:
        return precisions
    return float(np.mean(list(precisions.values()))) if precisions else float("nan")


def _of_class(
    label: Any, true: Sequence[Target], seen: Sequence[Any], thresholds: Sequence[float], most: int
) -> npt.NDArray[np.float64]:
    """Compute the average precision of a class at each threshold."""
    scores, hits, skips, objects = [], [], [], 0
    for target, detections in zip(true, seen, strict=True):
        own = target.of(label)
        mine = np.flatnonzero(detections.labels == label)
        best = mine[np.argsort(-detections.scores[mine], kind="stable")][:most]
        hit, skip = match(own, detections.boxes[best], thresholds)
        scores.append(detections.scores[best])
        hits.append(hit)
        skips.append(skip)
        objects += int((~own.ignored).sum())
    order = np.argsort(-np.concatenate(scores), kind="stable")
    hit, skip = np.concatenate(hits, axis=1)[:, order], np.concatenate(skips, axis=1)[:, order]
    return np.array([_area(h[~s], objects) for h, s in zip(hit, skip, strict=True)])


def match(
    target: Target, boxes: _boxes.Boxes, thresholds: Sequence[float]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Match the boxes of an image, the best first, with objects.

    Parameters
    ----------
    target : Target
        Objects of one class.
    boxes : ndarray of shape (n, 4)
        Detections of that class, sorted by their score.
    thresholds : sequence of float
        Least IoU.

    Returns
    -------
    hits, skips : ndarray of shape (n_thresholds, n), bool
        Detections that are right, and those that count neither way.
    """
    order = np.argsort(target.ignored, kind="stable")  # objects that count are taken first
    crowd, ignored = target.crowd[order], target.ignored[order]
    overlap = np.where(crowd[None], _boxes.covered(boxes, target.boxes[order]), _boxes.iou(boxes, target.boxes[order]))
    hits, skips = np.zeros((2, len(thresholds), len(boxes)), bool)
    for row, threshold in enumerate(thresholds):
        free = np.ones(len(order), bool)
        for detection in range(len(boxes)):
            taken = _best(overlap[detection], free | crowd, ignored, threshold)
            if taken is not None:
                free[taken] = False
                (skips if ignored[taken] else hits)[row, detection] = True
    return hits, skips


def _best(overlap: Any, free: Any, ignored: Any, threshold: float) -> int | None:
    """Return the free object with the largest overlap; one that counts goes before those that do not.

    Of equal ones the last is taken, as pycocotools does.
    """
    enough = free & (overlap >= min(threshold, 1 - 1e-10))
    for candidates in (np.flatnonzero(enough & ~ignored), np.flatnonzero(enough & ignored)):
        if len(candidates):
            values = overlap[candidates]
            return int(candidates[np.flatnonzero(values == values.max())[-1]])
    return None


def _area(hits: npt.NDArray[np.bool_], objects: int) -> float:
    """Compute the mean precision at 101 recalls, of detections sorted by their score."""
    right = np.cumsum(hits)
    precision = right / (np.arange(len(hits)) + 1 + np.spacing(1))
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(right / objects, RECALLS, side="left")
    return float(np.append(precision, 0.0)[np.minimum(places, len(hits))].mean())


def detection_scorer(metric: str = "map") -> Callable[[Any, Any, Any], float]:
    """Return a scorer for ``cross_val_score(..., scoring=...)`` and searches.

    Parameters
    ----------
    metric : {"map", "ap50", "ap75"}
        Average precision over IoU .5 to .95, at .5, or at .75.

    Returns
    -------
    callable
        ``scorer(detector, X, targets)``; it can be pickled. It counts all detections, whatever the detector's
        ``score_threshold``.

    Examples
    --------
    >>> from skltransfer.detection import detection_scorer
    >>> scorer = detection_scorer("ap50")
    """
    if metric not in METRICS:
        raise ValueError(f"metric is {metric!r}; give one of {', '.join(map(repr, METRICS))}.")
    return partial(_score, iou=METRICS[metric])


def _score(detector: Any, X: Any, targets: Any, *, iou: Sequence[float]) -> float:
    found = detector.predict(X, score_threshold=0.0)
    return float(average_precision(targets, found, iou=iou, box_format=detector.box_format))
