"""A detector that is fitted once for all tests of the room."""

import pytest

from skltransfer.detection import ObjectDetector
from tests.detection.support import QUICK, scenes


@pytest.fixture(scope="session")
def fitted():
    """Fit to 16 scenes and 2 images without objects."""
    images, targets = scenes(16)
    empty, nothing = scenes(2, first=500, objects=0)
    return ObjectDetector(**QUICK).fit(images + empty, targets + nothing)
