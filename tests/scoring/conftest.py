"""Fixtures of the tests of batch scoring."""

import pytest

from tests.scoring import support


@pytest.fixture(scope="session")
def texts():
    """A fitted pipeline of texts."""
    pytest.importorskip("tokenizers")
    return support.text_pipeline()


@pytest.fixture(scope="session")
def images():
    """A fitted pipeline of images."""
    return support.image_pipeline()


@pytest.fixture(autouse=True, scope="session")
def needs_pyarrow():
    """Skip where the extra is not installed."""
    pytest.importorskip("pyarrow")
