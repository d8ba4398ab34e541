"""How a detector is fitted: scenes, the first stage and its proposals by halves, the second stage."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from skltransfer._engine import process
from skltransfer.detection import _boxes
from skltransfer.detection._boxes import Boxes
from skltransfer.detection._cells import IGNORED, Cells, CellSums, Scene, class_weights, fit_cells, fits
from skltransfer.detection._pyramid import Seen, choose_scales, read_some
from skltransfer.detection._regions import Sample, choose
from skltransfer.detection._targets import Target, check_inside, named
from skltransfer.errors import BadSamplesWarning, Failure, InputWarning, warn

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


def placed(samples: Sequence[Any], targets: Sequence[Target], *, skip: bool) -> dict[int, Target]:
    """Read the sizes of images, and check that their boxes lie in them.

    Parameters
    ----------
    samples, targets : sequence
        Images, and what is in them.
    skip : bool
        Whether to leave out images that cannot be read.

    Returns
    -------
    dict of int to Target
        By the index of the image.
    """
    pictures = read_some(samples, [] if skip else None)
    return {
        index: check_inside(targets[index], picture.size, named(index, picture.path))
        for index, picture in enumerate(pictures)
        if picture is not None
    }


def scales_for(targets: Iterable[Target], object_size: float) -> tuple[int, ...]:
    """Choose scales for the boxes that are learned; `placed` has set the sizes of their images."""
    shares: dict[Any, list[float]] = defaultdict(list)
    for target in targets:
        assert target.size is not None
        sides = np.sqrt(_boxes.areas(target.boxes)) / max(target.size)
        for label in set(target.labels[~target.ignored].tolist()):
            shares[label] += sides[(target.labels == label) & ~target.ignored].tolist()
    return choose_scales(list(shares.values()), object_size)


def scenes(views: Iterable[Seen | None], targets: Mapping[int, Target], classes: npt.NDArray[Any]) -> list[Scene]:
    """Return the scenes of all images: each, and if it was seen mirrored, its mirror image."""
    numbers = {label: code for code, label in enumerate(classes.tolist())}
    made: list[Scene] = []
    for image, seen in enumerate(views):
        if seen is None:
            continue
        target = targets[image]
        codes = [
            IGNORED if skip else numbers[label]
            for label, skip in zip(target.labels.tolist(), target.ignored, strict=True)
        ]
        boxes = (target.boxes, _boxes.mirrored(target.boxes, seen.picture.size[0]))
        for levels, own in zip(seen.views, boxes, strict=False):  # there may be no mirror image
            made.append(Scene(levels, own, np.array(codes, np.intp), image))
    process.give_back()
    return made


def unreachable(scenes: Sequence[Scene], object_size: float) -> npt.NDArray[np.intp]:
    """Return image and row of the boxes that are too small or too large for every level: (n, 2)."""
    found = []
    for scene in scenes:
        reached = np.any([fits(scene.boxes, level, object_size) for level in scene.levels], axis=0)
        found += [(scene.image, int(row)) for row in np.flatnonzero(~reached & (scene.codes != IGNORED))]
    return np.array(sorted(set(found)), np.intp).reshape(-1, 2)


def warn_of_unreachable(lost: npt.NDArray[np.intp], scales: Sequence[int]) -> None:
    """Warn of boxes that no scale fits."""
    if n := len(lost):
        image, row = lost[0].tolist()
        warn(
            f"{n} boxes are too small or too large for the scales {tuple(scales)} and cannot be detected; the first is "
            f"boxes[{row}] of image {image}, `unreachable_` lists them. More scales=[...] reach them, and take time.",
            InputWarning,
        )


def warn_of_failures(failures: Sequence[Failure]) -> None:
    """Warn of images that were left out."""
    if failures:
        warn(BadSamplesWarning(failures, "images cannot be read and have no boxes"))


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
    weights = class_weights(scenes, n_classes, object_size)
    sums = [CellSums(components, n_classes, object_size, weights) for _ in range(1 + max(half_of.values()))]
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
