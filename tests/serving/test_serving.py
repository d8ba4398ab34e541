"""A pipeline in a service: opened before the first request, and served over HTTP on loopback."""

import importlib.util
import json
import os
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import FeatureUnion, make_pipeline

import skltransfer
from skltransfer import PretrainedEmbedder, testing
from skltransfer._engine import runtime
from skltransfer.datasets import load_emoji
from skltransfer.errors import UnknownModelError
from skltransfer.serving import warm_up
from tests.graphs import save_images
from tests.paths import ROOT

EMOJI = load_emoji()


@pytest.fixture
def embedder(tmp_path):
    skltransfer.reset()
    return PretrainedEmbedder(save_images(tmp_path), n_jobs=1, cache=None)


def opened(monkeypatch) -> list:
    """List the sessions that are opened from now on."""
    made, init = [], runtime.Session.__init__
    monkeypatch.setattr(runtime.Session, "__init__", lambda *args, **more: made.append(1) or init(*args, **more))
    return made


def test_request_after_a_warm_up_opens_nothing(embedder, monkeypatch):
    assert warm_up(embedder) == 1
    made = opened(monkeypatch)
    embedder.transform(testing.noise_images(1))
    assert made == []


HOLDERS = {
    "pipeline": lambda e: make_pipeline(e, LogisticRegression()),
    "columns": lambda e: ColumnTransformer([("image", e, "photo")]),
    "union": lambda e: FeatureUnion([("one", e), ("other", PretrainedEmbedder(e.model, normalize=True))]),
    "search": lambda e: GridSearchCV(make_pipeline(e, LogisticRegression()), {"logisticregression__C": [1, 2]}),
    "none": lambda e: LogisticRegression(),
}


@pytest.mark.parametrize("holder", HOLDERS)
def test_embedders_are_found_wherever_they_are(embedder, holder):
    assert warm_up(HOLDERS[holder](embedder)) == {"union": 2, "none": 0}.get(holder, 1)


def test_fitted_search_is_warmed_up_once(embedder):
    images = testing.noise_images(8)
    search = HOLDERS["search"](embedder).set_params(cv=2).fit(images, np.arange(8) % 2)
    assert warm_up(search) == 1


def test_backbone_that_cannot_be_used_is_an_error_at_the_start():
    with pytest.raises(UnknownModelError, match="There is no model 'gone'"):
        warm_up(make_pipeline(PretrainedEmbedder("gone")))


# ---------------------------------------------------------------------------------------------------------------------
# The example

NEEDED = ("fastapi", "uvicorn", "multipart")
missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
needs_server = pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


@pytest.fixture(scope="module")
def address():
    """Run the example on a free port of loopback."""
    import uvicorn

    os.environ.pop("PIPELINE", None)
    spec = importlib.util.spec_from_file_location("serve_fastapi", ROOT / "examples" / "serve_fastapi.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    server = uvicorn.Server(uvicorn.Config(module.app, host="127.0.0.1", port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 60
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/predict"
    server.should_exit = True
    thread.join(10)


def post(address, content):
    """Upload a file; return the status and what came back."""
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    request = urllib.request.Request(address, head + content + b"\r\n--b--\r\n", headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as err:
        return err.code, json.load(err)


@needs_server
def test_clients_at_once_get_their_own_answers(address):
    chosen = range(0, len(EMOJI.images), 40)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda i: post(address, EMOJI.images[i]), chosen))
    assert {status for status, _ in answers} == {200}
    right = [
        answer["class"] == EMOJI.target_names[EMOJI.target[i]] for i, (_, answer) in zip(chosen, answers, strict=True)
    ]
    assert np.mean(right) > 0.7


@needs_server
@pytest.mark.parametrize("upload", [b"", b"no image", EMOJI.images[0][:100]])
def test_upload_that_is_no_image_is_the_client_s_fault(address, upload):
    status, answer = post(address, upload)
    assert status == 422
    assert "sample 0" in answer["detail"]
