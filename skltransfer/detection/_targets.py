"""Targets: boxes and labels as users give them, checked, with the image and the row in every message."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from skltransfer.detection._boxes import FORMATS, Boxes, mirrored, to_xyxy
from skltransfer.errors import shorten

#: Pixels by which a box may leave its image: tools round.
SLACK = 1.0


class Target(NamedTuple):
    """The objects of an image.

    Attributes
    ----------
    boxes : ndarray of shape (n, 4), float64
        xyxy in pixels of the upright image.
    labels : ndarray of shape (n,)
        Their classes.
    crowd, ignored : ndarray of shape (n,), bool
        Boxes around many objects; boxes that are neither learned nor scored, which crowds are, too.
    size : (int, int) or None
        Width and height of the image as the annotation states them.
    """

    boxes: Boxes
    labels: npt.NDArray[Any]
    crowd: npt.NDArray[np.bool_]
    ignored: npt.NDArray[np.bool_]
    size: tuple[int, int] | None = None

    def of(self, label: Any) -> Target:
        """Return the objects of a class."""
        return self.where(self.labels == label)

    def where(self, mask: npt.NDArray[np.bool_]) -> Target:
        """Return some of the objects."""
        return Target(self.boxes[mask], self.labels[mask], self.crowd[mask], self.ignored[mask], self.size)

    def flipped(self, width: float) -> Target:
        """Return the objects of the mirror image."""
        return self._replace(boxes=mirrored(self.boxes, width))


class Found(NamedTuple):
    """Detections of an image: boxes (n, 4), labels (n,), scores (n,)."""

    boxes: Boxes
    labels: npt.NDArray[Any]
    scores: npt.NDArray[np.float64]


def check_targets(targets: Any, box_format: str = "xyxy") -> list[Target]:
    """Check targets, whatever their images are.

    Parameters
    ----------
    targets : sequence of mapping
        For each image ``boxes`` and ``labels``, perhaps ``iscrowd``, ``difficult`` and ``size``.
    box_format : str
        As in `to_xyxy`.

    Raises
    ------
    ValueError
        With the image, and the row of the box, from 0.
    """
    if isinstance(targets, Mapping) or not isinstance(targets, Iterable):
        raise ValueError(
            f"targets is a {type(targets).__name__}; give a list with one dict an image, such as "
            "[{'boxes': [[0, 0, 10, 10]], 'labels': ['cat']}]."
        )
    return [_target(target, f"targets[{index}]", box_format) for index, target in enumerate(targets)]


def _target(target: Any, name: str, box_format: str) -> Target:
    """Check the target of an image."""
    boxes, labels = _pair(target, name, box_format)
    crowd, difficult = (_flags(target, key, len(boxes), name) for key in ("iscrowd", "difficult"))
    size = target.get("size")
    return Target(boxes, labels, crowd, crowd | difficult, None if size is None else (int(size[0]), int(size[1])))


def check_found(found: Any, box_format: str = "xyxy") -> list[Found]:
    """Check detections, as `check_targets` does targets; each image needs ``scores``, too."""
    checked = []
    for index, one in enumerate(found):
        boxes, labels = _pair(one, name := f"found[{index}]", box_format, scored=True)
        scores = np.asarray(one["scores"], float).reshape(-1)
        if len(scores) != len(boxes):
            raise ValueError(f"{name} has {len(boxes)} boxes and {len(scores)} scores.")
        checked.append(Found(boxes, labels, scores))
    return checked


def _pair(one: Any, name: str, box_format: str, *, scored: bool = False) -> tuple[Boxes, npt.NDArray[Any]]:
    """Return the boxes and labels of an image."""
    needed = ("boxes", "labels", *(["scores"] if scored else []))
    if not isinstance(one, Mapping) or (missing := [key for key in needed if key not in one]):
        what = f"has no {missing[0]!r}" if isinstance(one, Mapping) else f"is a {type(one).__name__}"
        raise ValueError(f"{name} {what}; give a dict with {', '.join(map(repr, needed))}.")
    given = np.asarray(one["boxes"], float)
    if given.size and (given.ndim != 2 or given.shape[1] != 4):
        raise ValueError(f"{name}['boxes'] has shape {given.shape}; give (n, 4), or [] for an image without objects.")
    labels = _labels(one["labels"], name)
    boxes = to_xyxy(given, box_format)
    if len(labels) != len(boxes):
        raise ValueError(f"{name} has {len(boxes)} boxes and {len(labels)} labels.")
    _check_areas(boxes, given, name, box_format)
    return boxes, labels


def _labels(labels: Any, name: str) -> npt.NDArray[Any]:
    """Return labels as an array of objects: what they are is the user's, and images without objects have none."""
    given = labels.tolist() if hasattr(labels, "tolist") else list(labels)
    array = np.empty(len(given), object)
    array[:] = given
    if bad := [row for row, label in enumerate(given) if label is None or label != label]:
        raise ValueError(f"{name}['labels'][{bad[0]}] is {given[bad[0]]!r}; every box needs a label.")
    return array


def _check_areas(boxes: Boxes, given: npt.NDArray[Any], name: str, box_format: str) -> None:
    """Refuse boxes without an area, or with numbers that are not finite."""
    wrong = np.flatnonzero(~np.isfinite(boxes).all(axis=1) | ~(boxes[:, 2:] > boxes[:, :2]).all(axis=1))
    if len(wrong):
        row = int(wrong[0])
        other = next(kind for kind in FORMATS if kind != box_format)
        raise ValueError(
            f"{name}['boxes'][{row}] is {given[row].tolist()}, which as {box_format!r} has no area. Fix or drop it; if "
            f"boxes are in another format, pass box_format={other!r}."
        )


def _flags(target: Mapping[str, Any], key: str, n: int, name: str) -> npt.NDArray[np.bool_]:
    """Return the marks of boxes, False where there are none."""
    flags = np.asarray(target.get(key, np.zeros(n, bool))).astype(bool).reshape(-1)
    if len(flags) != n:
        raise ValueError(f"{name} has {n} boxes and {len(flags)} values of {key!r}.")
    return flags


def check_inside(target: Target, size: tuple[int, int], name: str) -> Target:
    """Compare a target with its image, and clip its boxes to it.

    Parameters
    ----------
    target : Target
        From `check_targets`.
    size : (int, int)
        Width and height of the upright image.
    name : str
        What to call the image in a message.

    Raises
    ------
    ValueError
        If a box is outside of the image by more than a pixel, or the annotation states another size.
    """
    if target.size is not None and target.size != size:
        turned = " Its sides are exchanged: the boxes are of the picture before its EXIF orientation turned it upright."
        raise ValueError(
            f"{name} is {size[0]} x {size[1]} pixels, and its annotation is of {target.size[0]} x {target.size[1]}."
            + (turned if target.size == size[::-1] else " Annotate the files you pass, or scale the boxes.")
        )
    limit = np.array(size, float)
    wrong = np.flatnonzero(
        (target.boxes[:, :2] < -SLACK).any(axis=1) | (target.boxes[:, 2:] > limit + SLACK).any(axis=1)
    )
    if len(wrong):
        row = int(wrong[0])
        raise ValueError(
            f"boxes[{row}] of {name} is {target.boxes[row].tolist()} (xyxy), outside of its {size[0]} x {size[1]} "
            "pixels. Fix it, or pass the right box_format."
        )
    return target._replace(boxes=np.clip(target.boxes, 0, np.tile(limit, 2)), size=size)


def named(index: int, path: str | None) -> str:
    """Return what to call an image in a message."""
    return f"image {index}" + (f" ({shorten(repr(path))})" if path else "")


def classes_of(targets: Sequence[Target]) -> npt.NDArray[Any]:
    """Return the sorted labels of all objects that are learned.

    Raises
    ------
    ValueError
        If there is none, or they cannot be sorted.
    """
    labels = {label for target in targets for label in target.labels[~target.ignored].tolist()}
    if not labels:
        raise ValueError("No image has a box to learn from: every target is empty, a crowd or difficult.")
    try:
        return np.array(sorted(labels))
    except TypeError as err:
        shown = ", ".join(sorted({type(label).__name__ for label in labels}))
        raise ValueError(f"Labels are of several types ({shown}), which have no order; give one type.") from err
