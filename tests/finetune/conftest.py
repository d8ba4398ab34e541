"""A store of models of its own for every test."""

import pytest

pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("SKLTRANSFER_MODELS", str(tmp_path / "store"))
    return tmp_path / "store"
