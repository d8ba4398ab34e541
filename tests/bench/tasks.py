"""What `MultiTask` costs beyond its heads: CPU time of fit and predict against the same heads by hand.

Usage: ``python tests/bench/tasks.py [--rounds 9]``; 10,000 rows of 384 numbers, five tasks, 30 % of the labels missing.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, Ridge

from skltransfer.heads import MultiTask

HEADS = {"a": LogisticRegression(), "b": LogisticRegression(), "c": LogisticRegression(), "d": Ridge(), "e": Ridge()}


def samples() -> tuple[np.ndarray, pd.DataFrame]:
    """Return rows and targets: text, integers as objects, and numbers with NaN."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(10_000, 384)).astype(np.float32)
    values = X @ rng.normal(size=(384, 5)) + 20 * rng.normal(size=(10_000, 5))
    y = pd.DataFrame(values, columns=list(HEADS))
    y["a"] = np.where(values[:, 0] > 0, "yes", "no")
    y[["b", "c"]] = (values[:, 1:3] > 0).astype(int)
    return X, y.mask(rng.uniform(size=y.shape) < 0.3)


def by_hand(X: np.ndarray, y: pd.DataFrame) -> None:
    """Fit and predict a head for each task."""
    for name, head in HEADS.items():
        has = y[name].notna().to_numpy()
        clone(head).fit(X[has], y[name][has].to_numpy()).predict(X)


def main() -> None:
    """Print the median of the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    X, y = samples()
    ratios = []
    for _ in range(parser.parse_args().rounds):
        start = time.process_time()
        by_hand(X, y)
        middle = time.process_time()
        MultiTask(HEADS).fit(X, y).predict(X)
        ratios.append((time.process_time() - middle) / (middle - start))
    print(f"MultiTask / heads by hand: {np.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
