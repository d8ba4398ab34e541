"""Files run where neither skltransfer nor scikit-learn is: plain ONNX Runtime, an old one, ONNX Runtime Web."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, IsolationForest, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC

from skltransfer import PretrainedEmbedder, load_card
from skltransfer.datasets import load_emoji
from skltransfer.export import to_onnx
from skltransfer.heads import MultiTask
from tests.export import support

pytest.importorskip("skl2onnx", reason="needs skltransfer[export]")

CONSUMERS = Path(__file__).with_name("consumers")
#: Python of an environment with onnxruntime 1.16.3 and NumPy 1, and the folder that holds onnxruntime-web.
OLD, WEB = "SKLTRANSFER_TEST_OLD_ONNXRUNTIME", "SKLTRANSFER_TEST_NODE_MODULES"

#: Bytes of the bundled backbone.
VISION_MINI = 4_234_559

HEADS = {
    "logistic": LogisticRegression(max_iter=5000),
    "forest": RandomForestClassifier(10, random_state=0),
    "svc": SVC(),
    "nearest": KNeighborsClassifier(),
    "bayes": GaussianNB(),
    "mlp": make_pipeline(StandardScaler(), MLPClassifier((8,), max_iter=30, random_state=0)),
    "boosting": HistGradientBoostingClassifier(max_iter=5),
    "isolation": IsolationForest(n_estimators=5, random_state=0),
}


def of_images(folder: Path) -> list[tuple[Path, Path]]:
    X, y = support.train()
    found = []
    embedder, pixels = support.backbone(folder), np.stack(support.test())
    for name, head in HEADS.items():
        done = support.exported(make_pipeline(embedder, head).fit(X, y), folder, name)
        found.append((done.path, support.case(done.path, {"images": pixels})))
    done = support.exported(
        make_pipeline(embedder, LogisticRegression(max_iter=5000)).fit(X, y), folder, "named", labels="string"
    )
    return [*found, (done.path, support.case(done.path, {"images": pixels}))]


def of_tasks(folder: Path) -> tuple[Path, Path]:
    X, y = support.train()
    targets = pd.DataFrame({"kind": y, "price": np.arange(len(y)) / 7})
    tasks = MultiTask({"kind": LogisticRegression(max_iter=5000), "price": Ridge()})
    done = support.exported(make_pipeline(support.backbone(folder), tasks).fit(X, targets), folder, "tasks")
    assert done.outputs == ("kind_label", "kind_probabilities", "price")
    return done.path, support.case(done.path, {"images": np.stack(support.test())})


def of_columns(folder: Path) -> tuple[Path, Path]:
    X, y = support.train()
    frame = lambda images: pd.DataFrame(  # noqa: E731
        {"photo": images, "width": np.arange(len(images)) % 5, "shop": [f"s{i % 3}" for i in range(len(images))]}
    )
    columns = [("a", support.backbone(folder), "photo"), ("b", StandardScaler(), ["width"])]
    columns.append(("c", OneHotEncoder(), ["shop"]))
    pipeline = make_pipeline(ColumnTransformer(columns), LogisticRegression(max_iter=5000)).fit(frame(X), y)
    rest = frame(support.test())
    done = to_onnx(pipeline, folder / "columns.onnx", samples=rest)
    assert done.inputs == ("photo", "width", "shop")
    feeds = {"photo": np.stack(rest["photo"]), "width": rest[["width"]].to_numpy(np.float32)}
    return done.path, support.case(done.path, {**feeds, "shop": rest[["shop"]].to_numpy(object)})


def of_texts(folder: Path) -> tuple[Path, Path]:
    emoji = load_emoji()
    pipeline = make_pipeline(PretrainedEmbedder("text-mini"), LogisticRegression(max_iter=1000))
    pipeline.fit(emoji.texts[::2], emoji.target[::2])
    done = to_onnx(pipeline, folder / "texts.onnx", samples=emoji.texts[1::2][:210])
    tokens = pipeline[0]._onnx_parts()["backbone"].preparer()
    pieces = tokens.prepare([tokens.read(text) for text in emoji.texts[:8]])
    return done.path, support.case(done.path, {"tokens": tokens.collate([one[0] for one in pieces])})


def of_photographs(folder: Path) -> tuple[Path, Path]:
    emoji = load_emoji()
    embedder = PretrainedEmbedder(load_card("vision-mini", draft=False))
    pipeline = make_pipeline(embedder, LogisticRegression(max_iter=1000)).fit(emoji.images[::2], emoji.target[::2])
    done = to_onnx(pipeline, folder / "emoji.onnx", samples=emoji.images[1::2][:200])
    assert done.parity["outputs"]["label"]["equal"] == 1.0
    assert done.parity["outputs"]["probabilities"]["largest"] < 1e-5
    assert done.bytes < VISION_MINI + 704 * 8 * 4 + 50_000
    preparer = pipeline[0]._onnx_parts()["backbone"].preparer()
    pixels = [preparer.prepare([preparer.read(image)])[0][0] for image in emoji.images[:8]]
    return done.path, support.case(done.path, {"images": np.stack(pixels)})


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[str]:
    folder = tmp_path_factory.mktemp("exported")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Stochastic Optimizer")  # few iterations are enough to compare
        pairs = [*of_images(folder), of_tasks(folder), of_columns(folder), of_texts(folder), of_photographs(folder)]
    return [str(path) for pair in pairs for path in pair]


def agree(command: list[str], files: list[str]) -> dict:
    done = subprocess.run([*command, *files], capture_output=True, text=True, timeout=120, cwd=Path(files[0]).parent)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found["differences"]) == len(files) // 2
    assert {name: gap for one in found["differences"] for name, gap in one.items() if gap > 1e-5} == {}
    return found


def test_files_run_in_a_python_that_imports_nothing_of_ours(files):
    assert agree([sys.executable, "-P", str(CONSUMERS / "plain.py")], files)["foreign"] == []


@pytest.mark.skipif(OLD not in os.environ, reason=f"{OLD} names no Python with onnxruntime 1.16.3")
def test_files_run_in_onnx_runtime_1_16_3(files):
    assert agree([os.environ[OLD], str(CONSUMERS / "plain.py")], files)["onnxruntime"] == "1.16.3"


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
@pytest.mark.skipif(WEB not in os.environ, reason=f"{WEB} names no node_modules with onnxruntime-web")
def test_files_run_in_onnx_runtime_web(files):
    agree(["node", str(CONSUMERS / "web.mjs"), os.environ[WEB]], files)
