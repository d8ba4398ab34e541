"""What fewer bits gain and cost: samples/s and cosine of `precision="fp16"` and `"int8"` against the graph as it is.

Usage: ``python tests/bench/precision.py MODEL SAMPLES [--number 200] [--rounds 5] [--calibrate]``

MODEL is what `PretrainedEmbedder` takes; SAMPLES a folder of images, a .npy of images, or a file of texts, one a line.
The whole way is timed - reading, decoding, resizing, the graph - on all cores, in turn, round after round; a ratio is
taken within a round and the median of the rounds is printed. With ``--calibrate`` the variants are made anew on other
samples of the same kind than those that are timed; else they are the ones that are kept, or calibrated on made-up ones.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from skltransfer import PretrainedEmbedder
from skltransfer._engine import quantization, samples

PRECISIONS = ("auto", "fp16", "int8")


def measure(model: str, timed: Sequence[Any], rounds: int) -> tuple[dict[str, list[float]], dict[str, np.ndarray]]:
    """Give the seconds of every round and the rows, by precision."""
    embedders = {p: PretrainedEmbedder(model, precision=p, cache=None).fit(timed[:1]) for p in PRECISIONS}
    rows = {p: embedder.transform(timed) for p, embedder in embedders.items()}
    seconds: dict[str, list[float]] = {p: [] for p in PRECISIONS}
    for _ in range(rounds):
        for p, embedder in embedders.items():
            start = time.perf_counter()
            embedder.transform(timed)
            seconds[p].append(time.perf_counter() - start)
    return seconds, rows


def cosines(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Give the cosine of each pair of rows."""
    return (left * right).sum(axis=1) / (np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("samples", type=Path)
    parser.add_argument("--number", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calibrate", action="store_true")
    args = parser.parse_args()
    everything = samples.of_path(args.samples)
    timed = everything[:: max(1, len(everything) // args.number)][: args.number]
    if args.calibrate:
        rest = everything[1 :: max(2, len(everything) // args.number)][: args.number]
        for precision in quantization.MIN_COSINE:
            print(precision, quantization.quantize(args.model, precision, rest).measured)
    seconds, rows = measure(args.model, timed, args.rounds)
    print(f"{args.model}, {len(timed)} of {args.samples}, {args.rounds} rounds")
    for precision in PRECISIONS:
        ratio = float(np.median(np.array(seconds["auto"]) / np.array(seconds[precision])))
        near = cosines(rows["auto"], rows[precision])
        rate = len(timed) / min(seconds[precision])
        print(f"{precision:5} {rate:8.1f}/s  x {ratio:.2f}  cosine {near.mean():.5f}, least {near.min():.5f}")


if __name__ == "__main__":
    main()
