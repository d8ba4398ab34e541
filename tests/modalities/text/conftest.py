"""Fixtures of the tests of texts."""

import pytest

from skltransfer import PretrainedEmbedder, testing
from skltransfer._engine import runtime, stream


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return testing.save_text_backbone(testing.text_backbone(), tmp_path_factory.mktemp("texts"))


@pytest.fixture
def embedder(folder):
    return PretrainedEmbedder(folder, n_jobs=2)


@pytest.fixture
def runs(monkeypatch):
    """Shapes of the arrays that are run, those of the probe left out."""
    shapes, run, probe, probing = [], runtime.Session.run, stream._open.probe, []

    def recorded(session, samples, stop=None, leave=None):
        if not probing:
            shapes.append(samples.shape)
        return run(session, samples, stop, leave)

    def left_out(*arguments, **named):
        probing.append(True)
        try:
            return probe(*arguments, **named)
        finally:
            probing.clear()

    monkeypatch.setattr(runtime.Session, "run", recorded)
    monkeypatch.setattr(stream._open, "probe", left_out)
    return shapes


@pytest.fixture(autouse=True)
def small_batches():
    """Let every test begin with batches that have not grown in another one."""
    stream._pace.sizes.clear()
