"""Fine-tuned blocks against the backbone as it is: accuracy in points, over seeds, and processor seconds.

Usage: python -m tests.bench.finetune TASK [...] [--shared ../shared] [--minilm FOLDER] [--seeds 3]

TASK is one of those at the end of this file; "joint" compares one tail of two targets, of which one lacks four labels
in five, with a tail for each. Heads: StandardScaler and LogisticRegression(C=0.01) on rows of images,
LogisticRegression(C=10) on unit rows of texts. The test sets have 293 (clothes), 1,000 (CIFAR-10), 500 to 1,000
(texts) samples: a standard error of 2.7, 1.4 and 1 to 2 points for each accuracy, less for paired differences.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skltransfer import PretrainedEmbedder, load_card
from skltransfer.datasets import load_folder
from skltransfer.finetune import FineTunedEmbedder

Split = tuple[Sequence[Any], np.ndarray, Sequence[Any], np.ndarray]
#: How the shared MobileNet V2 takes pixels.
PIXELS = {"range": 255, "mean": (127.5,) * 3, "std": (127.5,) * 3, "resize": "shorter", "resize_to": 256}


def clothes(shared: Path) -> Split:
    train, test = (load_folder(shared / "data" / "clothing_small" / part) for part in ("train", "test"))
    return train.paths, np.array(train.target), test.paths, np.array(test.target)


def cifar(shared: Path) -> Split:
    train, test = (np.load(shared / "data" / "cifar10_subset" / f"{part}.npz") for part in ("train", "test"))
    chosen = np.random.default_rng(0).permutation(len(train["images"]))[:1000]
    return list(train["images"][chosen]), train["labels"][chosen], list(test["images"]), test["labels"]


def texts(shared: Path, name: str, target: str) -> Split:
    parts = []
    for part in ("train", "test"):
        path = next((shared / "data" / "text" / name).glob(f"{part}.*"))
        with path.open(encoding="utf8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ","))
        parts += [[row["text"] for row in rows], np.array([row[target] for row in rows])]
    return tuple(parts)


def of_images() -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300, tol=1e-3))


def of_texts() -> Any:
    return LogisticRegression(C=10, max_iter=1000)


def gain(data: Split, embedder: PretrainedEmbedder, head: Callable[[], Any], seed: int, **choices: Any) -> list[float]:
    """Return the accuracy of the backbone, that of the tuned one, and processor seconds of the fit."""
    X, y, others, truth = data
    base = head().fit(embedder.transform(X), y).score(embedder.transform(others), truth)
    start = time.process_time()
    tuned = FineTunedEmbedder(embedder, random_state=seed, **choices).fit(X, y)
    took = time.process_time() - start
    return [base, head().fit(tuned.transform(X), y).score(tuned.transform(others), truth), took]


def few(data: Split, each: int, seed: int) -> Split:
    """Return so many labels of each class."""
    X, y, others, truth = data
    dice = np.random.default_rng(seed)
    rows = np.concatenate([dice.choice(np.flatnonzero(y == label), each, replace=False) for label in np.unique(y)])
    return [X[i] for i in rows], y[rows], others, truth


def some(data: Split, count: int, seed: int, tested: int = 1000) -> Split:
    X, y, others, truth = data
    rows, _ = train_test_split(np.arange(len(y)), train_size=count, stratify=y, random_state=seed)
    return [X[i] for i in rows], y[rows], list(others)[:tested], truth[:tested]


#: Kinds of things in CIFAR-10, by the number of the class.
KINDS = np.array(["flies", "rolls", "animal", "pet", "animal", "pet", "animal", "animal", "floats", "rolls"])


def joint(given: argparse.Namespace, seed: int) -> list[float]:
    """Return accuracies of two targets of CIFAR-10, each tuned by itself and both together: (alone, joint) of each."""
    X, y, others, truth = cifar(given.shared)
    known = np.zeros(len(y), bool)
    known[np.random.default_rng(seed).permutation(len(y))[: len(y) // 5]] = True
    targets = {"class": np.where(known, y.astype(object), None), "kind": KINDS[y]}
    both = FineTunedEmbedder(mini(given), random_state=seed).fit(X, targets)
    found = []
    for name, right in (("class", truth), ("kind", KINDS[truth])):
        there = known if name == "class" else np.ones(len(y), bool)
        labels = y[there] if name == "class" else targets[name]
        some = [X[i] for i in np.flatnonzero(there)]
        alone = FineTunedEmbedder(mini(given), random_state=seed).fit(some, labels)
        for tuned in (alone, both):
            found.append(of_images().fit(tuned.transform(some), labels).score(tuned.transform(others), right))
    return found


def mini(given: argparse.Namespace) -> PretrainedEmbedder:
    return PretrainedEmbedder("vision-mini")


def mobilenet(given: argparse.Namespace) -> PretrainedEmbedder:
    path = given.shared / "models" / "mobilenet_v2_1.0_224.onnx"
    return PretrainedEmbedder(load_card(path, layer="embedding", **PIXELS))


def minilm(given: argparse.Namespace) -> PretrainedEmbedder:
    return PretrainedEmbedder(str(given.minilm))


#: Task to: backbone, head, and a function of arguments and seed that returns the data and choices.
TASKS: dict[str, tuple[Any, Any, Any]] = {
    "clothes, 600, vision-mini": (mini, of_images, lambda g, s: (clothes(g.shared), {})),
    "CIFAR-10, 1000, vision-mini": (mini, of_images, lambda g, s: (cifar(g.shared), {})),
    "clothes, 100, vision-mini": (mini, of_images, lambda g, s: (few(clothes(g.shared), 10, s), {})),
    "clothes, 600, MobileNet V2": (mobilenet, of_images, lambda g, s: (clothes(g.shared), {"blocks": 1})),
    "clothes, 600, MobileNet V2, average": (
        mobilenet,
        of_images,
        lambda g, s: (clothes(g.shared), {"blocks": 1, "average": 0.5}),
    ),
    "clothes, 100, MobileNet V2": (mobilenet, of_images, lambda g, s: (few(clothes(g.shared), 10, s), {"blocks": 1})),
    "banking77, 8 a class, MiniLM": (
        minilm,
        of_texts,
        lambda g, s: (few(some(texts(g.shared, "banking77", "label"), 3000, 0), 8, s), {}),
    ),
    "sst2, 100, MiniLM": (minilm, of_texts, lambda g, s: (some(texts(g.shared, "sst2", "label"), 100, s), {})),
    "sst2, 1000, MiniLM": (minilm, of_texts, lambda g, s: (some(texts(g.shared, "sst2", "label"), 1000, s), {})),
}


def main() -> None:
    """Print a line a task."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("tasks", nargs="*", help="; ".join([*TASKS, "joint"]))
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--minilm", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    for name in given.tasks or [*TASKS, "joint"]:
        if name == "joint":
            figures = np.array([joint(given, seed) for seed in range(given.seeds)])
            apart = 100 * (figures[:, 1::2] - figures[:, ::2])
            print(f"joint: (alone, joint) of class and kind {figures.mean(0).round(3)}")
            print(f"joint minus alone, points: {apart.mean(0).round(1)}, seeds {apart.round(1).tolist()}", flush=True)
            continue
        backbone, head, of = TASKS[name]
        figures = []
        for seed in range(given.seeds):
            data, choices = of(given, seed)
            figures.append(gain(data, backbone(given), head, seed, **choices))
        base, tuned, took = np.array(figures).T
        gains = ", ".join(f"{100 * one:+.1f}" for one in tuned - base)
        print(
            f"{name:36} {base.mean():.3f} -> {tuned.mean():.3f}  {100 * (tuned - base).mean():+.1f} ({gains})  "
            f"{took.mean():.0f} CPU s",
            flush=True,
        )


if __name__ == "__main__":
    import os

    os.environ["SKLTRANSFER_MODELS"] = tempfile.mkdtemp()  # every training is one
    main()
