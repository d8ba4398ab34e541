"""Every kind of sample that is an image, and every format that is read."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from skltransfer._engine.modalities import image as images
from tests.modalities.image.support import NOISE, encoded, pixels


@pytest.mark.parametrize(
    "kind",
    [
        str,
        Path,
        np.str_,
        Path.read_bytes,
        lambda p: bytearray(p.read_bytes()),
        lambda p: memoryview(p.read_bytes()),
        Image.open,
        lambda p: NOISE,
        lambda p: np.asfortranarray(NOISE),
        lambda p: np.dstack([NOISE, NOISE])[..., :3],
    ],
    ids=["str", "Path", "np.str_", "bytes", "bytearray", "memoryview", "PIL", "array", "fortran", "view"],
)
def test_same_picture_in_any_form_gives_the_same_pixels(file, kind):
    np.testing.assert_array_equal(pixels(kind(file)), NOISE)


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 1)])
def test_grey_array_becomes_three_equal_channels(shape):
    grey = NOISE[..., 0].reshape(shape)
    np.testing.assert_array_equal(pixels(grey), np.repeat(grey.reshape(8, 8, 1), 3, axis=2))


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "BMP", "TIFF", "JPEG"])
def test_every_allowed_format_is_read(kind):
    flat = np.full((8, 8, 3), 51, np.uint8)
    assert np.abs(pixels(encoded(flat, kind)).astype(int) - 51).max() <= 3


def test_file_name_says_nothing_about_the_format(tmp_path):
    (tmp_path / "noise.jpg").write_bytes(encoded(NOISE, "PNG"))
    np.testing.assert_array_equal(pixels(tmp_path / "noise.jpg"), NOISE)


@pytest.mark.parametrize("name", ["ä ö.png", "a\nb.png", "\udcff.png", "'quoted'.png"])
def test_any_file_name_can_be_opened(tmp_path, name):
    path = os.path.join(str(tmp_path), name)
    with open(path, "wb") as file:
        file.write(encoded(NOISE))
    assert images.read(path).path == path
    np.testing.assert_array_equal(pixels(path), NOISE)
