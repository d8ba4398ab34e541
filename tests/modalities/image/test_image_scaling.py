"""Pixels are scaled and cropped as Pillow, torchvision and transformers do, to the bit."""

import numpy as np
import pytest
from PIL import Image

from skltransfer.cards import ImageSpec
from tests.modalities.image.support import PHOTO, encoded, pixels


def by_hand(image, spec):
    """Scale and crop as torchvision does."""
    image = image.convert("RGB")
    filter_ = Image.Resampling[spec.interpolation.upper()]
    scale = spec.resize_to / min(image.size)
    width, height = (round(length * scale) for length in image.size)
    left, top = (width - spec.size[1]) // 2, (height - spec.size[0]) // 2
    return np.asarray(image.resize((width, height), filter_).crop((left, top, left + spec.size[1], top + spec.size[0])))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos", "nearest", "box", "hamming"])
@pytest.mark.parametrize("shape", [(50, 70), (70, 50), (33, 33), (20, 150), (9, 9)])
def test_scaling_and_cropping_are_those_of_pillow_to_the_bit(interpolation, shape):
    photo = np.random.default_rng(sum(shape)).integers(0, 256, (*shape, 3), dtype=np.uint8)
    spec = ImageSpec((24, 20), "shorter", 28, interpolation)
    np.testing.assert_array_equal(pixels(photo, spec), by_hand(Image.fromarray(photo), spec))


@pytest.mark.parametrize(
    ("rounding", "scaled", "corner"),
    [("nearest", (47, 28), (13, 2)), ("torchvision", (46, 28), (13, 2)), ("transformers", (46, 28), (13, 2))],
)
def test_fractions_of_a_pixel_go_where_the_library_puts_them(rounding, scaled, corner):
    photo = np.random.default_rng(0).integers(0, 256, (30, 50, 3), dtype=np.uint8)
    spec = ImageSpec((24, 20), "shorter", 28, rounding=rounding)
    image = Image.fromarray(photo).resize(scaled, Image.Resampling.BILINEAR)
    want = image.crop((*corner, corner[0] + 20, corner[1] + 24))
    np.testing.assert_array_equal(pixels(photo, spec), np.asarray(want))


def test_squashing_is_that_of_pillow_to_the_bit():
    want = np.asarray(Image.fromarray(PHOTO).resize((20, 24), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(pixels(PHOTO, ImageSpec((24, 20), "squash", interpolation="bicubic")), want)


def smooth(height, width):
    y, x = np.mgrid[:height, :width]
    return np.stack([255 * x // width, 255 * y // height, 120 + 0 * x], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("shape", [(500, 700), (700, 500), (300, 300)])
@pytest.mark.parametrize("resize", ["shorter", "squash"])
def test_fast_decoding_differs_by_little(shape, resize):
    data = encoded(smooth(*shape), "JPEG", quality=95)
    slow, fast = (ImageSpec((64, 64), resize, 73, draft=fast) for fast in (False, True))
    assert np.abs(pixels(data, slow).astype(int) - pixels(data, fast)).max() <= 8


def test_cropping_inside_the_scaling_sees_the_same_part():
    photo, spec = smooth(20, 400), ImageSpec((24, 24), "shorter", 28)
    assert np.abs(pixels(photo, spec).astype(int) - by_hand(Image.fromarray(photo), spec)).max() <= 2
