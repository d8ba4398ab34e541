"""The GPU checks under pytest; skipped, with the reason found, where no GPU can be used."""

import pytest

from skltransfer import cards
from tests.gpu import checks


@pytest.fixture(scope="module", autouse=True)
def gpu():
    if reason := checks.missing_gpu():
        pytest.skip(f"no GPU: {reason}")


@pytest.mark.parametrize("model", cards.names())
@pytest.mark.parametrize("check", checks.CHECKS, ids=lambda check: check.__name__)
def test_gpu(check, model):
    assert check(model)
