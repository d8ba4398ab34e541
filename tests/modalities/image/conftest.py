"""Fixtures of the tests of images."""

from pathlib import Path

import pytest

from tests.modalities.image.support import NOISE, encoded


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "noise.png"
    path.write_bytes(encoded(NOISE))
    return path
