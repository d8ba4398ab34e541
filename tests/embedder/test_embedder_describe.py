"""Describing an estimator reads no file of a model and opens no socket, whatever the model is."""

import subprocess
import sys
import urllib.parse
import urllib.request

import pytest

from skltransfer import PretrainedEmbedder
from tests.paths import PACKAGE

DESCRIBES = """
import sys, warnings
from sklearn.base import clone, is_classifier
from sklearn.ensemble import VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils import get_tags
from skltransfer import PretrainedEmbedder

def describe(model):
    pipeline = make_pipeline(PretrainedEmbedder(model), LogisticRegression())
    search = GridSearchCV(VotingClassifier([("one", pipeline)]), {"one__logisticregression__C": [1]})
    for estimator in (PretrainedEmbedder(model), pipeline, search):
        repr(clone(estimator)), estimator._repr_html_(), estimator._repr_mimebundle_(), get_tags(estimator)
        is_classifier(estimator)

describe("warm up: what scikit-learn itself reads for a representation")

def refuse(event, arguments):
    path = str(arguments[0]) if arguments else ""
    if event.startswith("socket.") or (event == "open" and any(part in path for part in (sys.argv[1], "json", "onnx"))):
        raise RuntimeError(f"{event} {path}")

sys.addaudithook(refuse)
describe(sys.argv[1])
if len(sys.argv) > 2:
    PretrainedEmbedder(sys.argv[1]).fit(["x"])
print("described")
"""


def described(model: str, *more: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", DESCRIBES, model, *more], capture_output=True, text=True)


@pytest.fixture
def broken(tmp_path):
    (tmp_path / "card.json").write_text('{"schema": 99')
    return str(tmp_path)


@pytest.mark.parametrize("model", ["vision-mini", "resnet50", "hf://nobody/nothing/model.onnx", "no/such/model.onnx"])
def test_description_reads_no_model_and_opens_no_socket(model):
    done = described(model)
    assert done.stdout == "described\n", done.stderr[-500:]


def test_description_of_a_broken_card_reads_it_not(broken):
    done = described(broken)
    assert done.stdout == "described\n", done.stderr[-500:]


def test_a_model_that_is_read_would_be_noticed():
    assert "RuntimeError: open" in described("vision-mini", "fit").stderr


def test_html_links_to_the_guide_that_is_installed():
    link = PretrainedEmbedder()._get_doc_link()
    assert urllib.request.url2pathname(urllib.parse.urlparse(link).path) == str(PACKAGE / "_docs" / "api.md")
    assert link in PretrainedEmbedder()._repr_html_()
