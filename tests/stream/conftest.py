"""Fixtures of the tests of the assembly line."""

import pytest

from skltransfer._engine import stream
from skltransfer._engine.modalities import image as images
from skltransfer.cards import ImageSpec
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
        for step, work in steps.items():
            monkeypatch.setattr(images, step, work)
        monkeypatch.setattr(stream.PREPARERS[ImageSpec], "read", staticmethod(images.read))

    return replace
