"""Every kind of sample that is an image, and every format that is read."""

import io
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
        lambda p: np.fromfile(p, np.uint8),
        lambda p: np.dstack([NOISE, np.full((8, 8), 255, np.uint8)]),
        lambda p: {"bytes": p.read_bytes(), "path": None},
        lambda p: {"bytes": p.read_bytes(), "path": "train/noise.png"},
        lambda p: {"bytes": None, "path": str(p)},
        lambda p: io.BytesIO(p.read_bytes()),
        Path.as_uri,
    ],
    ids=[
        *("str", "Path", "np.str_", "bytes", "bytearray", "memoryview", "PIL", "array", "fortran", "view"),
        *("np.fromfile", "RGBA", "dictionary of bytes", "dictionary with a name", "dictionary of a path"),
        *("BytesIO", "file://"),
    ],
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


@pytest.mark.parametrize("shape", [(8, 8, 4), (2, 9, 4), (9, 3, 4)])
def test_rgba_array_is_the_picture_that_its_file_is(shape):
    rgba = np.random.default_rng(3).integers(0, 256, shape, dtype=np.uint8)
    np.testing.assert_array_equal(pixels(rgba), pixels(encoded(rgba)))
    assert images.read(rgba).digest() == images.read(np.asfortranarray(rgba)).digest()


def test_stack_of_rgba_arrays_gives_its_pictures():
    from skltransfer._engine.samples import unpack

    stack = np.random.default_rng(3).integers(0, 256, (2, 8, 8, 4), dtype=np.uint8)
    got = [pixels(sample) for sample in unpack(stack).items]
    np.testing.assert_array_equal(got, [pixels(encoded(rgba)) for rgba in stack])


def test_home_folder_is_known(file, monkeypatch):
    monkeypatch.setenv("HOME", str(file.parent))
    np.testing.assert_array_equal(pixels("~/noise.png"), NOISE)
    assert images.read("~/noise.png").path == str(file)
