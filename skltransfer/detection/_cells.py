"""The first stage: each cell of the maps says whether it is in the middle of an object, and where its box is.

A cell sees its neighborhood of 3 x 3 cells. Regressions are solved from sums (`_gram`); applied to maps they are a
convolution, computed as one product and nine shifts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from skltransfer.detection import _boxes
from skltransfer.detection._boxes import Boxes
from skltransfer.detection._gram import Gram, ridge
from skltransfer.detection._maps import Level

Array = npt.NDArray[Any]

#: Share of a box, about its center, whose cells are positive.
MIDDLE = 0.4
#: Objects of these multiples of ``object_size`` belong to a level.
SMALLEST, LARGEST = 0.5, 1.8
#: Positive cells of an image and level that are learned from at most; background cells at random, and hard ones.
POSITIVES, NEGATIVES, HARD = 60, 100, 25
#: Label of cells that are neither background nor an object.
IGNORED = -1
#: Best cells of a level that become boxes.
CANDIDATES = 200


class Scene(NamedTuple):
    """An image to learn from: maps at every scale, and what is in it.

    Attributes
    ----------
    levels : tuple of Level
        One for each scale.
    boxes : ndarray of shape (n, 4)
        xyxy in pixels.
    codes : ndarray of shape (n,), int
        Class of each, `IGNORED` for what is neither learned nor background.
    image : int
        Index; a mirror image has that of its original.
    """

    levels: tuple[Level, ...]
    boxes: Boxes
    codes: npt.NDArray[np.intp]
    image: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.levels[0].placement.original


def sizes(boxes: Boxes, level: Level) -> Array:
    """Compute the sides of squares as large as the boxes, in pixels of the level's input."""
    return np.asarray(np.sqrt(np.maximum(_boxes.areas(boxes), 0) / np.prod(level.placement.scale)))


def fits(boxes: Boxes, level: Level, object_size: float) -> npt.NDArray[np.bool_]:
    """Return which boxes have a size that belongs to a level."""
    size = sizes(boxes, level) / object_size
    return np.asarray((size >= SMALLEST) & (size <= LARGEST))


def centers(level: Level) -> Array:
    """Return the centers of the cells of a level, (rows * columns, 2): x and y in pixels of the image."""
    rows, columns = level.shapes[len(level.shapes) // 2][:2]
    width, height = level.cell()
    y, x = np.mgrid[:rows, :columns] + 0.5
    return np.column_stack([x.ravel() * width, y.ravel() * height])


def assign(scene: Scene, level: Level, object_size: float, background: int) -> tuple[Array, Array]:
    """Assign each cell of a level to what it should say.

    Returns
    -------
    codes : ndarray of shape (cells,), int
        Class, `background`, or `IGNORED` inside of an object and outside of the image.
    boxes : ndarray of shape (cells,), int
        Index of the box of a positive cell.
    """
    where = centers(level)
    codes, owner = np.full(len(where), background), np.zeros(len(where), np.intp)
    codes[(where > scene.size).any(axis=1)] = IGNORED
    if not len(scene.boxes):
        return codes, owner
    inside = _within(where, scene.boxes)
    codes[inside.any(axis=1)] = IGNORED
    learned = (scene.codes != IGNORED) & fits(scene.boxes, level, object_size)
    for box in np.flatnonzero(learned)[np.argsort(-_boxes.areas(scene.boxes[learned]), kind="stable")]:
        middle = _boxes.grown(scene.boxes[[box]], MIDDLE)
        near = _within(where, middle)[:, 0]
        near[np.abs(where - (middle[0, :2] + middle[0, 2:]) / 2).sum(axis=1).argmin()] = True
        codes[near], owner[near] = scene.codes[box], box  # smaller boxes come later and keep their cells
    return codes, owner


def _within(points: Array, boxes: Boxes) -> npt.NDArray[np.bool_]:
    """Return which points (n, 2) lie in which boxes (m, 4): (n, m)."""
    low, high = points[:, None] >= boxes[None, :, :2], points[:, None] < boxes[None, :, 2:]
    return np.asarray((low & high).all(axis=2))


def neighborhoods(grid: Array, cells: Array) -> Array:
    """Return the 3 x 3 neighborhoods (n, 9 * components) of some cells of a grid."""
    padded = np.pad(grid, ((1, 1), (1, 1), (0, 0)))
    row, column = np.divmod(cells, grid.shape[1])
    parts = [padded[row + down, column + right] for down in range(3) for right in range(3)]
    return np.concatenate(parts, axis=1)


def convolved(grid: Array, weights: Array) -> Array:
    """Apply a regression of neighborhoods, weights and intercept, to all cells of a grid: (cells, outputs)."""
    height, width, components = grid.shape
    outputs = weights.shape[1]
    kernel = weights[:-1].reshape(9, components, outputs).transpose(1, 0, 2).reshape(components, -1)
    padded = np.pad(grid, ((1, 1), (1, 1), (0, 0)))
    each = (padded.reshape(-1, components) @ kernel).reshape(height + 2, width + 2, 9, outputs)
    shifted = (each[n // 3 : n // 3 + height, n % 3 : n % 3 + width, n] for n in range(9))
    return np.asarray(sum(shifted) + weights[-1]).reshape(-1, outputs)


class Cells(NamedTuple):
    """The fitted first stage.

    Attributes
    ----------
    weights : ndarray of shape (9 * components + 1, n_classes + 1 + 4), float32
        Classes, background and box of each cell.
    scale : ndarray of shape (n_classes + 2,), float32
        Of the logistic regression that turns classes and background into the share of objects.
    object_size : float
        Pixels.
    """

    weights: Array
    scale: Array
    object_size: float

    def scores(self, grid: Array) -> tuple[Array, Array]:
        """Return the probability of an object, and the box as `decoded` takes it, of each cell of a grid."""
        outputs = convolved(grid, self.weights)
        logit = outputs[:, :-4] @ self.scale[:-1] + self.scale[-1]
        return 1 / (1 + np.exp(-np.clip(logit, -30, 30))), outputs[:, -4:]

    def propose(self, levels: Sequence[Level], n: int, overlap: float = 0.7) -> tuple[Boxes, Array]:
        """Return the best boxes of an image, and their scores."""
        found = [self._of_level(level) for level in levels]
        boxes, scores = (np.concatenate(parts) for parts in zip(*found, strict=True))
        size = boxes[:, 2:] - boxes[:, :2]
        boxes, scores = boxes[(size >= 1).all(axis=1)], scores[(size >= 1).all(axis=1)]
        kept = _boxes.nms(boxes, scores, overlap)[:n]
        return boxes[kept], scores[kept]

    def _of_level(self, level: Level) -> tuple[Boxes, Array]:
        scores, by = self.scores(level.grid())
        where = centers(level)
        scores = np.where((where > level.placement.original).any(axis=1), 0, scores)
        best = np.argsort(-scores, kind="stable")[:CANDIDATES]
        boxes = _boxes.moved(_squares(where[best], level, self.object_size), by[best])
        return _boxes.clipped(boxes, level.placement.original), scores[best]


def _squares(where: Array, level: Level, object_size: float) -> Boxes:
    """Return the boxes that cells move: squares of the object size about their centers."""
    half = object_size * np.array(level.placement.scale) / 2
    return np.hstack([where - half, where + half])


def class_weights(scenes: Sequence[Scene], n_classes: int, object_size: float) -> Array:
    """Compute weights of cells so that classes have equal ones in sum, and cells 1 on average.

    Without them small and rare objects are lost: of a blood smear most boxes are red cells, and each has five times
    the cells of a platelet, so that regressions learn what is red, and propose it alone.
    """
    counts = np.zeros(n_classes + 1, np.intp)
    for scene in scenes:
        for level in scene.levels:
            codes = assign(scene, level, object_size, n_classes)[0]
            counts += np.bincount(codes[codes != IGNORED], minlength=n_classes + 1)
    some = np.maximum(counts[:n_classes], 1)
    return np.asarray(counts[:n_classes].sum() / np.count_nonzero(counts[:n_classes]) / some)


class CellSums:
    """Contribution of a set of images to the first stage; sums of several sets are fitted together.

    Parameters
    ----------
    components : int
        Of a cell.
    n_classes : int
        Without background.
    object_size : float
        Pixels.
    weights : ndarray of shape (n_classes,)
        Of a cell of each class, from `class_weights`.
    """

    def __init__(self, components: int, n_classes: int, object_size: float, weights: Array) -> None:
        self.n_classes, self.object_size, self.weights = n_classes, object_size, weights
        outputs = n_classes + 1 + 4
        self.positive, self.background = (Gram(9 * components, outputs) for _ in range(2))
        #: Cells that were learned from, by scene: level, cells, codes.
        self.learned: list[tuple[Level, Array, Array]] = []

    def add(self, scene: Scene, random: np.random.Generator) -> None:
        """Add the positive cells of a scene and background cells at random."""
        for level in scene.levels:
            codes, owner = assign(scene, level, self.object_size, self.n_classes)
            positive = _some(np.flatnonzero((codes != IGNORED) & (codes < self.n_classes)), POSITIVES, random)
            negative = _some(np.flatnonzero(codes == self.n_classes), NEGATIVES, random)
            grid, where = level.grid(), centers(level)
            by = _boxes.offsets(_squares(where[positive], level, self.object_size), scene.boxes[owner[positive]])
            own = self.weights[codes[positive]]
            self.positive.add(neighborhoods(grid, positive), self._wanted(codes[positive], by), own)
            self._add_background(level, grid, negative)
            self.learned.append((level, positive, codes[positive]))

    def add_hard(self, scene: Scene, cells: Cells) -> None:
        """Add the background cells of a scene that a fitted stage takes for objects most."""
        for level in scene.levels:
            codes, _ = assign(scene, level, self.object_size, self.n_classes)
            grid = level.grid()
            scores = np.where(codes == self.n_classes, cells.scores(grid)[0], -1)
            hard = np.argsort(-scores, kind="stable")[:HARD]
            self._add_background(level, grid, hard[scores[hard] >= 0])

    def _add_background(self, level: Level, grid: Array, cells: Array) -> None:
        codes = np.full(len(cells), self.n_classes)
        self.background.add(neighborhoods(grid, cells), self._wanted(codes, np.zeros((len(cells), 4))))
        self.learned.append((level, cells, codes))

    def _wanted(self, codes: Array, by: Array) -> Array:
        return np.hstack([np.eye(self.n_classes + 1)[codes], by])


def fit_cells(parts: Sequence[CellSums], alpha: float) -> Cells:
    """Fit the first stage to the sums of some sets: objects and background have equal weights."""
    from sklearn.linear_model import LogisticRegression

    first = parts[0]
    positive, background = [p.positive.total() for p in parts], [p.background.total() for p in parts]
    n_positive, n_background = (max(1, sum(n for n, _ in some)) for some in (positive, background))
    half = (n_positive + n_background) / 2
    grams = [(half / n_positive, s) for _, s in positive] + [(half / n_background, s) for _, s in background]
    weights = ridge(grams, alpha)
    weights[:, -4:] = ridge([(1.0, sums) for _, sums in positive], alpha)[:, -4:]
    outputs, all_codes = [], []
    for level, cells, codes in (one for part in parts for one in part.learned):
        outputs.append(convolved(level.grid(), weights[:, :-4])[cells])
        all_codes.append(codes)
    codes = np.concatenate(all_codes)
    model = LogisticRegression(C=100.0).fit(
        np.concatenate(outputs), codes < first.n_classes, sample_weight=np.append(first.weights, 1.0)[codes]
    )
    return Cells(weights, np.append(model.coef_[0], model.intercept_).astype(np.float32), first.object_size)


def _some(indices: Array, most: int, random: np.random.Generator) -> Array:
    """Choose some at random if there are more."""
    return indices if len(indices) <= most else random.choice(indices, most, replace=False)
