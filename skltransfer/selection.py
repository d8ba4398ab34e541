"""Comparison of backbones, and groups of near-duplicate samples.

The room uses the embedder as any user does. It computes and caches no embeddings itself.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt

from skltransfer._engine import catalog, judge, runtime
from skltransfer.cards import Card
from skltransfer.embedder import PretrainedEmbedder
from skltransfer.errors import need

__all__ = [
    "compare_backbones",
    "near_duplicate_groups",
]

Rows = npt.NDArray[np.float32]
Indices = npt.NDArray[np.intp]

#: Samples that are embedded again to measure the time, if the cache had more than half of the rows.
TIMED = 64
COLUMNS = ("score", "score_std", "knn", "logme", "dim", "ms_per_sample", "model_mb", "embedding_mb")


def compare_backbones(
    X: Any,
    y: Any,
    models: Sequence[str | os.PathLike[str] | Card] | Mapping[str, str | os.PathLike[str] | Card | PretrainedEmbedder],
    *,
    groups: Any = None,
    probe: Any = None,
    cv: Any = 5,
    scoring: Any = None,
    cache: str | os.PathLike[str] | bool | None = "memory",
    device: str = "auto",
    n_jobs: int | None = None,
) -> Any:
    """Compare backbones on labeled samples, by the scores and the cost of their embeddings.

    Parameters
    ----------
    X : list, array or column of n samples
        Samples, as `PretrainedEmbedder` takes them.
    y : array-like of shape (n,)
        Classes, or numbers for a regression.
    models : list of str, path or Card, or dict
        Backbones, as `PretrainedEmbedder` takes them. Pass a dict to name them yourself, or to compare embedders with
        other layers, poolings or settings; these keep their own `cache`, `device` and `n_jobs`.
    groups : array-like of shape (n,), default=None
        Samples of a group are never on both sides of a split, and are not counted as neighbors of each other. Pass
        `near_duplicate_groups` if the data hold duplicates, which would make the scores too good.
    probe : estimator, default=None
        Estimator to cross-validate on the embeddings. None is ``StandardScaler`` and ``LogisticRegression(C=0.01)`` for
        classes, ``StandardScaler`` and ``RidgeCV`` for numbers.
    cv : int, splitter or iterable, default=5
        As in `sklearn.model_selection.cross_val_score`; an int makes stratified folds for classes, and folds that keep
        groups together if there are groups.
    scoring : str or callable, default=None
        Score of the probe; None is accuracy for classes and R2 for numbers.
    cache : "memory", path of a folder, True or None, default="memory"
        As in `PretrainedEmbedder`. A search that follows reads the rows from it.
    device : str, default="auto"
        As in `PretrainedEmbedder`.
    n_jobs : int or None, default=None
        Threads that embed, and that fit the probe. None: as many as this process may keep busy.

    Returns
    -------
    pandas.DataFrame
        A row per backbone, the best score first, indexed by ``model``:

        - ``score``, ``score_std``: mean and standard deviation over the folds of the probe's score;
        - ``knn``: leave-one-out accuracy (or R2) of the 5 nearest neighbors by cosine; needs no training;
        - ``logme``: maximum log evidence per sample of a Bayesian linear model, mean over the classes [1]_; needs no
          folds, is comparable within one data set only, higher is better;
        - ``dim``: columns of the embeddings;
        - ``ms_per_sample``: wall time to read, prepare and embed a sample, in ms, with all threads busy. Rows from the
          cache do not count; if it had more than half of them, up to 64 samples are embedded again to measure the time;
        - ``model_mb``, ``embedding_mb``: size of the model's files and of the embeddings of X, in 10^6 bytes.

    Raises
    ------
    ValueError
        If two models have the same name, or `X` and `y` differ in length.
    ModelError, DeviceError
        If a backbone cannot be used; all are opened before the first sample is embedded.
    MissingDependencyError
        Without pandas: ``pip install 'skltransfer[compare]'``.

    See Also
    --------
    skltransfer.report.score_against_cost : Draws the result.

    Notes
    -----
    A backbone learns nothing from X, so embedding outside the folds gives the scores of the whole pipeline. The best
    score of many backbones is optimistic: score the winner on samples that were not used here.

    References
    ----------
    .. [1] You, Liu, Wang and Long, "LogME: Practical Assessment of Pre-trained Models for Transfer Learning", ICML
       2021.

    Examples
    --------
    >>> from skltransfer import PretrainedEmbedder, compare_backbones
    >>> from skltransfer.datasets import load_emoji
    >>> images, y = load_emoji(return_X_y=True)
    >>> early = PretrainedEmbedder(layer="block_2")
    >>> frame = compare_backbones(images, y, {"last layer": "vision-mini", "second block": early})
    >>> list(frame.index)
    ['last layer', 'second block']
    """
    from sklearn.utils import check_consistent_length

    pandas = need("pandas", extra="compare")
    X = X if hasattr(X, "__len__") else list(X)
    check_consistent_length(X, y, groups)
    scores = _judge(y, groups, probe, cv, scoring, n_jobs)
    chosen = _embedders(models, cache=cache, device=device, n_jobs=n_jobs)
    for embedder in chosen.values():
        embedder.fit(X)
    rows = [{"model": name, **_figures(embedder, X, scores)} for name, embedder in chosen.items()]
    frame = pandas.DataFrame(rows, columns=["model", *COLUMNS]).set_index("model")
    return frame.sort_values("score", ascending=False, kind="stable")


def near_duplicate_groups(X: Any, *, embedder: Any = None, threshold: float = 0.95) -> Indices:
    """Group samples that are almost the same, for the ``groups`` of `sklearn.model_selection.GroupKFold`.

    A photograph that is in the data twice, perhaps resized or saved again, may be in the training part and in the test
    part of a split, which makes the score too good. Samples whose embeddings have a cosine of at least `threshold` are
    put in the same group, and so are samples connected by a chain of such pairs.

    Parameters
    ----------
    X : list, array, column or generator of n samples
        Samples, as `embedder` takes them.
    embedder : transformer, default=None
        Transformer that embeds; None is ``PretrainedEmbedder()``, for images. For texts pass the embedder of the
        pipeline; with the same cache, its rows are computed once. It is cloned and not changed.
    threshold : float in (0, 1], default=0.95
        Least cosine of two near duplicates. A lower threshold finds more duplicates and more false ones, see Notes.

    Returns
    -------
    groups : ndarray of shape (n,), dtype intp
        Number of each sample's group, counted from 0 in the order of their first samples.

    Raises
    ------
    ValueError
        If `threshold` is not in (0, 1].

    See Also
    --------
    sklearn.model_selection.StratifiedGroupKFold : Keeps groups together and classes balanced.

    Notes
    -----
    The effect of a threshold depends on the backbone. Measured with ``vision-mini`` on 293 photographs of clothes and
    altered copies of them, 0.95 finds all copies that were saved again as JPEG of quality 50, halved in size or made
    15 % brighter, 92 % of those cropped by 5 % on every side and 99 % of mirrored ones; 2 % of the photographs are
    false near duplicates of another. 0.97 finds 56 % of the cropped and 74 % of the mirrored ones, without false ones.
    Measured with ``text-mini`` on 800 questions and 800 reviews, 0.95 finds all copies that differ in upper case only,
    80 % and 35 % of those without punctuation, and 21 % and 98 % of those with two letters swapped; 1.9 % and 0.3 % are
    false near duplicates.

    All pairs are compared, a block of rows at a time: time grows with n squared, memory with n and with the number of
    pairs found. A row that is all zeros or not finite (``on_error="nan"``) is in a group of its own.

    Examples
    --------
    >>> import numpy as np
    >>> from skltransfer import near_duplicate_groups
    >>> light = np.full((40, 40, 3), 250, np.uint8)
    >>> stripes = np.where(np.arange(40)[:, None, None] % 8 < 4, light, 30).astype(np.uint8)
    >>> near_duplicate_groups([light, stripes, light - 1]).tolist()
    [0, 1, 0]
    """
    from sklearn.base import clone

    if not isinstance(threshold, Real) or isinstance(threshold, bool) or not 0 < threshold <= 1:
        raise ValueError(f"threshold={threshold!r} must be a cosine in (0, 1]; the default is 0.95.")
    embedder = PretrainedEmbedder() if embedder is None else clone(embedder)
    return judge.connected_groups(judge.unit_rows(embedder.fit_transform(X)), float(threshold))


# ---------------------------------------------------------------------------------------------------------------------
# Models and their cost


def _embedders(models: Any, **options: Any) -> dict[str, PretrainedEmbedder]:
    """Return an embedder per model, by name."""
    from sklearn.base import clone

    if isinstance(models, (str, os.PathLike, Card)):
        raise ValueError(f"models={models!r} is a single model; pass several, such as ['vision-mini', 'other.onnx'].")
    pairs = list(models.items()) if isinstance(models, Mapping) else [(catalog.load_card(m).name, m) for m in models]
    names = [name for name, _ in pairs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"Two models are named {twice[0]!r}; name them yourself: models={{'NAME': ..., ...}}.")
    if not pairs:
        raise ValueError("models is empty; pass names of list_models(), files or cards.")
    return {
        name: clone(model) if isinstance(model, PretrainedEmbedder) else PretrainedEmbedder(model, **options)
        for name, model in pairs
    }


def _figures(embedder: PretrainedEmbedder, X: Any, scores: Callable[[Rows], dict[str, float]]) -> dict[str, float]:
    """Embed X and return a row of the frame."""
    rows, seconds = _timed(embedder, X)
    card = catalog.load_card(embedder.model)
    size = sum(os.path.getsize(os.path.join(card.folder or "", file.path)) for file in card.files.values())
    costs = {
        "dim": rows.shape[1],
        "ms_per_sample": 1e3 * seconds,
        "model_mb": size / 1e6,
        "embedding_mb": rows.nbytes / 1e6,
    }
    return {**scores(rows), **costs}


def _timed(embedder: PretrainedEmbedder, X: Any) -> tuple[Rows, float]:
    """Embed X; return the rows and the seconds per computed row, without opening the backbone."""
    embedder.transform(X[:1])  # opens the backbone
    before, start = _rows_run(), time.perf_counter()
    rows = embedder.transform(X)
    seconds = time.perf_counter() - start
    ran = sum(n - before.get(session, 0) for session, n in _rows_run().items())
    if 2 * ran < len(rows):
        bare = PretrainedEmbedder(**{**embedder.get_params(), "cache": None})
        start = time.perf_counter()
        ran = len(bare.transform(X[:TIMED]))
        seconds = time.perf_counter() - start
    return np.asarray(rows, np.float32), seconds / ran


def _rows_run() -> dict[Any, int]:
    """Count the rows that each open session has run."""
    return {session: session.rows_run for session in runtime.open_sessions().values()}


# ---------------------------------------------------------------------------------------------------------------------
# Scores


def _judge(
    y: Any, groups: Any, probe: Any, cv: Any, scoring: Any, n_jobs: int | None
) -> Callable[[Rows], dict[str, float]]:
    """Fix probe and folds for all models; return a function that scores embeddings."""
    from sklearn.base import is_regressor
    from sklearn.utils import column_or_1d
    from sklearn.utils.multiclass import type_of_target

    y = column_or_1d(y)
    regression = type_of_target(y) == "continuous" if probe is None else is_regressor(probe)
    groups = np.arange(len(y)) if groups is None else np.unique(column_or_1d(groups), return_inverse=True)[1]
    grouped = len(np.unique(groups)) < len(y)
    probe = probe or (judge.linear_regressor() if regression else judge.linear_classifier(0.01, scale=True))
    splits = list(judge.splits(y, groups if grouped else None, cv, regression=regression))
    targets = judge.as_targets(y, regression=regression)

    def scores(rows: Rows) -> dict[str, float]:
        folds = judge.cross_validate(probe, rows, y, splits, scoring=scoring, n_jobs=n_jobs, error_score="raise")
        knn = judge.knn(judge.unit_rows(rows), targets, groups, regression=regression)
        return {"score": folds.mean(), "score_std": folds.std(), "knn": knn, "logme": judge.logme(rows, targets)}

    return scores
