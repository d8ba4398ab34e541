"""Versions in all places are one, and what skops is asked to trust is what it needs."""

import importlib
import re
import sys

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import skltransfer
from skltransfer import PretrainedEmbedder, load_card
from skltransfer.adapt import AdaptedClassifier, DomainScaler
from skltransfer.datasets import load_emoji
from skltransfer.heads import MultiTask, SkipBadRows
from tests.paths import ROOT

EMOJI = load_emoji()


def test_citation_and_changelog_have_the_version():
    cited = re.search(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    assert cited[1] == skltransfer.__version__
    assert f"## {skltransfer.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_versions_are_shown_a_line_each(capsys):
    skltransfer.show_versions()
    shown = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert shown["skltransfer"] == skltransfer.__version__
    assert shown["numpy"] == importlib.import_module("numpy").__version__


@pytest.mark.parametrize("model", ["vision-mini", load_card("vision-mini", draft=False)], ids=["name", "card"])
def test_skops_saves_and_loads_a_pipeline(model):
    io = pytest.importorskip("skops.io")
    pipeline = make_pipeline(PretrainedEmbedder(model), LogisticRegression(max_iter=1000))
    pipeline.fit(EMOJI.images[::40], EMOJI.target[::40])
    saved = io.dumps(pipeline)
    assert set(io.get_untrusted_types(data=saved)) <= set(skltransfer.TRUSTED)
    again = io.loads(saved, trusted=skltransfer.TRUSTED)
    assert again.predict(EMOJI.images[::80]).tolist() == pipeline.predict(EMOJI.images[::80]).tolist()


ROWS = np.random.default_rng(0).normal(size=(40, 3))
CLASSES = np.arange(40) % 2


@pytest.mark.parametrize(
    "model",
    [
        SkipBadRows(LogisticRegression()).fit(ROWS, CLASSES),
        MultiTask().fit(ROWS, {"class": CLASSES, "number": ROWS[:, 0]}),
        MultiTask({"class": LogisticRegression()}).fit(ROWS, {"class": CLASSES}),
        DomainScaler("coral").fit(ROWS, sample_domain=CLASSES),
        AdaptedClassifier(LogisticRegression()).fit(ROWS, [0, 1] * 10 + [None] * 20),
    ],
    ids=lambda model: type(model).__name__,
)
def test_skops_saves_and_loads_heads_and_adapters(model):
    io = pytest.importorskip("skops.io")
    again = io.loads(io.dumps(model), trusted=skltransfer.TRUSTED)
    if isinstance(model, DomainScaler):
        np.testing.assert_array_equal(again.transform(ROWS, CLASSES), model.transform(ROWS, CLASSES))
    else:
        np.testing.assert_equal(again.predict(ROWS), model.predict(ROWS))


@pytest.mark.parametrize("name", skltransfer.TRUSTED)
def test_trusted_types_exist(name):
    module, _, kind = name.rpartition(".")
    if module == "pathlib._local" and sys.version_info[:2] != (3, 13):
        pytest.skip("of Python 3.13")
    assert isinstance(getattr(importlib.import_module(module), kind), type)
