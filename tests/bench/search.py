"""What searches cost: ratios taken side by side, in fresh processes.

    python tests/bench/search.py --files PHOTOS... [--model MODEL] [--texts FILE.csv]

Every figure is printed beside the mark it is held against.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

N_FOLDS = 5


def pipeline(model: str, **options: Any) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    from skltransfer import PretrainedEmbedder

    head = LogisticRegression(max_iter=1000)
    return Pipeline([("embed", PretrainedEmbedder(model, **options)), ("scale", StandardScaler()), ("clf", head)])


def timed(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def rows_run() -> int:
    from skltransfer._engine import runtime

    return sum(session.rows_run for session in runtime.open_sessions().values())


def time_the_graph() -> list[float]:
    """From now on, write down how long every run of a session takes."""
    from skltransfer._engine import runtime

    seconds, run = [], runtime.Session.run

    def timed_run(self: Any, *arguments: Any) -> Any:
        start = time.perf_counter()
        try:
            return run(self, *arguments)
        finally:
            seconds.append(time.perf_counter() - start)

    runtime.Session.run = timed_run
    return seconds


# ---------------------------------------------------------------------------------------------------------------------
# What is measured, each in a process of its own


def one_pass(given: argparse.Namespace) -> dict[str, float]:
    """Embed every sample once, as a pipeline that is fitted does."""
    from skltransfer import PretrainedEmbedder

    embedder = PretrainedEmbedder(given.model, cache=given.cache or "memory")
    embedder.transform(given.files[:4])
    graph = time_the_graph()
    return {"seconds": timed(lambda: embedder.fit_transform(given.files)), "graph": sum(graph)}


def layers(given: argparse.Namespace) -> dict[str, float]:
    """Embed for every candidate and fold of a grid over six layers and two poolings; no head is fitted."""
    from sklearn.base import clone
    from sklearn.model_selection import KFold, ParameterGrid

    from skltransfer import PretrainedEmbedder, load_card

    names = list(load_card(given.model).layers())[-6:]
    embedder = PretrainedEmbedder(given.model, layer=names[0], pool="mean")
    embedder.fit_transform(given.files[:4])
    files = np.array(given.files, object)

    def search() -> None:
        for choice in ParameterGrid({"layer": names, "pool": ["mean", "max"]}):
            for train, test in KFold(N_FOLDS).split(files):
                candidate = clone(embedder).set_params(**choice)
                candidate.fit_transform(files[train])
                candidate.transform(files[test])

    graph = time_the_graph()
    return {"seconds": timed(search), "graph": sum(graph)}


def search(given: argparse.Namespace) -> dict[str, float]:
    """Search over a parameter of the head."""
    from sklearn.model_selection import GridSearchCV

    grid = {"clf__C": np.logspace(-4, 2, given.candidates).tolist()}
    pipe = pipeline(given.model, cache=given.cache or "memory")
    made = GridSearchCV(pipe, grid, cv=N_FOLDS, n_jobs=given.n_jobs)
    labels = [Path(file).parent.name for file in given.files]
    return {"seconds": timed(lambda: made.fit(given.files, labels)), "rows": rows_run()}


def heads(given: argparse.Namespace) -> dict[str, float]:
    """Search as `search` does, on rows that are there already, after hashing every file once per fold as it does."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from skltransfer import PretrainedEmbedder
    from skltransfer._engine.modalities import image as images

    rows = PretrainedEmbedder(given.model, cache=given.cache).transform(given.files)
    labels = [Path(file).parent.name for file in given.files]
    grid = {"logisticregression__C": np.logspace(-4, 2, given.candidates).tolist()}
    made = GridSearchCV(make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)), grid, cv=N_FOLDS)
    hashing = timed(lambda: [images.read(file).digest() for file in given.files])
    times = given.candidates * N_FOLDS + 1
    return {"seconds": timed(lambda: made.fit(rows, labels)), "hashing": hashing * times, "rows": rows_run()}


def lookups(given: argparse.Namespace) -> dict[str, float]:
    """Look up rows of 384 numbers, in batches of 1,000, in random order."""
    from skltransfer._engine.cache import DiskCache, MemoryCache

    rng, figures = np.random.default_rng(0), {}
    keys = [rng.bytes(16) + b"0" * 32 for _ in range(50_000)]
    rows = rng.standard_normal((len(keys), 384), np.float32)
    with tempfile.TemporaryDirectory() as folder:
        for name, cache in (("memory", MemoryCache()), ("disk", DiskCache(Path(folder)))):
            batches = [{keys[i]: rows[i] for i in range(at, at + 1000)} for at in range(0, len(keys), 1000)]
            start = time.perf_counter()
            for batch in batches:
                cache.put(batch)
            figures[f"{name} puts"] = len(keys) / (time.perf_counter() - start)
            mixed = [keys[i] for i in rng.permutation(len(keys))]
            start = time.perf_counter()
            for at in range(0, len(keys), 1000):
                cache.get(mixed[at : at + 1000])
            figures[f"{name} gets"] = len(keys) / (time.perf_counter() - start)
    return figures


def warm(given: argparse.Namespace) -> dict[str, float]:
    """Transform texts whose rows are known: what a lookup costs through the estimator."""
    from skltransfer import PretrainedEmbedder

    texts = [f"{word} number {i}" for i in range(5000) for word in ("hope", "fear", "rain", "sun")]
    embedder = PretrainedEmbedder("text-mini", cache=given.cache or "memory")
    embedder.transform(texts)
    return {"rows/s": len(texts) / min(timed(lambda: embedder.transform(texts)) for _ in range(3))}


TASKS = {task.__name__: task for task in (one_pass, layers, search, heads, lookups, warm)}


# ---------------------------------------------------------------------------------------------------------------------
# The table


def run(task: str, given: argparse.Namespace, **changes: Any) -> dict[str, float]:
    """Run one task in a fresh process."""
    options = {**vars(given), **changes}
    command = [sys.executable, __file__, "--task", task]
    one_thread = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # more of them make the heads slower, n_jobs=1 above all
    done = subprocess.run(command, input=json.dumps(options), capture_output=True, text=True, env=one_thread)
    if done.returncode:
        raise SystemExit(f"{task} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def middle(values: list[float]) -> float:
    return statistics.median(values)


def rounds(given: argparse.Namespace) -> list[tuple[str, float, str]]:
    """Measure everything, rounds times, and give medians beside their marks."""
    figures: dict[str, list[float]] = {}
    marks = {}

    def note(name: str, value: float, mark: str) -> None:
        figures.setdefault(name, []).append(value)
        marks[name] = mark

    for _ in range(given.rounds):
        with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
            alone, grid = run("one_pass", given), run("layers", given)
            note("6 layers x 2 poolings / one pass: in the graph", grid["graph"] / alone["graph"], "<= 1.3")
            note("6 layers x 2 poolings / one pass: in all", grid["seconds"] / alone["seconds"], "")
            serial = run("search", given, cache=first, n_jobs=1)
            note("rows run by a search / n", serial["rows"] / len(given.files), "1")
            two = run("search", given, cache=second, n_jobs=2)
            note("folder: n_jobs=2 / n_jobs=1", two["seconds"] / serial["seconds"], "<= 1.0")
            again, bare = run("search", given, cache=first, n_jobs=1), run("heads", given, cache=first)
            note("second search: rows run", again["rows"], "0")
            note("second search / (heads + hashing)", again["seconds"] / (bare["seconds"] + bare["hashing"]), "<= 1.1")
            memory = run("search", given, n_jobs=1), run("search", given, n_jobs=2)
            note("memory: n_jobs=2 / n_jobs=1", memory[1]["seconds"] / memory[0]["seconds"], "")
            for name, value in run("lookups", given).items():
                note(f"{name}/s", value, {"memory gets": ">= 50,000", "disk gets": ">= 20,000"}.get(name, ""))
            note("estimator, memory, warm rows/s", run("warm", given)["rows/s"], "")
            note("estimator, folder, warm rows/s", run("warm", given, cache=second)["rows/s"], "")
    return [(name, middle(values), marks[name]) for name, values in figures.items()]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--task", choices=TASKS, help=argparse.SUPPRESS)
    parser.add_argument("--files", nargs="*", default=[], help="photographs, in a folder per class")
    parser.add_argument("--model", default="vision-mini")
    parser.add_argument("--candidates", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.set_defaults(cache=None, n_jobs=1)
    return parser.parse_args()


def main() -> None:
    given = arguments()
    if given.task:
        options = argparse.Namespace(**json.loads(sys.stdin.read()))
        print(json.dumps(TASKS[given.task](options)))
        return
    print("| what | measured | mark |\n|---|---|---|")
    for name, value, mark in rounds(given):
        print(f"| {name} | {value:,.2f} | {mark} |")
    print(
        f"\n{len(given.files)} files, {given.model}, {given.candidates} candidates x {N_FOLDS} folds, medians of "
        f"{given.rounds} rounds, load {os.getloadavg()[0]:.1f} at the end."
    )


if __name__ == "__main__":
    main()
