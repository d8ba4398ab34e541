"""CPU milliseconds of a photograph on one core: decoding alone, the whole way to its row, and the difference.

Usage: ``python tests/bench/beyond_decoding.py [MODEL ...] [--images FOLDER] [--number 200] [--rounds 7]``

Decoding is Pillow's, to RGB at full size. The rest is what the backbone adds: resizing, the graph, the estimator. A
model whose card says ``draft`` lets the decoder shrink, and adds less than its own work; each model is measured with
and without, in turn, round after round, and the medians are printed. By default the photographs are those of a folder
``shared`` beside the repository.
"""

from __future__ import annotations

import argparse
import io
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from skltransfer import PretrainedEmbedder, load_card
from skltransfer._engine import samples

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "clothing_small" / "test"


def decode(files: Sequence[bytes]) -> None:
    for file in files:
        with Image.open(io.BytesIO(file)) as image:
            image.convert("RGB").load()


def embed(model: str, draft: bool, files: Sequence[bytes]) -> Callable[[], object]:
    """Open a backbone, and give what embeds the files."""
    embedder = PretrainedEmbedder(load_card(model, draft=draft), cache=None, n_jobs=1, device="cpu")
    embedder.fit_transform(files[:8])
    return lambda: embedder.transform(files)


def milliseconds(ways: dict[str, Callable[[], object]], rounds: int, count: int) -> dict[str, np.ndarray]:
    """Give the CPU time of each way, round by round, per photograph."""
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.process_time()
            way()
            spent[name].append(1000 * (time.process_time() - start) / count)
    return {name: np.array(figures) for name, figures in spent.items()}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["vision-mini"])
    parser.add_argument("--images", type=Path, default=SHARED)
    parser.add_argument("--number", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    files = [Path(path).read_bytes() for path in samples.of_path(args.images)[: args.number]]
    ways: dict[str, Callable[[], object]] = {"decoding alone": lambda: decode(files)}
    for model in args.models:
        ways |= {f"{model}, draft={fast}": embed(model, fast, files) for fast in (False, True)}
    spent = milliseconds(ways, args.rounds, len(files))
    alone = spent["decoding alone"]
    print(f"{len(files)} of {args.images.name}, one core, medians of {args.rounds} rounds\n")
    print("| CPU ms per photograph | all | beyond decoding |\n|---|---|---|")
    for name, figures in spent.items():
        print(f"| {name} | {np.median(figures):.2f} | {np.median(figures - alone):.2f} |")


if __name__ == "__main__":
    main()
