"""Boxes as arrays (n, 4), xyxy: formats, overlap, suppression, offsets between boxes, and means over parts of maps.

The file is pure NumPy and knows neither images nor estimators.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Boxes = npt.NDArray[np.float64]
Array = npt.NDArray[Any]

#: Formats of boxes that can be given.
FORMATS = ("xyxy", "xywh", "cxcywh")
#: Exponents of sizes are kept below it: a box grows by a factor of 7 at most, whatever a regression says.
MOST_LOG = 2.0


def to_xyxy(boxes: npt.ArrayLike, box_format: str = "xyxy") -> Boxes:
    """Convert boxes to left, top, right, bottom.

    Parameters
    ----------
    boxes : array-like of shape (n, 4)
        Pixels, or shares of the picture.
    box_format : {"xyxy", "xywh", "cxcywh"}
        What the four numbers are: corners; the left upper corner and the size; the center and the size.

    Returns
    -------
    ndarray of shape (n, 4), float64
    """
    given = np.asarray(boxes, np.float64).reshape(-1, 4)
    if box_format == "xyxy":
        return given
    start, size = given[:, :2], given[:, 2:]
    if box_format == "cxcywh":
        start = start - size / 2
    return np.hstack([start, start + size])


def from_xyxy(boxes: Boxes, box_format: str = "xyxy") -> Boxes:
    """Convert boxes (n, 4) from corners to a format of `to_xyxy`."""
    if box_format == "xyxy":
        return boxes
    start, size = boxes[:, :2], boxes[:, 2:] - boxes[:, :2]
    return np.hstack([start + size / 2 if box_format == "cxcywh" else start, size])


def areas(boxes: Boxes) -> Boxes:
    """Compute the areas of boxes (n, 4)."""
    return np.asarray((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))


def intersections(first: Boxes, second: Boxes) -> Boxes:
    """Compute the area that each of the first boxes (n, 4) shares with each of the second (m, 4): (n, m)."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    return np.asarray(np.clip(high - low, 0, None).prod(axis=2))


def iou(first: Boxes, second: Boxes) -> Boxes:
    """Compute intersection over union of each of the first boxes (n, 4) and each of the second (m, 4): (n, m)."""
    shared = intersections(first, second)
    union = areas(first)[:, None] + areas(second)[None] - shared
    return np.asarray(shared / np.maximum(union, np.finfo(float).tiny))


def covered(first: Boxes, second: Boxes) -> Boxes:
    """Compute which share of each of the first boxes (n, 4) lies in each of the second (m, 4): (n, m)."""
    return np.asarray(intersections(first, second) / np.maximum(areas(first), np.finfo(float).tiny)[:, None])


def nms(boxes: Boxes, scores: Array, threshold: float, groups: Array | None = None) -> npt.NDArray[np.intp]:
    """Suppress boxes that overlap a better one.

    Parameters
    ----------
    boxes : ndarray of shape (n, 4)
        xyxy.
    scores : ndarray of shape (n,)
        Higher is better; of equal ones the first is kept.
    threshold : float
        Largest IoU of two boxes that are both kept.
    groups : ndarray of shape (n,), optional
        Boxes of different groups, such as classes, do not suppress each other.

    Returns
    -------
    ndarray of int
        Indices of the boxes that are kept, the best first.
    """
    order = np.argsort(-np.asarray(scores), kind="stable")
    overlap = iou(boxes[order], boxes[order]) > threshold
    if groups is not None:
        overlap &= groups[order][:, None] == groups[order][None]
    left = np.ones(len(order), bool)
    for place in range(len(order)):
        if left[place]:
            left[place + 1 :] &= ~overlap[place, place + 1 :]
    return order[left]


def offsets(boxes: Boxes, wanted: Boxes) -> Boxes:
    """Compute how to move boxes (n, 4) to the wanted ones (n, 4): shift by shares of the size, logarithm of growth."""
    size, wanted_size = boxes[:, 2:] - boxes[:, :2], wanted[:, 2:] - wanted[:, :2]
    shift = (wanted[:, :2] + wanted[:, 2:] - boxes[:, :2] - boxes[:, 2:]) / 2
    return np.hstack([shift / size, np.log(wanted_size / size)])


def moved(boxes: Boxes, by: Array) -> Boxes:
    """Move boxes (n, 4) by `offsets` (n, 4)."""
    size = boxes[:, 2:] - boxes[:, :2]
    center = (boxes[:, :2] + boxes[:, 2:]) / 2 + by[:, :2] * size
    half = size * np.exp(np.clip(by[:, 2:], -MOST_LOG, MOST_LOG)) / 2
    return np.hstack([center - half, center + half])


def grown(boxes: Boxes, factor: float) -> Boxes:
    """Scale boxes (n, 4) about their centers."""
    center, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    return np.hstack([center - factor * half, center + factor * half])


def clipped(boxes: Boxes, size: tuple[float, float]) -> Boxes:
    """Clip boxes (n, 4) to a picture (width, height)."""
    return np.clip(boxes, 0, np.tile(size, 2))


def mirrored(boxes: Boxes, width: float) -> Boxes:
    """Return the boxes (n, 4) of the mirror image of a picture of that width."""
    return np.column_stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]])


def integral(grid: Array) -> Array:
    """Compute the integral image (h + 1, w + 1, c) of a map (h, w, c): sums of all that is above and to the left."""
    summed = np.zeros((grid.shape[0] + 1, grid.shape[1] + 1, grid.shape[2]), np.float32)
    np.cumsum(grid, axis=0, out=summed[1:, 1:])
    np.cumsum(summed[1:, 1:], axis=1, out=summed[1:, 1:])
    return summed


def pooled(summed: Array, boxes: Boxes, bins: int) -> Array:
    """Compute the means of a map over the bins of boxes, in a time that does not depend on their size.

    Parameters
    ----------
    summed : ndarray of shape (h + 1, w + 1, c)
        From `integral`.
    boxes : ndarray of shape (n, 4)
        xyxy in cells of the map; what lies outside of the map does not count.
    bins : int
        A box is divided into bins x bins.

    Returns
    -------
    ndarray of shape (n, bins * bins, c), float32
    """
    height, width, channels = summed.shape
    steps = np.linspace(0, 1, bins + 1)
    x = np.clip(boxes[:, 0:1] + (boxes[:, 2:3] - boxes[:, 0:1]) * steps, 0, width - 1)
    y = np.clip(boxes[:, 1:2] + (boxes[:, 3:4] - boxes[:, 1:2]) * steps, 0, height - 1)
    corners = _interpolated(summed.reshape(-1, channels), x, y, (height, width))
    sums = corners[:, 1:, 1:] - corners[:, 1:, :-1] - corners[:, :-1, 1:] + corners[:, :-1, :-1]
    sizes = np.diff(y, axis=1)[:, :, None] * np.diff(x, axis=1)[:, None, :]
    means = sums / np.maximum(sizes, 1e-6)[..., None].astype(np.float32)
    return np.where(sizes[..., None] > 1e-6, means, 0).reshape(len(boxes), bins * bins, channels).astype(np.float32)


def _interpolated(flat: Array, x: Array, y: Array, shape: tuple[int, int]) -> Array:
    """Look up an integral image between its corners, bilinearly: exact for a map that is constant in each cell."""
    left = np.minimum(x.astype(np.intp), shape[1] - 2)
    top = np.minimum(y.astype(np.intp), shape[0] - 2)
    right_share = (x - left).astype(np.float32)[:, None, :, None]
    below_share = (y - top).astype(np.float32)[:, :, None, None]
    first = top[:, :, None] * shape[1] + left[:, None, :]
    above = flat[first] * (1 - right_share) + flat[first + 1] * right_share
    first += shape[1]
    below = flat[first] * (1 - right_share) + flat[first + 1] * right_share
    return np.asarray(above * (1 - below_share) + below * below_share)
