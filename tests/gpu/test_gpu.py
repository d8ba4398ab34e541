"""The GPU checks under pytest; skipped, with the reason found, where no GPU can be used."""

import pytest

from skltransfer import cards
from tests.gpu import checks

needs_gpu = pytest.mark.skipif(bool(checks.missing_gpu()), reason=f"no GPU: {checks.missing_gpu()}")


@needs_gpu
@pytest.mark.parametrize("model", cards.names())
@pytest.mark.parametrize("check", checks.CHECKS, ids=lambda check: check.__name__)
def test_gpu(check, model):
    assert check(model)


@needs_gpu
@pytest.mark.parametrize("check", checks.CHECKS, ids=lambda check: check.__name__)
def test_gpu_with_real_backbones(check, shared, tmp_path):
    for model in checks.at_hand(tmp_path)[len(cards.names()) :]:
        assert check(model)


def test_real_backbones_at_hand_have_cards(shared, tmp_path):
    """What is compared on a GPU is what runs here."""
    for model in checks.at_hand(tmp_path)[len(cards.names()) :]:
        assert len(checks.embed(model, checks.samples_of(model, 2), device="cpu")) == 2
