"""How a detector is fitted: scenes, the first stage and its proposals by halves, the second stage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from skltransfer.detection import _boxes
from skltransfer.detection._boxes import Boxes
from skltransfer.detection._cells import IGNORED, Cells, CellSums, Scene, fit_cells, fits
from skltransfer.detection._pyramid import Seen
from skltransfer.detection._regions import Sample, choose
from skltransfer.detection._targets import Target

#: Overlaps at which the recall of proposals is told.
RECALLS = (0.5, 0.7)


class Proposed(NamedTuple):
    """The fitted first stage, and what it says of its own images when it has not seen them.

    Attributes
    ----------
    cells : Cells
        Fitted to all images.
    samples : list of Sample
        Boxes for the second stage.
    recall : dict of float to float
        Share of the objects that a proposal overlaps by so much.
    """

    cells: Cells
    samples: list[Sample]
    recall: dict[float, float]


def scenes_of(seen: Seen, target: Target, codes: npt.NDArray[np.intp], image: int) -> list[Scene]:
    """Return the scenes of an image: itself and, if it was seen mirrored, its mirror image."""
    boxes = (target.boxes, _boxes.mirrored(target.boxes, seen.picture.size[0]))
    return [Scene(levels, own, codes, image) for levels, own in zip(seen.views, boxes, strict=False)]


def unreachable(scenes: Sequence[Scene], object_size: float) -> npt.NDArray[np.intp]:
    """Return image and row of the boxes that are too small or too large for every level: (n, 2)."""
    found = []
    for scene in scenes:
        reached = np.any([fits(scene.boxes, level, object_size) for level in scene.levels], axis=0)
        found += [(scene.image, int(row)) for row in np.flatnonzero(~reached & (scene.codes != IGNORED))]
    return np.array(sorted(set(found)), np.intp).reshape(-1, 2)


def halves(scenes: Sequence[Scene], lost: npt.NDArray[np.intp], random: np.random.Generator) -> dict[int, int]:
    """Divide images in two halves, those with objects evenly; a single one with objects is not divided from others.

    Parameters
    ----------
    scenes : sequence of Scene
        Mirror images belong to their originals.
    lost : ndarray of shape (n, 2)
        From `unreachable`.
    random : Generator
        Shuffles.

    Raises
    ------
    ValueError
        If no object can be proposed.
    """
    gone = set(map(tuple, lost.tolist()))
    useful = {
        scene.image
        for scene in scenes
        if any((scene.image, row) not in gone for row in np.flatnonzero(scene.codes != IGNORED).tolist())
    }
    if not useful:
        raise ValueError("No box has a size that a scale fits; pass larger or smaller scales, or scales='auto'.")
    shuffled = random.permutation(sorted({scene.image for scene in scenes})).tolist()
    ordered = sorted(shuffled, key=lambda image: image not in useful)
    return {image: place % 2 if len(useful) > 1 else 0 for place, image in enumerate(ordered)}


def fit_proposals(
    scenes: Sequence[Scene],
    half_of: dict[int, int],
    n_classes: int,
    *,
    object_size: float,
    alpha: float,
    n_proposals: int,
    random: np.random.Generator,
) -> Proposed:
    """Fit the first stage, and let the stage of each half propose boxes in the images of the other.

    Parameters
    ----------
    scenes : sequence of Scene
        Of all images.
    half_of : dict of int to int
        From `halves`.
    n_classes : int
        Without background.
    object_size, alpha, n_proposals, random
        As in `ObjectDetector`.
    """
    components = scenes[0].levels[0].grid().shape[2]
    sums = [CellSums(components, n_classes, object_size) for _ in range(1 + max(half_of.values()))]
    for scene in scenes:
        sums[half_of[scene.image]].add(scene, random)
    first = [fit_cells([part], alpha) for part in sums]
    for scene in scenes:
        sums[half_of[scene.image]].add_hard(scene, first[half_of[scene.image]])
    own = [fit_cells([part], alpha) for part in sums]
    samples, overlaps = [], []
    for scene in scenes:
        boxes, _ = own[(half_of[scene.image] + 1) % len(own)].propose(scene.levels, n_proposals)
        samples.append(choose(scene, boxes, random))
        overlaps.append(_best(scene, boxes))
    cells = fit_cells(sums, alpha) if len(sums) > 1 else own[0]
    best = np.concatenate(overlaps)
    return Proposed(cells, samples, {share: float((best >= share).mean()) for share in RECALLS})


def _best(scene: Scene, boxes: Boxes) -> npt.NDArray[Any]:
    """Return the largest overlap of each object with a proposal."""
    overlap = _boxes.iou(scene.boxes[scene.codes != IGNORED], boxes)
    return overlap.max(axis=1) if len(boxes) else np.zeros(len(overlap))
