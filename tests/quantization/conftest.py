"""Fixtures of the tests of variants."""

import pytest

from skltransfer import testing
from tests import graphs, text_graphs


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    """Keep variants of embedded models out of the user's own store."""
    monkeypatch.setenv("SKLTRANSFER_MODELS", str(tmp_path / "store"))
    return tmp_path / "store"


@pytest.fixture
def images(tmp_path):
    """A network of convolutions."""
    return graphs.save_images(tmp_path, graphs.deep(), "deep")


@pytest.fixture
def texts(tmp_path):
    """A network of matrix products."""
    return testing.save_text_backbone(text_graphs.thinker(), tmp_path / "texts", pool="mean")
