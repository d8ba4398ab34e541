"""Accuracy of a classifier on real images, at several numbers of labels, with a backbone and without one.

The room computes and returns a `Result`; it prints and draws nothing. Labeled images come from a folder with one
subfolder per class, or from `datasets.load_emoji`. The embeddings are computed once, outside the folds: a backbone
learns nothing from the samples, so the scores are those of the whole pipeline (a test compares).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from skltransfer._engine import catalog, judge, process, runtime, stream
from skltransfer._engine import plan as plans
from skltransfer._engine.listing import ADVICE, SUFFIXES, check_is_folder, list_classes
from skltransfer._engine.modalities import image as images
from skltransfer._engine.samples import Samples
from skltransfer.cards import Card, ImageSpec
from skltransfer.datasets import load_emoji
from skltransfer.errors import CardError, Failure, FolderError

Indices = npt.NDArray[np.int64]

#: Most images of a demo: more would take minutes. With many classes, `MIN_PER_CLASS` images of each are used instead.
MAX_IMAGES, MIN_PER_CLASS = 1000, 20
#: Folds and their repetitions. A class needs as many images as folds, to be in both parts of every split.
FOLDS, REPEATS = 5, 2
#: Numbers of labels per class, as far as the images allow; all labels come last.
LABELS = (2, 5, 10, 20, 50, 100)
#: Preparation for the baseline. The backbone has read the images before, so there is no limit of their size.
BASELINE = ImageSpec(size=(32, 32), resize="squash", draft=True, max_pixels=2**31)


class LabeledImages(NamedTuple):
    """Images and their classes.

    Attributes
    ----------
    samples : list
        Paths, or encoded images.
    y : ndarray of shape (n,), int64
        Indices into `names`.
    names : tuple of str
        Names of the classes.
    """

    samples: list[Any]
    y: Indices
    names: tuple[str, ...]

    def subset(self, chosen: Indices) -> LabeledImages:
        """Return some of the images."""
        return self._replace(samples=[self.samples[i] for i in chosen], y=self.y[chosen])

    def counts(self) -> Indices:
        """Count the images of each class."""
        return np.bincount(self.y, minlength=len(self.names))


@dataclass(frozen=True)
class Curve:
    """Accuracy against the number of labels.

    Parameters
    ----------
    name : str
        Label of the curve.
    mean, std : tuple of float
        Over the splits, from 0 to 1, for every entry of `Result.labels`.
    """

    name: str
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class Result:
    """Result of the demo.

    Parameters
    ----------
    model, device : str
        Name of the backbone, and the device it ran on.
    found : int
        Number of images found; of many, `MAX_IMAGES` are used, or `MIN_PER_CLASS` of every class if that is more.
    data : LabeledImages
        The images used.
    rows : ndarray of shape (n, columns), float32
        Their embeddings.
    labels : tuple of int
        Numbers of labels per class; the last is the average if all labels are used.
    curves : tuple of Curve
        Of the embedding, and of the baseline.
    images_per_second : float
        Speed of the embedding: read, decode, prepare and run.
    dropped : tuple of Failure
        Images that could not be read.
    """

    model: str
    device: str
    found: int
    data: LabeledImages
    rows: npt.NDArray[np.float32]
    labels: tuple[int, ...]
    curves: tuple[Curve, ...]
    images_per_second: float
    dropped: tuple[Failure, ...] = ()

    @property
    def enough(self) -> int | None:
        """Labels per class with which the embedding beats all labels of the baseline; None if it never does."""
        embedding, baseline = self.curves
        better = (k for k, mean in zip(self.labels, embedding.mean, strict=True) if mean > baseline.mean[-1])
        return next(better, None)


def run(
    folder: str | os.PathLike[str] | None = None,
    *,
    model: str | os.PathLike[str] | Card = "vision-mini",
    device: str = "auto",
    seed: int = 0,
    log: Callable[[str], None] = lambda text: None,
) -> Result:
    """Compare embeddings with raw pixels on labeled images, at several numbers of labels.

    Parameters
    ----------
    folder : path, optional
        Folder with one subfolder of images per class; by default the emoji of `datasets.load_emoji`.
    model, device
        As in `PretrainedEmbedder`.
    seed : int
        Seed of the splits, and of the choice of images if there are too many.
    log : callable
        Called with a few words about the next step.

    Returns
    -------
    Result

    Raises
    ------
    FolderError
        If the folder does not hold at least two classes of at least five images that can be read.
    ModelError, DeviceError
        If the backbone cannot be used.
    """
    plan = _plan(model, device)
    everything = load(folder)
    data = _some(everything, seed)
    log(f"embedding {len(data.y)} images of {len(data.names)} classes with {plan.card.name} on {plan.device}")
    embedded, speed = _embed(data.samples, plan)
    failed = np.array([failure.index for failure in embedded.failures], np.int64)
    readable = np.setdiff1d(np.arange(len(data.y)), failed)
    dropped = tuple(embedded.failures)
    data, rows = _checked(data.subset(readable), folder, dropped), embedded.rows[readable]
    log("learning from embeddings and from raw pixels")
    labels, curves = _compare(rows, _pixels(data.samples), data, seed)
    return Result(plan.card.name, str(plan.device), len(everything.y), data, rows, labels, curves, speed, dropped)


def _plan(model: str | os.PathLike[str] | Card, device: str) -> plans.Plan:
    card = catalog.load_card(model)
    if not isinstance(card.input, ImageSpec):
        raise CardError(f"The demo needs an image backbone; {card.name!r} takes samples of modality {card.modality!r}.")
    return plans.make(card, runtime.resolve(device))


# ---------------------------------------------------------------------------------------------------------------------
# Images


def load(folder: str | os.PathLike[str] | None = None) -> LabeledImages:
    """List the labeled images of a folder, or load the emoji.

    Parameters
    ----------
    folder : path, optional
        Folder with one subfolder of images per class. Hidden files and files with other suffixes than `SUFFIXES` are
        ignored.

    Returns
    -------
    LabeledImages
        Sorted by class, then by name.

    Raises
    ------
    FolderError
        If there are fewer than two classes, or fewer than five images of a class.
    """
    if folder is None:
        emoji: Any = load_emoji()
        return LabeledImages(emoji.images, emoji.target, tuple(emoji.target_names))
    place = process.expand(folder)
    check_is_folder(place)
    classes, _ = list_classes(place)
    samples = [path for files in classes.values() for path in files]
    y = np.repeat(np.arange(len(classes)), [len(files) for files in classes.values()])
    return _checked(LabeledImages(samples, y, tuple(classes)), folder)


def _checked(data: LabeledImages, folder: object, dropped: Sequence[Failure] = ()) -> LabeledImages:
    """Check that every class can be cross-validated."""
    if len(data.names) < 2:
        found = f"only {data.names[0]!r}" if data.names else "none"
        raise FolderError(f"The folder {str(folder)!r} needs two or more classes, it has {found}. {ADVICE}")
    few = [f"{name!r} ({n})" for name, n in zip(data.names, data.counts(), strict=True) if n < FOLDS]
    if few:
        raise FolderError(
            f"The folder {str(folder)!r} has too few readable images of {', '.join(few)}: each class needs {FOLDS}. "
            f"Add some ({', '.join(SUFFIXES)}), or move the subfolder away."
            + (f" {len(dropped)} cannot be read, the first is {dropped[0]}." if dropped else "")
        )
    return data


def _some(data: LabeledImages, seed: int) -> LabeledImages:
    """Return so many random images of each class that the demo takes seconds."""
    most = max(MAX_IMAGES // len(data.names), MIN_PER_CLASS)
    mixed = np.random.default_rng(seed).permutation(len(data.y))
    return data.subset(np.sort(_first_of_each(mixed, data.y, most)))


def _first_of_each(order: Indices, y: Indices, most: int) -> Indices:
    """Return the first few images of each class, in the given order."""
    kept = [order[y[order] == label][:most] for label in np.unique(y)]
    return np.concatenate(kept)


# ---------------------------------------------------------------------------------------------------------------------
# Features


def _embed(samples: Sequence[Any], plan: plans.Plan) -> tuple[stream.Embedded, float]:
    """Embed, and measure images per second once the backbone is open."""
    stream.open_backbone(plan)
    start = time.perf_counter()
    options = stream.Options(n_jobs=None, skip_bad=True)
    embedded = stream.embed(Samples(samples, len(samples)), plan, options=options)
    return embedded, len(samples) / (time.perf_counter() - start)


def _pixels(samples: Sequence[Any]) -> npt.NDArray[np.float32]:
    """Return the pixels of every image, scaled down."""
    small = [images.prepare(images.read(sample), BASELINE).ravel() for sample in samples]
    return np.stack(small).astype(np.float32)


# ---------------------------------------------------------------------------------------------------------------------
# Scores


def _compare(
    rows: npt.NDArray[np.float32], pixels: npt.NDArray[np.float32], data: LabeledImages, seed: int
) -> tuple[tuple[int, ...], tuple[Curve, ...]]:
    """Cross-validate a classifier on embeddings and on pixels, on the same splits."""
    counts = data.counts()
    smallest = int((counts - -(-counts // FOLDS)).min())  # labels of the rarest class in a training part
    sizes = [k for k in LABELS if k < smallest]
    splits = [list(_splits(data.y, k, seed)) for k in (*sizes, len(data.y))]
    curves = (
        _curve("embedding", judge.linear_classifier(scale=False), rows, data.y, splits),
        _curve("raw pixels", judge.linear_classifier(scale=True), pixels, data.y, splits),
    )
    return (*sizes, round(len(splits[-1][0][0]) / len(data.names))), curves


def _splits(y: Indices, labels: int, seed: int) -> Iterator[tuple[Indices, Indices]]:
    """Yield stratified splits whose training parts hold at most `labels` samples of each class."""
    from sklearn.model_selection import RepeatedStratifiedKFold

    rng = np.random.default_rng(seed)
    for train, test in RepeatedStratifiedKFold(n_splits=FOLDS, n_repeats=REPEATS, random_state=seed).split(y, y):
        yield _first_of_each(rng.permutation(train), y, labels), test


def _curve(
    name: str,
    estimator: Any,
    columns: npt.NDArray[np.float32],
    y: Indices,
    splits: Sequence[Sequence[tuple[Indices, Indices]]],
) -> Curve:
    scores = [judge.cross_validate(estimator, columns, y, split) for split in splits]
    return Curve(name, tuple(float(s.mean()) for s in scores), tuple(float(s.std()) for s in scores))
