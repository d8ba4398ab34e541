"""The second stage: features pooled from proposed boxes move the boxes, name the class, and estimate the overlap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.base import clone

from skltransfer._engine import process
from skltransfer.detection import _boxes
from skltransfer.detection._boxes import Boxes
from skltransfer.detection._cells import IGNORED, Scene, sizes
from skltransfer.detection._maps import Level

Array = npt.NDArray[Any]

#: Bins along a side of a box; how much it is grown before; and how much for the one bin of its surroundings.
BINS, GROWN, CONTEXT = 3, 1.1, 1.7
#: Least IoU of a box from whose place an object can be reached, and from which it is learned where the object is.
REACHED = 0.45
#: IoU with an object from which a box is of its class, and below which it is background.
OBJECT, BACKGROUND = 0.5, 0.4
#: Boxes of an image that are learned from: moved copies of objects, proposals near objects, and background. Few of many
#: images are worth more than many of few, and 48 rows of 1,762 columns for each of 480 pictures are 160 MB.
JITTERED, NEAR, FAR = 16, 16, 16
#: Moved copies of an object.
COPIES = 8
#: Standard deviation of the copies: shift in shares of the size, logarithm of growth.
SHIFT, GROWTH = 0.15, 0.2
#: Rows that are handled at once where a copy of all would be large.
BLOCK = 1024
#: Share of a background box that may lie in what is ignored.
MOST_IGNORED = 0.5


class Pyramid:
    """The maps of an image, ready to be pooled."""

    def __init__(self, levels: Sequence[Level], object_size: float) -> None:
        self.levels, self.object_size = levels, object_size
        self._summed: dict[int, Array] = {}

    def features(self, boxes: Boxes) -> Array:
        """Compute the features of boxes (n, 4), each at the level where its size is nearest to the object size.

        Returns
        -------
        ndarray of shape (n, (BINS**2 + 1) * components + 2), float32
        """
        apart = [np.abs(np.log(np.maximum(sizes(boxes, level), 1e-3) / self.object_size)) for level in self.levels]
        nearest = np.argmin(apart, axis=0)
        components = self._integral(0).shape[2]
        found = np.empty((len(boxes), (BINS**2 + 1) * components + 2), np.float32)
        for number in np.unique(nearest):
            mine = nearest == number
            found[mine, :-2] = self._pooled(int(number), boxes[mine])
        size = np.array(self.levels[0].placement.original)
        found[:, -2:] = np.log(np.maximum(boxes[:, 2:] - boxes[:, :2], 1e-3) / size)
        return found

    def _pooled(self, number: int, boxes: Boxes) -> Array:
        summed, cell = self._integral(number), np.tile(self.levels[number].cell(), 2)
        inner = _boxes.pooled(summed, _boxes.grown(boxes, GROWN) / cell, BINS)
        outer = _boxes.pooled(summed, _boxes.grown(boxes, CONTEXT) / cell, 1)
        return np.concatenate([inner, outer], axis=1).reshape(len(boxes), -1)

    def _integral(self, number: int) -> Array:
        if number not in self._summed:
            self._summed[number] = _boxes.integral(self.levels[number].grid())
        return self._summed[number]


class Sample(NamedTuple):
    """Boxes of a scene that the second stage learns from.

    Attributes
    ----------
    scene : Scene
        The image.
    boxes : ndarray of shape (n, 4)
        Where they are at first.
    """

    scene: Scene
    boxes: Boxes


def choose(scene: Scene, boxes: Boxes, random: np.random.Generator) -> Sample:
    """Choose boxes of a scene to learn from: its objects moved a little, proposals near objects, and background."""
    learned = scene.boxes[scene.codes != IGNORED]
    moved = random.permutation(np.repeat(learned, COPIES, axis=0))[:JITTERED]
    moved = _boxes.moved(moved, random.normal(size=moved.shape) * [SHIFT, SHIFT, GROWTH, GROWTH])
    overlap = _most(_boxes.iou(boxes, learned))
    near, far = np.flatnonzero(overlap >= BACKGROUND), np.flatnonzero(overlap < BACKGROUND)
    half = FAR // 2  # the best ones are what is confused most, the others what is common
    far = np.concatenate([far[:half], random.permutation(far[half:])[: FAR - half]])
    chosen = np.concatenate([random.permutation(near)[:NEAR], far])
    return Sample(scene, _boxes.clipped(np.concatenate([moved, boxes[chosen]]), scene.size))


def _most(overlap: Array) -> Array:
    """Return the largest overlap of each box, 0 where there is nothing to overlap."""
    return overlap.max(axis=1) if overlap.shape[1] else np.zeros(len(overlap))


class Matched(NamedTuple):
    """Overlap of boxes.

    Attributes
    ----------
    iou : ndarray of shape (n,)
        With the object they overlap most.
    wanted : ndarray of shape (n, 4)
        The box of that object.
    codes : ndarray of shape (n,), int
        Its class.
    ignored : ndarray of shape (n,), bool
        Whether they lie in what is neither object nor background.
    """

    iou: Array
    wanted: Boxes
    codes: Array
    ignored: Array


def matched(scene: Scene, boxes: Boxes) -> Matched:
    """Match boxes with the objects of a scene."""
    learned = scene.codes != IGNORED
    overlap = _boxes.iou(boxes, scene.boxes[learned])
    ignored = _most(_boxes.covered(boxes, scene.boxes[~learned])) > MOST_IGNORED
    if not learned.any():
        return Matched(np.zeros(len(boxes)), boxes, np.full(len(boxes), IGNORED), ignored)
    best = overlap.argmax(axis=1)
    return Matched(overlap.max(axis=1), scene.boxes[learned][best], scene.codes[learned][best], ignored)


def stacked(parts: Sequence[Matched]) -> Matched:
    """Put what the boxes of several scenes overlap into one."""
    return Matched(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


class Scaler(NamedTuple):
    """Means and standard deviations of columns.

    scikit-learn's computes them in copies of double the size, which here are most of the memory.
    """

    mean: Array
    deviation: Array

    @classmethod
    def of(cls, rows: Array) -> Scaler:
        """Compute them a block of rows at a time."""
        sums, squares = np.zeros((2, rows.shape[1]))
        for start in range(0, len(rows), BLOCK):
            block = rows[start : start + BLOCK].astype(np.float64)
            sums += block.sum(axis=0)
            squares += (block**2).sum(axis=0)
        mean = sums / len(rows)
        deviation = np.sqrt(np.maximum(squares / len(rows) - mean**2, 1e-8))
        return cls(mean.astype(np.float32), deviation.astype(np.float32))

    def apply(self, rows: Array) -> Array:
        """Standardize rows in place, and return them."""
        rows -= self.mean
        rows /= self.deviation
        return rows


def compacted(rows: Array, kept: npt.NDArray[np.bool_]) -> Array:
    """Move the rows that are kept to the front, in place, and return these: a copy would be as large as the rows."""
    end = 0
    for start in range(0, len(rows), BLOCK):
        part = rows[start : start + BLOCK][kept[start : start + BLOCK]]
        rows[end : end + len(part)] = part
        end += len(part)
    return rows[:end]


class Regions:
    """The second stage.

    Parameters
    ----------
    box_regressor, box_classifier : estimators
        Cloned.
    kernel : transformer or None
        Of standardized features.
    stages : int
        How often boxes are moved.
    object_size : float
        Pixels.
    """

    def __init__(
        self, box_regressor: Any, box_classifier: Any, kernel: Any, *, stages: int, object_size: float
    ) -> None:
        self.box_regressor, self.box_classifier, self.kernel = box_regressor, box_classifier, kernel
        self.stages, self.object_size = stages, object_size

    def fit(self, samples: Sequence[Sample], n_classes: int) -> Regions:
        """Fit to the boxes of scenes: stage by stage to move them, then to class and overlap."""
        boxes = [sample.boxes for sample in samples]
        self.prepared_: list[tuple[Scaler, Any]] = []
        self.regressors_: list[Any] = []
        rows = np.empty((0, 0), np.float32)
        for _ in range(self.stages):
            del rows  # before the next ones are computed
            process.give_back()
            rows = self._prepared(self._features(samples, boxes))
            match = stacked([matched(sample.scene, b) for sample, b in zip(samples, boxes, strict=True)])
            reached = match.iou >= REACHED
            wanted = _boxes.offsets(np.concatenate(boxes)[reached], match.wanted[reached])
            self.regressors_.append(clone(self.box_regressor).fit(rows[reached], wanted))
            boxes = self._moved(samples, boxes, self.regressors_[-1].predict(rows))
        match = stacked([matched(sample.scene, b) for sample, b in zip(samples, boxes, strict=True)])
        self._fit_judges(rows, match, n_classes)
        return self

    def _fit_judges(self, rows: Array, match: Matched, n_classes: int) -> None:
        """Fit class and overlap of the boxes as they are in the end to the features of their last stage."""
        near = match.iou > BACKGROUND / 2
        self.quality_ = clone(self.box_regressor).fit(rows[near], match.iou[near])
        positive, negative = match.iou >= OBJECT, (match.iou < BACKGROUND) & ~match.ignored
        used = positive | negative
        codes = np.where(positive, match.codes, n_classes)[used]
        self.classifier_ = clone(self.box_classifier).fit(compacted(rows, used), codes)

    def _prepared(self, features: Array) -> Array:
        """Fit what comes before an estimator, columns of unit variance and the kernel, and apply it in place."""
        scaler = Scaler.of(features)
        kernel = None if self.kernel is None else clone(self.kernel)
        rows = scaler.apply(features)
        self.prepared_.append((scaler, kernel))
        return rows if kernel is None else np.asarray(kernel.fit_transform(rows), np.float32)

    def _features(self, samples: Sequence[Sample], boxes: Sequence[Boxes]) -> Array:
        """Compute the features of all boxes in one array."""
        rows, start = None, 0
        for sample, own in zip(samples, boxes, strict=True):
            part = Pyramid(sample.scene.levels, self.object_size).features(own)
            if rows is None:
                rows = np.empty((sum(map(len, boxes)), part.shape[1]), np.float32)
            rows[start : start + len(part)] = part
            start += len(part)
        process.give_back()
        assert rows is not None  # there is an object, hence a box
        return rows

    def _moved(self, samples: Sequence[Sample], boxes: Sequence[Boxes], by: Array) -> list[Boxes]:
        ends = np.cumsum([len(b) for b in boxes])[:-1]
        return [
            settled(_boxes.moved(b, part), sample.scene.size)
            for sample, b, part in zip(samples, boxes, np.split(by, ends), strict=True)
        ]

    def judge(self, levels: Sequence[Level], boxes: Boxes, n_classes: int) -> tuple[Boxes, Array, Array]:
        """Return proposals where they are moved to, the probabilities of their classes, and their quality."""
        pyramid = Pyramid(levels, self.object_size)
        for (scaler, kernel), regressor in zip(self.prepared_, self.regressors_, strict=True):
            rows = scaler.apply(pyramid.features(boxes))
            rows = rows if kernel is None else kernel.transform(rows)
            boxes = settled(_boxes.moved(boxes, regressor.predict(rows)), levels[0].placement.original)
        shares = np.zeros((len(boxes), n_classes + 1))
        shares[:, self.classifier_.classes_] = self.classifier_.predict_proba(rows)
        return boxes, shares[:, :n_classes], np.clip(self.quality_.predict(rows), 0, 1)


def settled(boxes: Boxes, size: tuple[int, int]) -> Boxes:
    """Clip boxes to their image, and leave each at least a pixel wide and high."""
    boxes = _boxes.clipped(boxes, size)
    high = np.tile(np.array(size, float), 1)
    low = np.minimum(boxes[:, :2], np.maximum(high - 1, 0))
    return np.hstack([low, np.maximum(boxes[:, 2:], low + 1)])
