"""What the tests of batch scoring share: pipelines on tiny graphs, sources, and the parts that came out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import joblib
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from skltransfer import PretrainedEmbedder
from skltransfer.datasets import load_emoji
from tests.paths import ROOT

EMOJI = load_emoji()
WORDS = ["good", "bad", "fine"]
TEXTS = [f"{WORDS[i % 3]} number {i}, {EMOJI.texts[i % 785]}" for i in range(400)]


def text_pipeline():
    """Return a fitted pipeline of texts."""
    pipeline = make_pipeline(PretrainedEmbedder("text-mini"), LogisticRegression(max_iter=300))
    return pipeline.fit(TEXTS[:60], [WORDS[i % 3] for i in range(60)])


def image_pipeline():
    """Return a fitted pipeline of images."""
    pipeline = make_pipeline(PretrainedEmbedder(), LogisticRegression(max_iter=300))
    return pipeline.fit(EMOJI.images[::20], EMOJI.target[::20])


def parts(sink):
    """Return all rows of a sink, in order."""
    names = sorted(name for name in os.listdir(sink) if name.startswith("part-"))
    return pa.concat_tables([pq.read_table(Path(sink, name)) for name in names], promote_options="permissive")


def failures(sink):
    return pq.read_table(Path(sink, "failures.parquet")).to_pylist()


def saved(pipeline, path):
    joblib.dump(pipeline, path)
    return path


def command(*arguments):
    """Return the command line of a job."""
    return [sys.executable, "-m", "skltransfer", "score", *map(str, arguments), "--quiet"]


def environment(**more):
    return {**os.environ, "PYTHONPATH": str(ROOT), **more}


def run(*arguments, **more):
    """Run a job at the command line."""
    return subprocess.run(command(*arguments), env=environment(**more), capture_output=True, text=True, timeout=300)


def left(sink):
    """Return what a sink holds beside its parts."""
    return {name for name in os.listdir(sink) if not name.startswith("part-")}
