"""Fixtures of the tests of the assembly line."""

import pytest

from skltransfer._engine import stream
from skltransfer._engine.modalities.image import _prepare
from tests.graphs import save_images
from tests.stream.support import FORMS, plan_of


@pytest.fixture(params=FORMS)
def form(request, monkeypatch):
    """Either form of the line, on the CPU."""
    monkeypatch.setitem(stream.LINES, "cpu", FORMS[request.param])
    return FORMS[request.param]


@pytest.fixture
def plan(tmp_path):
    return plan_of(save_images(tmp_path))


@pytest.fixture
def replace(monkeypatch):
    """Replace a step of preparing images."""

    def replace(**steps):
        if "prepare" in steps:
            monkeypatch.setattr(_prepare, "prepare", steps["prepare"])
        if "read" in steps:
            monkeypatch.setattr(_prepare.ImagePreparer, "read", staticmethod(steps["read"]))

    return replace
