"""Figures drawn with matplotlib, and tables as text.

The room is given results and knows nothing of how they were computed. Figures are created without pyplot: no window
opens, and the caller's figures and settings do not change.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any, BinaryIO, Protocol

import numpy as np
import numpy.typing as npt

from skltransfer._engine.modalities import image as images
from skltransfer.cards import ImageSpec
from skltransfer.errors import need

__all__ = [
    "SUFFIXES",
    "Comparison",
    "flat_map",
    "learning_curves_and_map",
    "pareto_front",
    "score_against_cost",
    "table",
]

Points = npt.NDArray[np.floating[Any]]

#: Suffixes of the formats that matplotlib writes on every platform.
SUFFIXES = (".pdf", ".png", ".svg")
#: Dots per inch; side of a thumbnail in pixels, and in points as drawn.
DPI, THUMBNAIL, SHOWN = 150, 64, 17.0
#: Most thumbnails of a map, and their least distance as a fraction of its width.
MOST_THUMBNAILS, APART = 60, 0.055
#: Most classes that a legend names.
MOST_NAMED = 12
INK, PALE, GRID = "#2b2b33", "#8d8d96", "#e9e9ee"
#: A color and a marker per curve, so that curves can be distinguished without colors.
LINES = (("#1f5fbf", "o"), ("#c2571a", "s"), ("#4d8f3c", "^"), ("#7a4fa3", "D"))
STYLE = {
    "font.size": 9.5,
    "text.color": INK,
    "axes.edgecolor": PALE,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "xtick.color": PALE,
    "ytick.color": PALE,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "svg.hashsalt": "skltransfer",
}


class Curve(Protocol):
    """A learning curve."""

    @property
    def name(self) -> str:
        """Label of the curve."""

    @property
    def mean(self) -> Sequence[float]:
        """Mean scores, from 0 to 1."""

    @property
    def std(self) -> Sequence[float]:
        """Standard deviations of the scores."""


class Data(Protocol):
    """Labeled images."""

    @property
    def samples(self) -> Sequence[Any]:
        """Images, as `images.read` takes them."""

    @property
    def y(self) -> npt.NDArray[np.int64]:
        """Classes, as indices into `names`."""

    @property
    def names(self) -> Sequence[str]:
        """Names of the classes."""


class Comparison(Protocol):
    """Input of `learning_curves_and_map`; `demo.Result` is one."""

    @property
    def model(self) -> str:
        """Name of the backbone."""

    @property
    def labels(self) -> Sequence[int]:
        """Numbers of labels per class."""

    @property
    def curves(self) -> Sequence[Curve]:
        """Curves, each with a score for every entry of `labels`."""

    @property
    def data(self) -> Data:
        """The images."""

    @property
    def rows(self) -> npt.NDArray[np.float32]:
        """Embeddings of the images."""


def learning_curves_and_map(result: Comparison, path: str | os.PathLike[str]) -> None:
    """Draw learning curves on the left and a map of the embeddings on the right.

    Parameters
    ----------
    result : Comparison
        For instance a `demo.Result`.
    path : path
        File to write; it ends in one of `SUFFIXES`. The same result gives the same PNG.

    Raises
    ------
    MissingDependencyError
        If matplotlib is not installed.
    """
    style = need("matplotlib.style", extra="plot")
    places = flat_map(result.rows)
    with style.context(["default", STYLE]):
        figure = need("matplotlib.figure", extra="plot").Figure(figsize=(12.4, 5.6), dpi=DPI, layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(0.78, 1))
        figure.get_layout_engine().set(w_pad=0.12, h_pad=0.1, wspace=0.04)
        _draw_curves(left, result)
        _draw_map(right, result, places)
        figure.savefig(path, facecolor="white")


def score_against_cost(frame: Any, path: str | os.PathLike[str] | BinaryIO) -> None:
    """Draw the result of `selection.compare_backbones`: the score of each backbone against the time per sample.

    Parameters
    ----------
    frame : pandas.DataFrame
        With the columns ``score``, ``score_std``, ``knn`` and ``ms_per_sample``, indexed by the names of backbones.
    path : path or binary file
        A path ends in one of `SUFFIXES`; a file gets a PNG.

    Notes
    -----
    A dot is the mean of the folds, a bar their standard deviation, and a cross the score of the nearest neighbors. The
    line is the Pareto front: it joins the backbones that no cheaper one beats.

    Raises
    ------
    MissingDependencyError
        If matplotlib is not installed.
    """
    style = need("matplotlib.style", extra="plot")
    with style.context(["default", STYLE]):
        figure = need("matplotlib.figure", extra="plot").Figure(figsize=(7.2, 4.6), dpi=DPI, layout="constrained")
        axes = figure.subplots()
        (color, marker), (other, _) = LINES[:2]
        time, score = frame["ms_per_sample"].to_numpy(), frame["score"].to_numpy()
        best = pareto_front(time, score)
        axes.plot(time[best], score[best], color=color, linewidth=1, alpha=0.5, zorder=1)
        axes.errorbar(
            time, score, frame["score_std"], fmt=marker, color=color, elinewidth=1, label="probe, mean and std"
        )
        axes.scatter(time, frame["knn"], marker="x", color=other, s=26, label="nearest neighbors, leave-one-out")
        for name, x, y in zip(frame.index, time, score, strict=True):
            axes.annotate(name, (x, y), (7, 5), textcoords="offset points", fontsize=8.5)
        axes.set(xlabel="ms per sample", ylabel="score", title="Score and cost of backbones")
        axes.set_xlim(0, 1.25 * time.max())
        axes.grid(color=GRID)
        axes.set_axisbelow(True)
        axes.legend(frameon=False, fontsize=8.5)
        figure.savefig(path, facecolor="white")


def pareto_front(cost: npt.NDArray[Any], score: npt.NDArray[Any]) -> list[int]:
    """Return the Pareto front: indices of backbones that no cheaper one beats, cheapest first."""
    chosen: list[int] = []
    for index in np.lexsort((-score, cost)):
        if not chosen or score[index] > score[chosen[-1]]:
            chosen.append(int(index))
    return chosen


def flat_map(rows: npt.NDArray[np.float32], seed: int = 0) -> Points:
    """Project embeddings to the plane, by PCA and then t-SNE.

    Parameters
    ----------
    rows : ndarray of shape (n, columns)
        At least two rows.
    seed : int
        The same rows and seed give the same map.

    Returns
    -------
    ndarray of shape (n, 2)
        Coordinates from 0 to 1.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    columns = min(50, *rows.shape)
    short = PCA(columns, svd_solver="full").fit_transform(rows.astype(np.float64))
    perplexity = min(30.0, (len(rows) - 1) / 3)
    tsne = TSNE(perplexity=perplexity, init="random" if columns < 2 else "pca", random_state=seed)
    with threadpool_limits(1):  # faster for so few points (measured: 3 s, with two threads 20 s)
        places = tsne.fit_transform(short)
    low, high = places.min(axis=0), places.max(axis=0)
    return np.asarray((places - low) / np.maximum(high - low, 1e-12))


def _draw_curves(axes: Any, result: Comparison) -> None:
    """Draw a line and a band per curve, with its name at the end."""
    x = np.asarray(result.labels)
    heights = push_apart([100 * curve.mean[-1] for curve in result.curves], 10.0)
    for curve, height, (color, marker) in zip(result.curves, heights, LINES, strict=False):
        mean, std = 100 * np.asarray(curve.mean), 100 * np.asarray(curve.std)
        axes.fill_between(x, mean - std, mean + std, color=color, alpha=0.14, linewidth=0)
        axes.plot(x, mean, color=color, marker=marker, markersize=5, linewidth=2)
        axes.annotate(
            f"{curve.name}\n{mean[-1]:.0f} %", (x[-1], height), (9, 0), textcoords="offset points", va="center",
            color=color, fontweight="bold", annotation_clip=False,
        )  # fmt: skip
    _finish_curves(axes, x, 100 * float(np.bincount(result.data.y).max()) / len(result.data.y))


def push_apart(values: Sequence[float], gap: float) -> list[float]:
    """Increase numbers, keeping their order, until all are at least `gap` apart."""
    moved, floor = [0.0] * len(values), -np.inf
    for index in np.argsort(values, kind="stable"):
        floor = moved[index] = max(float(values[index]), floor + gap)
    return moved


def _finish_curves(axes: Any, x: npt.NDArray[Any], chance: float) -> None:
    """Draw the chance level, and set scales, ticks and labels."""
    axes.plot(x[[0, -1]], [chance, chance], color=PALE, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    axes.annotate("most frequent class", (x[0], chance), (0, 3), textcoords="offset points", color=PALE, fontsize=8.5)
    axes.set_xscale("log")
    axes.set_xticks(x, [str(k) for k in x])
    axes.set_xticks([], minor=True)
    axes.set_xlim(x[0] / 1.1, x[-1] * (x[-1] / x[0]) ** 0.3 if len(x) > 1 else x[-1] * 2)
    axes.set_ylim(0, 100)
    axes.grid(axis="y", color=GRID)
    axes.set_axisbelow(True)
    axes.set_xlabel("labels per class")
    axes.set_ylabel("accuracy on unseen images, %")
    axes.set_title("Accuracy with few labels")


def _draw_map(axes: Any, result: Comparison, places: Points) -> None:
    """Draw a dot per image, colored by class, and thumbnails of some images."""
    colors = class_colors(len(result.data.names))
    for label, name in enumerate(result.data.names):
        members = places[result.data.y == label]
        axes.scatter(*members.T, s=16, color=colors[label], alpha=0.75, linewidths=0, label=name)
    for index in spread(places, MOST_THUMBNAILS, APART):
        _add_thumbnail(axes, result.data.samples[index], places[index], colors[result.data.y[index]])
    axes.set(xlim=(-0.04, 1.04), ylim=(-0.04, 1.04), xticks=[], yticks=[])
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.set_title(f"{len(places)} images embedded by {result.model} (t-SNE)")
    if len(result.data.names) <= MOST_NAMED:
        axes.legend(
            loc="upper center", bbox_to_anchor=(0.5, 0), ncols=4, frameon=False, handletextpad=0.1, columnspacing=1.2,
            markerscale=1.6, fontsize=9,
        )  # fmt: skip


def _add_thumbnail(axes: Any, sample: Any, place: Points, color: Any) -> None:
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    spec = ImageSpec((THUMBNAIL, THUMBNAIL), resize_to=THUMBNAIL, draft=True, max_pixels=2**31)
    picture = OffsetImage(images.prepare(images.read(sample), spec), zoom=SHOWN / THUMBNAIL)
    frame = {"edgecolor": color, "linewidth": 1.3, "boxstyle": "round,pad=0.1,rounding_size=0.2"}
    axes.add_artist(AnnotationBbox(picture, tuple(place), pad=0.1, bboxprops=frame))


def class_colors(count: int) -> list[Any]:
    """Return colors of a qualitative colormap if it has enough of them, else of a continuous one."""
    colormaps = need("matplotlib", extra="plot").colormaps
    for size, name in ((10, "tab10"), (20, "tab20")):
        if count <= size:
            return list(colormaps[name].colors[:count])
    return list(colormaps["turbo"](np.linspace(0.03, 0.97, count)))


def spread(places: Points, most: int, apart: float) -> list[int]:
    """Choose points that are far from each other.

    Parameters
    ----------
    places : ndarray of shape (n, 2)
        Coordinates of all points.
    most : int
        Most points to choose.
    apart : float
        Least distance, as maximum over both axes because thumbnails are squares.

    Returns
    -------
    list of int
        Indices. The first point is the nearest to the center, each next one the farthest from those chosen.
    """
    chosen = [int(np.abs(places - places.mean(axis=0)).max(axis=1).argmin())]
    distance = np.abs(places - places[chosen[0]]).max(axis=1)
    while len(chosen) < min(most, len(places)) and distance.max() >= apart:
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.abs(places - places[chosen[-1]]).max(axis=1))
    return chosen


def table(rows: Iterable[Sequence[object]], header: Sequence[str] = ()) -> str:
    """Format rows as a text table with aligned columns.

    Parameters
    ----------
    rows : iterable of sequences
        Values are formatted with ``str``.
    header : sequence of str
        Names of the columns, with a rule below.

    Returns
    -------
    str
        Lines without trailing blanks, and without a final newline.
    """
    cells = [[str(value) for value in row] for row in rows]
    if header:
        widths = [max(len(row[i]) for row in [list(header), *cells]) for i in range(len(header))]
        cells = [list(header), ["-" * width for width in widths], *cells]
    else:
        widths = [max(len(value) for value in column) for column in zip(*cells, strict=True)]
    lines = ("  ".join(f"{value:{width}}" for value, width in zip(row, widths, strict=True)) for row in cells)
    return "\n".join(line.rstrip() for line in lines)
