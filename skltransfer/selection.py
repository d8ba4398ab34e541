"""Which backbone, and is the score honest: backbones side by side, and groups of samples that are almost the same.

The room uses the embedder as anyone does; what embeddings are, and where they are kept, it leaves to it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt

from skltransfer._engine import catalog, runtime
from skltransfer.cards import Card
from skltransfer.embedder import PretrainedEmbedder
from skltransfer.errors import need

Rows = npt.NDArray[np.float32]
Indices = npt.NDArray[np.intp]

#: Rows that are compared with all others at a time: bounds memory to this many rows of the table of similarities.
BLOCK = 512
#: Neighbours that vote on a sample in the column ``knn``.
NEIGHBOURS = 5
#: Samples that are embedded again for their time, where the cache had most of them.
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
    """Embed labelled samples once with each backbone, and say what the embeddings are worth and what they cost.

    Parameters
    ----------
    X : list, array or column of n samples
        What the backbones take, see `PretrainedEmbedder`.
    y : array-like of shape (n,)
        Classes, or numbers for a regression.
    models : list of str, path or Card, or dict
        Backbones as `PretrainedEmbedder` takes them. A dict gives them names of your own, and may hold embedders: for
        other layers, poolings or settings. Their `cache`, `device` and `n_jobs` count, not those given here.
    groups : array-like of shape (n,), default=None
        Samples of one group are never on both sides of a split, and never neighbours; see `near_duplicate_groups`.
    probe : estimator, default=None
        What is cross-validated on the embeddings. None is ``StandardScaler`` and ``LogisticRegression(C=0.01)`` for
        classes, ``StandardScaler`` and ``RidgeCV`` for numbers.
    cv : int, splitter or iterable, default=5
        As in `sklearn.model_selection.cross_val_score`; an int makes stratified folds for classes, and folds that keep
        groups together if there are groups.
    scoring : str or callable, default=None
        Of the probe; None is accuracy for classes and R2 for numbers.
    cache : "memory", path of a folder, True or None, default="memory"
        As in `PretrainedEmbedder`. The search that follows finds the rows there.
    device : str, default="auto"
        As in `PretrainedEmbedder`.
    n_jobs : int or None, default=None
        Threads that embed, and fit the probe. None: as many as this process may keep busy.

    Returns
    -------
    pandas.DataFrame
        A row per backbone, the best score first, indexed by ``model``:

        - ``score``, ``score_std``: mean and standard deviation over the folds of the probe's score;
        - ``knn``: accuracy (or R2) of the vote of the 5 nearest other samples by cosine, leave-one-out; needs no
          training;
        - ``logme``: logarithm of the maximum evidence per sample, mean over the classes [1]_: how well a Bayesian
          linear model explains the labels; needs no folds, is comparable within one data set only, higher is better;
        - ``dim``: columns;
        - ``ms_per_sample``: wall time to read, prepare and embed one, in ms, with all threads busy. Rows that a cache
          had are not counted; if it had more than half of them, up to 64 samples are embedded again for their time;
        - ``model_mb``, ``embedding_mb``: size of the model's files and of the embeddings of X, in 10^6 bytes.

    Raises
    ------
    ValueError
        If two models have one name, or `X` and `y` differ in length.
    ModelError, DeviceError
        If a backbone cannot be used; all are opened before the first sample is embedded.
    MissingDependencyError
        Without pandas: ``pip install 'skltransfer[compare]'``.

    See Also
    --------
    skltransfer.report.score_against_cost : The picture of it.

    Notes
    -----
    A backbone learns nothing from X, so embedding outside the folds gives the scores of the whole pipeline. Choosing
    the best of many backbones by their scores is a choice like any other: score the winner on samples not used here.

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
    judge = _judge(y, groups, probe, cv, scoring, n_jobs)
    chosen = _embedders(models, cache=cache, device=device, n_jobs=n_jobs)
    for embedder in chosen.values():
        embedder.fit(X)
    rows = [{"model": name, **_figures(embedder, X, judge)} for name, embedder in chosen.items()]
    frame = pandas.DataFrame(rows, columns=["model", *COLUMNS]).set_index("model")
    return frame.sort_values("score", ascending=False, kind="stable")


def near_duplicate_groups(X: Any, *, embedder: Any = None, threshold: float = 0.95) -> Indices:
    """Group samples that are almost the same, for the ``groups`` of `sklearn.model_selection.GroupKFold`.

    A photograph that is in the data twice, once smaller or saved again, is learnt in one fold and asked for in another:
    the score is too good. Samples whose embeddings have a cosine of at least `threshold` are put in one group, and so
    are those that a chain of such pairs connects.

    Parameters
    ----------
    X : list, array, column or generator of n samples
        What `embedder` takes.
    embedder : transformer, default=None
        Gives the embeddings; None is ``PretrainedEmbedder()``, for images. For texts pass the embedder of the pipeline;
        with the same cache, its rows are computed once. It is cloned, and left as it is.
    threshold : float in (0, 1], default=0.95
        Least cosine of two near duplicates. Lower finds more, and takes more for duplicates that are none, see Notes.

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
    What a threshold finds depends on the backbone. ``vision-mini`` on 293 photographs of clothes, changed on purpose:
    0.95 finds all that were saved again as JPEG of quality 50, made half as large or 15 % brighter, 92 % of those that
    lost 5 % on every side and 99 % of mirrored ones, and takes 2 % of the photographs for near duplicates of another;
    0.97 finds 56 % and 74 % of those two kinds, and takes none. ``text-mini`` on 800 questions and 800 reviews: 0.95
    finds all that differ in upper case only, 80 % and 35 % of those without punctuation, 21 % and 98 % of those with
    two letters swapped, and takes 1.9 % and 0.3 % for near duplicates of another.

    All pairs are compared, a block of rows at a time: time grows with n squared, memory with n and with the number of
    pairs found. A row that is all zeros or not finite (``on_error="nan"``) resembles no other.

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
        raise ValueError(f"threshold={threshold!r} is no cosine above 0 and up to 1; 0.95 is the default.")
    embedder = PretrainedEmbedder() if embedder is None else clone(embedder)
    return _connected(_unit(embedder.fit_transform(X)), float(threshold))


# ---------------------------------------------------------------------------------------------------------------------
# The models, and what each costs


def _embedders(models: Any, **options: Any) -> dict[str, PretrainedEmbedder]:
    """Give every model a name and an embedder."""
    from sklearn.base import clone

    if isinstance(models, (str, os.PathLike, Card)):
        raise ValueError(f"models={models!r} is a single model; give several, such as ['vision-mini', 'other.onnx'].")
    pairs = list(models.items()) if isinstance(models, Mapping) else [(catalog.load_card(m).name, m) for m in models]
    names = [name for name, _ in pairs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"Two models are called {twice[0]!r}; name them yourself: models={{'NAME': ..., ...}}.")
    if not pairs:
        raise ValueError("models is empty; list_models() names those that are installed.")
    return {
        name: clone(model) if isinstance(model, PretrainedEmbedder) else PretrainedEmbedder(model, **options)
        for name, model in pairs
    }


def _figures(embedder: PretrainedEmbedder, X: Any, judge: Callable[[Rows], dict[str, float]]) -> dict[str, float]:
    """Embed X and fill a row of the frame."""
    rows, seconds = _timed(embedder, X)
    card = catalog.load_card(embedder.model)
    size = sum(os.path.getsize(os.path.join(card.folder or "", file.path)) for file in card.files.values())
    costs = {
        "dim": rows.shape[1],
        "ms_per_sample": 1e3 * seconds,
        "model_mb": size / 1e6,
        "embedding_mb": rows.nbytes / 1e6,
    }
    return {**judge(rows), **costs}


def _timed(embedder: PretrainedEmbedder, X: Any) -> tuple[Rows, float]:
    """Embed X, and give the seconds per sample that was run; opening the backbone is not counted."""
    embedder.transform(X[:1])  # opens it, and keeps the row if rows are kept
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
# What the embeddings are worth


def _judge(
    y: Any, groups: Any, probe: Any, cv: Any, scoring: Any, n_jobs: int | None
) -> Callable[[Rows], dict[str, float]]:
    """Settle probe and folds, the same for all models; give what turns embeddings into figures."""
    from joblib import parallel_config
    from sklearn.base import is_regressor
    from sklearn.model_selection import cross_val_score
    from sklearn.utils import column_or_1d
    from sklearn.utils.multiclass import type_of_target
    from threadpoolctl import threadpool_limits

    y = column_or_1d(y)
    numbers = type_of_target(y) == "continuous" if probe is None else is_regressor(probe)
    groups = np.arange(len(y)) if groups is None else np.unique(column_or_1d(groups), return_inverse=True)[1]
    grouped = len(np.unique(groups)) < len(y)
    probe, splits = probe or _default_probe(numbers), list(_splits(y, groups if grouped else None, cv, numbers))
    targets = _targets(y, numbers)

    def judge(rows: Rows) -> dict[str, float]:
        # One thread per fit: on matrices this small, those of BLAS mostly wait for each other.
        with threadpool_limits(1), parallel_config("threading", n_jobs=runtime.workers(n_jobs)):
            scores = cross_val_score(probe, rows, y, cv=splits, scoring=scoring, error_score="raise")
        knn = _knn(_unit(rows), targets, groups, numbers)
        return {"score": scores.mean(), "score_std": scores.std(), "knn": knn, "logme": _logme(rows, targets)}

    return judge


def _default_probe(numbers: bool) -> Any:
    from sklearn.linear_model import LogisticRegression, RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    head = RidgeCV(np.logspace(0, 6, 13)) if numbers else LogisticRegression(C=0.01, max_iter=1000)
    return make_pipeline(StandardScaler(), head)


def _splits(y: Any, groups: Indices | None, cv: Any, numbers: bool) -> Iterator[tuple[Indices, Indices]]:
    """Split; an int keeps groups together where there are some, which scikit-learn's own reading of an int does not."""
    from sklearn.model_selection import GroupKFold, StratifiedGroupKFold, check_cv

    if groups is not None and isinstance(cv, int):
        cv = (GroupKFold if numbers else StratifiedGroupKFold)(cv)
    yield from check_cv(cv, y, classifier=not numbers).split(np.zeros(len(y)), y, groups)


def _targets(y: Any, numbers: bool) -> npt.NDArray[np.float64]:
    """Give labels as columns of numbers: one per class, 0 or 1, or the numbers themselves."""
    if numbers:
        return np.asarray(y, np.float64)[:, np.newaxis]
    classes, index = np.unique(y, return_inverse=True)
    return np.eye(len(classes))[index]


def _knn(unit: Rows, targets: npt.NDArray[np.float64], groups: Indices, numbers: bool) -> float:
    """Score the mean of the nearest samples of other groups, weighted by their cosine."""
    from sklearn.metrics import accuracy_score, r2_score

    guesses = np.empty_like(targets)
    for block in _blocks(len(unit)):
        cosine = unit[block] @ unit.T
        cosine[groups[block, np.newaxis] == groups] = -np.inf
        nearest = np.argpartition(-cosine, min(NEIGHBOURS, len(unit) - 1) - 1, axis=1)[:, :NEIGHBOURS]
        weights = np.maximum(np.take_along_axis(cosine, nearest, axis=1), 1e-6)
        weights[np.isneginf(np.take_along_axis(cosine, nearest, axis=1))] = 0
        guesses[block] = np.einsum("nk,nkt->nt", weights, targets[nearest]) / weights.sum(axis=1, keepdims=True)
    if numbers:
        return float(r2_score(targets, guesses))
    return float(accuracy_score(targets.argmax(axis=1), guesses.argmax(axis=1)))


def _logme(rows: Rows, targets: npt.NDArray[np.float64], most: int = 100) -> float:
    """Maximise the evidence of a Bayesian linear model per column of the targets, by its fixed point; give the mean."""
    n, d = rows.shape
    left, values, _ = np.linalg.svd(rows.astype(np.float64), full_matrices=False)
    power, seen = values**2, (left.T @ targets) ** 2
    unseen = np.maximum((targets**2).sum(axis=0) - seen.sum(axis=0), 0)
    evidences = []
    for known, rest in zip(seen.T, unseen, strict=True):
        weight = noise = 1.0  # precisions
        for _ in range(most):
            ratio = weight / noise
            effective = (power / (power + ratio)).sum()
            length = (power * known / (power + ratio) ** 2).sum()
            error = (known * (ratio / (power + ratio)) ** 2).sum() + rest
            weight, noise = effective / max(length, 1e-12), (n - effective) / max(error, 1e-12)
            if abs(weight / noise - ratio) <= 1e-4 * ratio:
                break
        spread = np.log(weight + noise * power).sum() + max(d - n, 0) * np.log(weight)
        evidence = d * np.log(weight) + n * np.log(noise / (2 * np.pi)) - spread - noise * error - weight * length
        evidences.append(evidence / 2 / n)
    return float(np.mean(evidences))


# ---------------------------------------------------------------------------------------------------------------------
# Cosines


def _unit(rows: npt.ArrayLike) -> Rows:
    """Scale rows to unit length; those without a direction become zero and so are near nothing."""
    rows = np.asarray(rows, dtype=np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    usable = np.broadcast_to(np.isfinite(lengths) & (lengths > 0), rows.shape)
    unit: Rows = np.divide(rows, lengths, out=np.zeros_like(rows), where=usable)
    return unit


def _blocks(n: int) -> Iterator[slice]:
    return (slice(start, start + BLOCK) for start in range(0, n, BLOCK))


def _connected(rows: Rows, threshold: float) -> Indices:
    """Number the connected components of the pairs of unit rows whose cosine reaches the threshold."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n, pairs = len(rows), [np.empty((2, 0), np.intp)]
    for block in _blocks(n):
        # Float32 rounds the cosine of a row with itself to a little less than 1.
        near = np.nonzero(rows[block] @ rows[block.start :].T >= threshold - 1e-6)
        pairs.append(np.asarray(near) + block.start)
    left, right = np.concatenate(pairs, axis=1)
    graph = coo_array((np.ones(len(left), dtype=bool), (left, right)), shape=(n, n))
    groups = connected_components(graph, directed=False)[1]
    _, first, number = np.unique(groups, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[number]
