"""Share of the time in which the workers of a call have something to do. Usage: python -m tests.bench.busy [ROUNDS]

The share is the time that threads spend in their work, divided by threads times the time of the call; a loaded machine
lengthens both. Bare calls of texts and images with ``cache=None``, then one iterator over all samples whose rows are
taken in chunks of 256, as a job does that writes a file for each chunk.
"""

from __future__ import annotations

import io
import random
import statistics
import sys
import time
from collections.abc import Iterator

import numpy as np
from PIL import Image

from skltransfer import PretrainedEmbedder
from skltransfer._engine import stream
from skltransfer._engine.stream import _pool
from skltransfer.datasets import load_emoji

WORKERS = 2


class Clock:
    """Adds up the seconds in which threads of `Pool` work."""

    def __init__(self) -> None:
        self.seconds = 0.0
        submit = _pool.Pool.submit

        def timed(pool, work, *, later=False):
            def run():
                start = time.perf_counter()
                try:
                    return work()
                finally:
                    self.seconds += time.perf_counter() - start

            return submit(pool, run, later=later)

        _pool.Pool.submit = timed


def texts(count: int) -> list[str]:
    """Return distinct texts of about 240 characters."""
    words, chosen = " ".join(load_emoji().texts).replace(";", " ").split(), random.Random(0)
    return [" ".join(chosen.choices(words, k=32)) for _ in range(count)]


def images(count: int) -> list[bytes]:
    """Return distinct encoded photographs of noise over gradients, of about 500 x 375 pixels."""
    return [_jpeg(_picture(seed)) for seed in range(count)]


def _picture(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (12, 16, 3)).astype(np.float32)
    return np.clip(np.kron(coarse, np.ones((32, 32, 1))) + rng.normal(0, 6, (384, 512, 3)), 0, 255).astype(np.uint8)


def _jpeg(picture: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "JPEG", quality=88)
    return out.getvalue()


def chunked(model: str, samples: list, size: int) -> Iterator[np.ndarray]:
    """Yield rows in chunks out of one iterator, whose line is never empty between two chunks."""
    plan = PretrainedEmbedder(model)._planned().plan
    held: list[np.ndarray] = []
    for finished in stream.batches(iter(samples), plan, options=stream.Options(n_jobs=WORKERS)):
        held.extend(finished.rows)
        while len(held) >= size:
            yield np.stack(held[:size])
            del held[:size]
    if held:
        yield np.stack(held)


def main(rounds: int) -> None:
    """Print the shares."""
    clock = Clock()
    jobs = {
        "texts, text-mini": ("text-mini", texts(40_000), None),
        "texts, text-mini, chunks of 256": ("text-mini", texts(40_000), 256),
        "images, vision-mini": ("vision-mini", images(600), None),
        "images, vision-mini, chunks of 256": ("vision-mini", images(600), 256),
    }
    for name, (model, samples, size) in jobs.items():
        embedder = PretrainedEmbedder(model, cache=None, n_jobs=WORKERS)
        embedder.transform(samples[:64])
        shares, speeds = [], []
        for _ in range(rounds):
            clock.seconds, start = 0.0, time.perf_counter()
            if size is None:
                embedder.transform(samples)
            else:
                assert sum(map(len, chunked(model, samples, size))) == len(samples)
            took = time.perf_counter() - start
            shares.append(clock.seconds / (WORKERS * took))
            speeds.append(len(samples) / took)
        print(f"{name:36} busy {statistics.median(shares):.3f}  {statistics.median(speeds):,.0f} samples/s", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
