"""Cost of batch scoring beside `pipeline.predict`. Usage: python -m tests.bench.scoring [cpu | busy | memory | resume]

``cpu``: CPU time of `score` over that of `predict` on the same list, parts of 4,096 rows, alternated in one process.
``busy``: share of the time in which the two workers of the line are busy, parts of 256 and of 4,096 rows, over that of
a bare call. ``memory``: peak resident memory at 20,000 and 200,000 rows, a process each. ``resume``: time of the same
command once the job is finished.
"""

from __future__ import annotations

import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import joblib
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from skltransfer import PretrainedEmbedder, score
from tests.bench.busy import WORKERS, Clock, images, texts

ROUNDS = 3


def pipeline(model: str, samples: list):
    """Return a fitted pipeline without a cache: every round embeds."""
    embedder = PretrainedEmbedder(model, cache=None, n_jobs=WORKERS)
    return make_pipeline(embedder, LogisticRegression(max_iter=200)).fit(samples[:40], [0, 1] * 20)


def sets():
    """Yield backbones and samples; without a cache, what comes again is embedded again."""
    yield "vision-mini", images(1500) * 3
    yield "text-mini", texts(40_960) * 3


def scored(model, samples: list, rows: int) -> None:
    """Score a list into a folder that is removed."""
    folder = tempfile.mkdtemp()
    try:
        assert score(model, samples, folder, rows_per_part=rows, progress=False).rows == len(samples)
    finally:
        shutil.rmtree(folder)


def both(model, samples: list) -> None:
    """Predict labels and probabilities, as `score` writes them."""
    rows = model[0].transform(samples)
    model[1].predict(rows)
    model[1].predict_proba(rows)


def ratio(measure, first, second) -> tuple[float, list[float]]:
    """Return the median of the ratio of two measures, alternated."""
    found = []
    for number in range(ROUNDS):
        if number % 2:
            a, b = measure(first), measure(second)
        else:
            b, a = measure(second), measure(first)
        found.append(a / b)
    return statistics.median(found), sorted(found)


def cpu(work) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def measure_cpu() -> None:
    """Print the ratio of CPU time."""
    for model, samples in sets():
        fitted = pipeline(model, samples)
        scored(fitted, samples[:256], 4096)
        middle, every = ratio(cpu, lambda: scored(fitted, samples, 4096), lambda: both(fitted, samples))  # noqa: B023
        print(f"{model}: CPU of score over predict {middle:.3f} ({every[0]:.3f} to {every[-1]:.3f})", flush=True)


def measure_busy() -> None:
    """Print the ratio of busy shares."""
    clock = Clock()

    def share(work) -> float:
        clock.seconds, start = 0.0, time.perf_counter()
        work()
        return clock.seconds / (WORKERS * (time.perf_counter() - start))

    for model, samples in sets():
        fitted = pipeline(model, samples)
        scored(fitted, samples[:256], 256)
        for rows in (256, 4096):
            middle, every = ratio(share, lambda: scored(fitted, samples, rows), lambda: fitted[0].transform(samples))  # noqa: B023
            shown = f"{middle:.3f} ({every[0]:.3f} to {every[-1]:.3f})"
            print(f"{model}, parts of {rows}: busy share over a bare call {shown}", flush=True)


def measure_memory() -> None:
    """Print peaks of memory of processes that do nothing else."""
    folder, one = Path(tempfile.mkdtemp()), texts(10_000)
    joblib.dump(pipeline("text-mini", one), folder / "p.pickle")
    for rows in (20_000, 200_000):
        with pq.ParquetWriter(folder / f"{rows}.parquet", pa.schema([("text", pa.string())])) as file:
            for _ in range(rows // len(one)):
                file.write_table(pa.table({"text": one}))
        command = [sys.executable, "-m", "tests.bench.scoring", f"peak={folder}/{rows}"]
        found = subprocess.run(command, capture_output=True, text=True, check=True)
        print(f"{rows:,} texts: {found.stdout.strip()} MB at the peak", flush=True)
    shutil.rmtree(folder)


def peak(source: Path) -> None:
    """Score a file of texts and print the peak of this process."""
    score(source.parent / "p.pickle", f"{source}.parquet", f"{source}-out", column="text", progress=False)
    # Not `ru_maxrss`, which begins with the peak of the process that started this one.
    lines = Path("/proc/self/status").read_text().splitlines()
    print(next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM:")))


def measure_resume() -> None:
    """Print the time of a command that has nothing to do."""
    folder = Path(tempfile.mkdtemp())
    samples = texts(2_000)
    joblib.dump(pipeline("text-mini", samples), folder / "p.pickle")
    (folder / "in.txt").write_text("\n".join(samples), "utf8")
    command = [sys.executable, "-m", "skltransfer", "score", folder / "p.pickle", folder / "in.txt", "--quiet"]
    for what in ("first", "again", "again", "again"):
        start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([*command, "--output", folder / "out"], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(f"{what}: {time.perf_counter() - start:.2f} s, {used:.2f} CPU s", flush=True)
    shutil.rmtree(folder)


MEASURES = {"cpu": measure_cpu, "busy": measure_busy, "memory": measure_memory, "resume": measure_resume}

if __name__ == "__main__":
    for name in sys.argv[1:] or MEASURES:
        if name.startswith("peak="):
            peak(Path(name.partition("=")[2]))
        else:
            MEASURES[name]()
