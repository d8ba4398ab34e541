"""Colors, transparency, orientation and frames."""

import numpy as np
import pytest
from PIL import Image

from skltransfer.cards import ImageSpec
from tests.modalities.image.support import NOISE, encoded, pixels


def test_transparent_pixels_are_put_on_white():
    rgba = np.dstack([NOISE, np.full((8, 8), 0, np.uint8)])
    rgba[0, 0, 3] = 255
    got = pixels(encoded(rgba))
    assert (got[0, 0] == NOISE[0, 0]).all()
    assert (got[1:] == 255).all()


def test_half_transparent_pixels_are_mixed_with_white():
    rgba = np.dstack([np.zeros((8, 8, 3), np.uint8), np.full((8, 8), 128, np.uint8)])
    assert np.abs(pixels(encoded(rgba)).astype(int) - 127).max() <= 1


def _palette() -> Image.Image:
    image = Image.fromarray(NOISE // 128 * 255).quantize(8)
    image.info["transparency"] = image.getpixel((0, 0))
    return image


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(np.dstack([NOISE[..., 0] * 0, NOISE[..., 0] * 0])),
        Image.fromarray(NOISE[..., 0] * 0 + 7),
        Image.new("RGB", (8, 8), (1, 2, 3)),
    ],
    ids=["LA", "L with a transparent grey", "RGB with a transparent color"],
)
def test_every_way_to_be_transparent_is_white(image):
    options = {"L": {"transparency": 7}, "RGB": {"transparency": (1, 2, 3)}}.get(image.mode, {})
    assert (pixels(encoded(image, **options)) == 255).all()


def test_transparent_colour_of_a_palette_is_white():
    image = _palette()
    got = pixels(encoded(image, transparency=image.info["transparency"]))
    assert (got[np.asarray(image) == image.info["transparency"]] == 255).all()


@pytest.mark.parametrize(
    ("mode", "kind", "color", "want"),
    [
        ("L", "PNG", 90, (90, 90, 90)),
        ("1", "PNG", 1, (255, 255, 255)),
        ("P", "PNG", 0, (0, 0, 0)),
        ("CMYK", "JPEG", (0, 255, 255, 0), (255, 0, 0)),
        ("CMYK", "TIFF", (255, 255, 0, 0), (0, 0, 255)),
        ("YCbCr", "JPEG", (90, 128, 128), (90, 90, 90)),
    ],
)
def test_colors_of_other_modes_become_rgb(mode, kind, color, want):
    got = pixels(encoded(Image.new(mode, (8, 8), color), kind))
    assert np.abs(got.astype(int) - want).max() <= 2


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF", "PNG"])
def test_first_frame_of_an_animation_is_taken(kind):
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "lime")]
    options = {"lossless": True} if kind == "WEBP" else {}
    got = pixels(encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options))
    assert (got == [255, 0, 0]).all()


UPRIGHT = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
#: What is stored so that a reader who obeys the orientation sees `UPRIGHT`.
STORED = {
    1: UPRIGHT,
    2: UPRIGHT[:, ::-1],
    3: UPRIGHT[::-1, ::-1],
    4: UPRIGHT[::-1],
    5: UPRIGHT.T,
    6: UPRIGHT.T[::-1],
    7: UPRIGHT[::-1, ::-1].T,
    8: UPRIGHT.T[:, ::-1],
}


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", STORED)
def test_image_is_turned_upright(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(np.ascontiguousarray(STORED[orientation]), kind, exif=exif.tobytes(), **options)
    np.testing.assert_array_equal(pixels(data, ImageSpec((2, 3), "squash"))[..., 0], UPRIGHT)


@pytest.mark.parametrize("fast", [False, True])
def test_photograph_is_turned_upright(fast):
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = np.zeros((16, 32, 3), np.uint8)
    stored[:, :16] = 255  # the left half is white; seen upright, the upper one
    got = pixels(encoded(stored, "JPEG", exif=exif.tobytes()), ImageSpec((32, 16), "squash", draft=fast))
    assert got[:12].min() > 200
    assert got[20:].max() < 50


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"]
)
@pytest.mark.filterwarnings("ignore:Corrupt EXIF:UserWarning")  # Pillow's own
def test_photograph_with_broken_exif_data_is_read_as_it_lies(exif):
    got = pixels(encoded(np.full((8, 8, 3), 99, np.uint8), "JPEG", exif=exif))
    assert np.abs(got.astype(int) - 99).max() <= 1
