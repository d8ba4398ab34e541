"""Requests per second of clients at once, by the settings of the embedder: ``python -m tests.bench.service [ROUNDS]``.

Each client is a thread that asks for the class of one image after another, as the threads of a web server do; no HTTP.
The settings take turns; the ratio to the default is taken within a round.
"""

from __future__ import annotations

import statistics
import sys
import threading
import time

from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from skltransfer import PretrainedEmbedder, reset
from skltransfer.serving import warm_up
from tests.bench.busy import images

CLIENTS, SECONDS = 4, 3.0
SETTINGS = {"default": {}, "n_jobs=1": {"n_jobs": 1}, "n_jobs=1, cache=None": {"n_jobs": 1, "cache": None}}


def requests(pipeline, samples) -> float:
    """Return requests per second."""
    done, until = [0] * CLIENTS, time.perf_counter() + SECONDS

    def client(number: int) -> None:
        while time.perf_counter() < until:
            pipeline.predict([samples[(done[number] * CLIENTS + number) % len(samples)]])
            done[number] += 1

    threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(done) / SECONDS


def main(rounds: int) -> None:
    """Print the table."""
    samples = images(2000)
    fitted = make_pipeline(PretrainedEmbedder(), LogisticRegression(max_iter=500)).fit(samples[:40], [0, 1] * 20)
    ratios: dict[str, list[float]] = {name: [] for name in SETTINGS}
    for _ in range(rounds):
        speeds = {}
        for name, settings in SETTINGS.items():
            reset()
            pipeline = make_pipeline(clone(fitted[0]).set_params(**settings), fitted[1])
            warm_up(pipeline)
            speeds[name] = requests(pipeline, samples)
            ratios[name].append(speeds[name] / speeds["default"])
    for name, found in ratios.items():
        print(f"{name:24} {speeds[name]:6.0f} requests/s   {statistics.median(found):.2f} of the default")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
