"""What every test has: a clean process-wide state, the shared folder, the option ``--slow``."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

from skltransfer._engine import process
from tests.paths import ROOT

# The same examples in every run, however slow the machine: a search for new ones is a person's to start.
settings.register_profile("same", derandomize=True, deadline=None, database=None)
settings.load_profile("same")


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="run the tests marked slow, too")


def pytest_collection_modifyitems(config, items):
    if config.getoption("--slow"):
        return
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.skip(reason="slow; run with --slow"))


@pytest.fixture(autouse=True, scope="session")
def folder_of_the_user(tmp_path_factory):
    """Keep the user's cache folder out of it, children included: which models were tried is of this session alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache-home")))
        yield


@pytest.fixture
def nothing_tried(tmp_path_factory, monkeypatch):
    """Set a cache folder of the user that remembers no model."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("new-home")))


@pytest.fixture(autouse=True)
def clean_process():
    """Let go of what a test left in the tables of the process."""
    yield
    process.reset()


@pytest.fixture(autouse=True)
def auto_is_the_cpu(request, monkeypatch):
    """Make ``device="auto"`` the CPU, children included: rows are the same everywhere, and CUDA survives no fork."""
    if request.path.parent.name != "gpu":
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real backbones and photographs, in the folder ``shared`` beside the checkout."""
    folder = ROOT.parent / "shared"
    if not (folder / "models").is_dir():
        pytest.skip(f"no folder {folder.name!r} with models beside the checkout")
    return folder
