"""The way to the line is short: few Python calls, one look for the card."""

import sys

import pytest

from skltransfer import PretrainedEmbedder, load_card, testing
from skltransfer._engine import catalog
from tests.graphs import save_images

PICTURES = testing.noise_images(20)


@pytest.fixture
def embedder(tmp_path):
    """An embedder whose process is warm, as that of a service is."""
    embedder = PretrainedEmbedder(save_images(tmp_path)).fit(PICTURES)
    for picture in PICTURES[:5]:
        embedder.transform([picture])
    return embedder


def calls_until(name: str, work) -> list[str]:
    """List the Python functions that are called before the first one of a name."""
    called: list[str] = []

    def profile(frame, event, _):
        if event == "call" and name not in called:
            called.append(frame.f_code.co_name)

    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
    assert name in called
    return called[:-1]


def test_few_python_calls_come_before_the_line(embedder):
    assert len(calls_until("embed", lambda: embedder.transform([PICTURES[10]]))) <= 40


def test_card_is_loaded_at_most_once_a_call(embedder, monkeypatch):
    loaded = []
    monkeypatch.setattr(catalog, "load_card", lambda model: loaded.append(model) or load_card(model))
    embedder.set_params(normalize=True).transform(PICTURES)
    assert len(loaded) == 1
    embedder.transform(PICTURES[:3])
    assert len(loaded) == 1
