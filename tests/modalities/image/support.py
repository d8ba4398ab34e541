"""What the tests of images share."""

import io

import numpy as np
import pytest
from PIL import Image

from skltransfer._engine.modalities import image as images
from skltransfer.cards import ImageSpec
from skltransfer.errors import Unreadable

#: Keeps every pixel of an 8 x 8 image.
SPEC = ImageSpec((8, 8), "squash")
NOISE = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
PHOTO = np.random.default_rng(1).integers(0, 256, (50, 70, 3), dtype=np.uint8)


def encoded(image, kind="PNG", **options) -> bytes:
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def pixels(sample, spec=SPEC):
    return images.prepare(images.read(sample), spec)


def refusal(sample, spec=SPEC) -> str:
    with pytest.raises(Unreadable, match=r".") as caught:
        pixels(sample, spec)
    return str(caught.value)
