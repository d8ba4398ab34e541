"""Fixtures of the tests of the catalog."""

import pytest

from skltransfer._engine import inspection


@pytest.fixture
def no_child(monkeypatch):
    """Fail if a child process is started."""
    monkeypatch.setattr(inspection, "_read_in_child", lambda *_: pytest.fail("a child was started"))


@pytest.fixture
def in_process(monkeypatch):
    """Read unpinned graphs here: a child takes seconds, and is not what the test is about."""
    monkeypatch.setattr(
        inspection, "_read_in_child", lambda path, manifest, sha256, tokenizer: inspection._read(path, manifest)
    )
