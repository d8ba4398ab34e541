"""Where the input lies in the original: exact to a pixel, whatever the resize, EXIF orientation and draft."""

import io

import numpy as np
import pytest
from PIL import Image

from skltransfer._engine.modalities import image as images
from skltransfer.cards import ImageSpec

SPECS = {
    "squash": ImageSpec((64, 80), "squash"),
    "shorter": ImageSpec((96, 96), "shorter", 112),
    "torchvision": ImageSpec((96, 64), "shorter", 120, rounding="torchvision"),
    "draft": ImageSpec((48, 48), "shorter", 56, draft=True),
    "draft, squashed": ImageSpec((40, 40), "squash", draft=True),
}
SIZES = [(640, 480), (333, 517), (200, 200), (401, 399)]


def stored(size, spot, orientation) -> bytes:
    """Encode a dark picture, upright (width, height), with a bright square of 41 pixels, turned as EXIF says."""
    upright = np.zeros((size[1], size[0], 3), np.uint8)
    x, y = spot
    upright[y - 20 : y + 21, x - 20 : x + 21] = 255
    undo = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]  # the transpose that EXIF will undo
    picture = Image.fromarray(upright)
    picture = picture if undo is None else picture.transpose(Image.Transpose(undo))
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=95, exif=exif.tobytes())
    return file.getvalue()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", SPECS)
def test_bright_spot_is_found_again_in_the_original(name, size, orientation):
    spec, spot = SPECS[name], (size[0] * 2 // 5, size[1] * 3 // 5)
    data = stored(size, spot, orientation)
    pixels = images.prepare(images.read(data), spec)[..., 1].astype(float)
    with Image.open(io.BytesIO(data)) as opened:
        place = images.placement_of(opened, spec)
    assert place.original == size
    weights = pixels * (pixels > 60)
    y, x = ((weights * grid).sum() / weights.sum() + 0.5 for grid in np.mgrid[: pixels.shape[0], : pixels.shape[1]])
    found = place.to_original([x, y, x, y])[:2]
    assert np.abs(found - (spot[0] + 0.5, spot[1] + 0.5)).max() < 1


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", SPECS)
def test_way_back_and_forth_is_the_same_box(name, size):
    place = images.placement(size, SPECS[name], jpeg=True)
    box = np.array([[3.0, 5.0, 31.0, 40.5]])
    np.testing.assert_allclose(place.to_input(place.to_original(box)), box)


def test_cells_tile_the_input():
    place = images.placement((640, 480), SPECS["shorter"])
    left, top, _, _ = place.cell(0, 0, (3, 3))
    _, _, right, bottom = place.cell(2, 2, (3, 3))
    np.testing.assert_allclose([left, top, right, bottom], place.to_original([0, 0, 96, 96]))


def test_squashed_image_fills_the_original():
    place = images.placement((640, 480), SPECS["squash"])
    np.testing.assert_allclose(place.to_original([0, 0, 80, 64]), [0, 0, 640, 480])


def test_array_is_placed_by_its_shape():
    place = images.placement_of(np.zeros((480, 640, 3), np.uint8), SPECS["squash"])
    assert place == images.placement((640, 480), SPECS["squash"])
