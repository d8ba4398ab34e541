"""What domain adaptation gains: accuracy on the target over a classifier of the source alone, in points.

Usage: ``python tests/bench/domains.py emoji [--few]`` or
``python tests/bench/domains.py reviews FOLDER MODEL [--cache FOLDER]``

``emoji``: color to outlines and back, with the bundled backbone; half of the emoji is the source, the other half the
target, two draws of halves, four runs. ``--few`` has fewer rows of the target, and shares of classes that differ.
``reviews``: FOLDER holds train.csv and test.csv with the columns text, label and domain; every ordered pair of domains,
with the training part of the target unlabeled, and its test part to predict. MODEL is a card folder of a text encoder.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skltransfer import PretrainedEmbedder
from skltransfer.adapt import AdaptedClassifier, circular_validation
from skltransfer.datasets import load_emoji

METHODS = {
    "source only": {"align": None, "rounds": 0},
    "moments": {"align": "moments", "rounds": 0},
    "coral": {"align": "coral", "rounds": 0},
    "self-training": {"align": None, "rounds": 4},
    "moments + self-training": {"align": "moments", "rounds": 4},
    "coral + self-training": {"align": "coral", "rounds": 4},
}


class Pair(NamedTuple):
    """Rows and labels of a source, unlabeled rows of a target, and rows and labels of the target to predict."""

    source: np.ndarray
    labels: np.ndarray
    unlabeled: np.ndarray
    target: np.ndarray
    truth: np.ndarray


def emoji_pairs() -> Iterator[Pair]:
    """Yield both directions of two draws; the target is predicted where it was seen without labels."""
    rows = {domain: PretrainedEmbedder().fit_transform(load_emoji(domain).images) for domain in ("noto", "mono")}
    y = load_emoji().target
    for draw in range(2):
        order = np.random.default_rng(draw).permutation(len(y))
        one, other = order[: len(y) // 2], order[len(y) // 2 :]
        for source, target in permutations(rows, 2):
            yield Pair(rows[source][one], y[one], rows[target][other], rows[target][other], y[other])


def fewer(pairs: list[Pair], number: int) -> Iterator[Pair]:
    """Yield the pairs with a number of unlabeled rows only; all are predicted."""
    for pair in pairs:
        chosen = np.random.default_rng(0).permutation(len(pair.target))[:number]
        yield pair._replace(unlabeled=pair.target[chosen])


def shifted(pairs: list[Pair]) -> Iterator[Pair]:
    """Yield the pairs with three of the classes of the target cut to four rows."""
    for pair in pairs:
        rare = np.random.default_rng(0).permutation(np.unique(pair.truth))[:3]
        keep = np.ones(len(pair.truth), bool)
        for label in rare:
            keep[np.flatnonzero(pair.truth == label)[4:]] = False
        yield pair._replace(unlabeled=pair.target[keep], target=pair.target[keep], truth=pair.truth[keep])


def review_pairs(folder: Path, embedder: PretrainedEmbedder) -> Iterator[Pair]:
    """Yield the ordered pairs of domains."""
    parts: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
    for part in ("train", "test"):
        with (folder / f"{part}.csv").open(newline="", encoding="utf8") as file:
            lines = list(csv.DictReader(file))
        rows = embedder.fit_transform([line["text"] for line in lines])
        parts[part] = rows, np.array([line["label"] for line in lines]), np.array([line["domain"] for line in lines])
    (rows, y, domain), (test_rows, test_y, test_domain) = parts["train"], parts["test"]
    for source, target in permutations(np.unique(domain), 2):
        own, test = domain == source, test_domain == target
        yield Pair(rows[own], y[own], rows[domain == target], test_rows[test], test_y[test])


def accuracy(classifier: Any, pair: Pair, method: dict[str, Any]) -> tuple[float, float]:
    """Return the accuracy of a method on the target, and its circular validation."""
    X = np.concatenate([pair.source, pair.unlabeled])
    y = np.concatenate([pair.labels.astype(object), np.full(len(pair.unlabeled), None)])
    model = AdaptedClassifier(clone(classifier), **method).fit(X, y)
    return model.score(pair.target, pair.truth), circular_validation(model, X, y)


def table(title: str, pairs: list[Pair], classifier: Any) -> None:
    """Print the gain of each method: mean, error of the mean, the worst pair, and how many lose."""
    print(f"\n{title}, {len(pairs)} pairs")
    found, seconds = {}, {}
    for name, method in METHODS.items():
        start = time.process_time()
        found[name] = np.array([accuracy(classifier, pair, method) for pair in pairs])
        seconds[name] = time.process_time() - start
    base = found["source only"][:, 0]
    for name, values in found.items():
        gain = 100 * (values[:, 0] - base)
        error = gain.std(ddof=1) / np.sqrt(len(gain))
        print(
            f"{name:24} {values[:, 0].mean():.3f}  {gain.mean():+5.1f} ± {error:.1f}  worst {gain.min():+5.1f}  "
            f"{(gain < 0).sum()} lose  circular {values[:, 1].mean():.3f}  {seconds[name]:.0f} CPU s"
        )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["emoji", "reviews"])
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("model", nargs="?")
    parser.add_argument("--cache", default="memory")
    parser.add_argument("--few", action="store_true")
    args = parser.parse_args()
    if args.what == "reviews":
        embedder = PretrainedEmbedder(args.model, max_length=128, cache=args.cache)
        table("reviews", list(review_pairs(args.folder, embedder)), LogisticRegression(C=10, max_iter=2000))
        return
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
    pairs = list(emoji_pairs())
    table("emoji", pairs, classifier)
    if args.few:
        for number in (70, 20):
            table(f"emoji, {number} unlabeled rows", list(fewer(pairs, number)), classifier)
        table("emoji, three classes cut to four rows", list(shifted(pairs)), classifier)


if __name__ == "__main__":
    main()
