"""What caches cost and save, at any size: each task in a fresh process, on texts and images that are generated.

    nice python tests/bench/caches.py [TASK ...] [--texts 400000] [--images 20000]

Every figure is printed beside the mark it is held against. Of two that are compared, each is measured in turn, and the
median is taken; where the machine is loaded, read the ratio of processor time.
"""

from __future__ import annotations

import argparse
import gc
import io
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Figures = dict[str, float]
WORDS = ["hope", "fear", "rain", "sun", "moon", "river", "stone", "light", "dark", "wind", "fire", "earth", "sea"]
ROUNDS = 5


def texts(count: int, seed: int = 0) -> list[str]:
    """Generate distinct texts of some 240 characters."""
    dice = random.Random(seed)
    return [f"{' '.join(dice.choices(WORDS, k=44))} {seed} {i}" for i in range(count)]


def images(count: int, seed: int = 0) -> list[np.ndarray]:
    """Generate distinct images: emoji with noise."""
    from PIL import Image

    from skltransfer.datasets import load_emoji

    dice = np.random.default_rng(seed)
    plain = [np.asarray(Image.open(io.BytesIO(data)).convert("RGB").resize((72, 72))) for data in load_emoji().images]
    noise = dice.integers(0, 32, (97, 72, 72, 3), np.uint8)
    return [
        np.minimum(plain[i % len(plain)], 223) + noise[i % 97] ^ np.uint8(i // len(plain) + seed) for i in range(count)
    ]


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """Return wall and processor seconds."""
    gc.collect()  # else one of the two that are compared collects what the other has left: a tenth of its time
    start, used = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - start, time.process_time() - used


def peak() -> float:
    """Return the peak of this process in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def large(given: argparse.Namespace) -> Figures:
    """Transform many texts twice in a process of 2 GB, with the limits as they come."""
    resource.setrlimit(resource.RLIMIT_AS, (2 * 10**9, 2 * 10**9))
    import skltransfer

    embedder, many = skltransfer.PretrainedEmbedder("text-mini", n_jobs=2), texts(given.texts)
    cold, _ = timed(lambda: embedder.transform(many))
    warm, used = timed(lambda: embedder.transform(many))
    info = skltransfer.cache_info()
    passes = skltransfer.rows_run() / given.texts
    return {
        "first, s": cold,
        "second, s (<= 3)": warm,
        "second, CPU s": used,
        "passes (1)": passes,
        "spilled, MB": info.spilled / 1e6,
    }


def search(given: argparse.Namespace) -> Figures:
    """Embed for every candidate and fold of 6 layers and 2 poolings; no head is fitted."""
    from sklearn.base import clone
    from sklearn.model_selection import KFold, ParameterGrid

    import skltransfer

    many = np.empty(given.images, object)
    many[:] = images(given.images)
    names = list(skltransfer.load_card("vision-mini").layers())[-6:]
    embedder = skltransfer.PretrainedEmbedder("vision-mini", layer=names[0], pool="mean", n_jobs=2)
    for choice in ParameterGrid({"layer": names, "pool": ["mean", "max"]}):
        for train, test in KFold(5).split(many):
            candidate = clone(embedder).set_params(**choice)
            candidate.fit_transform(many[train])
            candidate.transform(many[test])
    return {"passes (1)": skltransfer.rows_run() / given.images}


def bounded(given: argparse.Namespace) -> Figures:
    """Transform ten times as many texts as fit, without a file, three times."""
    import skltransfer

    count = given.texts // 10
    embedder, many = skltransfer.PretrainedEmbedder("text-mini", n_jobs=2), texts(count)
    width = embedder.transform(many[:1]).shape[1]
    skltransfer.reset()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with skltransfer.config_context(cache_memory=count // 10 * (4 * width + 256), cache_spill=0):
            for _ in range(3):
                embedder.transform(many)
            info = skltransfer.cache_info()
    return {"hits / rows of a pass (0.1)": info.hits / 2 / count, "warnings (1)": len(caught)}


def grown(given: argparse.Namespace) -> Figures:
    """Compare peaks of memory at 20,000 and at all texts, the result not counted, at a bound of 300 MB."""
    import skltransfer

    skltransfer.set_config(cache_memory="300MB")
    embedder, first = skltransfer.PretrainedEmbedder("text-mini", n_jobs=2), peak()
    few = embedder.transform(texts(20_000))
    small = peak() - few.nbytes / 2**20
    del few
    skltransfer.reset()
    generated = texts(given.texts)
    held = sum(map(sys.getsizeof, generated)) / 2**20
    rows = embedder.transform(generated)
    grown = peak() - rows.nbytes / 2**20 - held - small
    return {"growth beyond the bound, MB (<= 150)": grown - 300e6 / 2**20, "at first, MB": first}


def lookups(given: argparse.Namespace) -> Figures:
    """Look up rows of 384 numbers, in batches of 1,000, in random order and in the order they were put."""
    from skltransfer._engine.cache import FolderCache, MemoryCache

    dice, figures = np.random.default_rng(0), {}
    keys = [dice.bytes(16) + b"0" * 32 for _ in range(50_000)]
    rows = dice.standard_normal((len(keys), 384), np.float32)
    with tempfile.TemporaryDirectory() as folder:
        caches = {"memory": MemoryCache(2**30, 0), "spill": MemoryCache(20 * 2**20, 2**30)}
        for name, cache in {**caches, "folder": FolderCache(Path(folder))}.items():
            for at in range(0, len(keys), 1000):
                cache.put({keys[i]: rows[i] for i in range(at, at + 1000)})
            cache.end_call(b"0" * 32, len(keys))
            for kind, order in (("mixed", dice.permutation(len(keys))), ("in order", np.arange(len(keys)))):
                parts = [[keys[i] for i in order[at : at + 1000]] for at in range(0, len(keys), 1000)]
                used = min(timed(lambda c=cache, p=parts: [c.get(part) for part in p])[1] for _ in range(ROUNDS))
                mark = {"memory": " (1.9 M)", "spill": " (200 k)", "folder": " (107 k)"}[name]
                figures[f"{name}, {kind}, rows a CPU second{mark}"] = len(keys) / used
            if name == "folder":
                cache.close()
    return figures


def cold(given: argparse.Namespace) -> Figures:
    """Compare one pass with a new folder and one with ``cache=None``, after one that does not count."""
    from skltransfer import PretrainedEmbedder

    seconds: dict[str, list[tuple[float, float]]] = {"none": [], "folder": []}
    make = images if given.model.startswith("vision") else texts
    for number in range(4 * ROUNDS):
        samples = make(given.count, number)
        # The first pass over new samples takes up to a tenth longer.
        PretrainedEmbedder(given.model, cache=None, n_jobs=2).transform(samples)
        for name in ("none", "folder") if number % 2 else ("folder", "none"):
            with tempfile.TemporaryDirectory() as folder:
                embedder = PretrainedEmbedder(given.model, cache=folder if name == "folder" else None, n_jobs=2)
                seconds[name].append(timed(lambda e=embedder, s=samples: e.transform(s)))
    wall, used = (
        statistics.median(n[i] / f[i] for n, f in zip(seconds["none"], seconds["folder"], strict=True)) for i in (0, 1)
    )
    return {f"{given.model}, none / folder, wall ({given.mark})": wall, f"{given.model}, CPU": used}


TASKS = {task.__name__: task for task in (large, search, bounded, grown, lookups, cold)}
#: Models of `cold`, with the mark and the number of samples.
COLD = [("text-mini", 0.85, 20_000), ("vision-mini", 0.95, 4000)]


def run(task: str, given: argparse.Namespace, **changes: Any) -> Figures:
    """Run one task in a fresh process."""
    request = json.dumps({**vars(given), **changes})
    done = subprocess.run([sys.executable, __file__, "--run", task], input=request, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{task} failed:\n{done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Run the tasks that are named, by default all."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("tasks", nargs="*", help=", ".join(TASKS))
    parser.add_argument("--run", choices=TASKS, help=argparse.SUPPRESS)
    parser.add_argument("--texts", type=int, default=400_000)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--minilm", help="card folder or .onnx file of MiniLM, for `cold`")
    given = parser.parse_args()
    if given.run:
        print(json.dumps(TASKS[given.run](argparse.Namespace(**json.loads(sys.stdin.read())))))
        return
    os.nice(5)
    models = COLD + ([(given.minilm, 0.98, 500)] if given.minilm else [])
    for task in given.tasks or TASKS:
        for model, mark, count in models if task == "cold" else [("", 0, 0)]:
            for name, value in run(task, given, model=model, mark=mark, count=count).items():
                print(f"{task}: {name}: {value:,.3f}", flush=True)


if __name__ == "__main__":
    main()
