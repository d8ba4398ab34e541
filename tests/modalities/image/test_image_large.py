"""Pictures of 49 million pixels: little memory whatever their mode, and the numbers of Pillow."""

import io
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from skltransfer._engine.modalities.image import _bands, _decode
from skltransfer.cards import ImageSpec
from tests.bombs import _tiff
from tests.modalities.image.support import encoded, pixels
from tests.modalities.image.test_image_bombs import megabytes

#: MB that one picture of 49 million pixels may take.
MOST = 500
MODES = ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "I;16"]


def picture(mode: str, size=(120, 90)) -> Image.Image:
    """Make a picture with edges and noise in a mode."""
    width, height = size
    y, x = np.mgrid[:height, :width]
    noise = np.random.default_rng(0).integers(0, 60, (height, width, 4))
    smooth = np.stack([255 * x // width, 255 * y // height, 99 + 0 * x, 255 - y], -1)
    image = Image.fromarray(np.clip(smooth // 2 + noise, 0, 255).astype(np.uint8), "RGBA")
    if mode == "I;16":
        return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    return image if mode == "RGBA" else image.convert("RGB").convert(mode)


def options(mode: str) -> tuple[str, dict[str, object]]:
    """Return the format a mode can be saved in, and how."""
    return ("JPEG", {"quality": 95}) if mode == "YCbCr" else ("TIFF", {}) if mode in ("CMYK", "PA") else ("PNG", {})


@pytest.fixture
def in_bands(monkeypatch):
    """Make every picture a large one, and its parts small."""

    def switch(band=500):
        monkeypatch.setattr(_decode, "LARGE", 1)
        monkeypatch.setattr("skltransfer._engine.modalities.image._read.LARGE", 1)
        monkeypatch.setattr(_bands, "BAND", band)

    return switch


SPECS = [
    ImageSpec((24, 20), "shorter", 28),
    ImageSpec((24, 20), "squash", interpolation="bicubic"),
    ImageSpec((24, 20), "shorter", 28, "lanczos", draft=True),
    ImageSpec((24, 20), "shorter", 28, "nearest"),
]


def assert_close(got, want, spec):
    apart = np.abs(got.astype(int) - want.astype(int))
    assert spec.interpolation == "nearest" or apart.max() <= 1  # it may take the neighbor
    assert (apart > 0).mean() < (0.1 if spec.interpolation == "nearest" else 0.02)


@pytest.mark.parametrize("spec", SPECS, ids=str)
@pytest.mark.parametrize("mode", MODES)
def test_parts_give_the_numbers_of_the_whole(mode, spec, in_bands):
    kind, how = options(mode)
    data = encoded(picture(mode), kind, **how)
    want = pixels(data, spec)
    in_bands()
    assert_close(pixels(data, spec), want, spec)


@pytest.mark.parametrize("transparency", [{"mode": "P", "transparency": 3}, {"mode": "L", "transparency": 99}], ids=str)
def test_transparent_parts_give_the_numbers_of_the_whole(transparency, in_bands):
    data = encoded(picture(transparency["mode"]), transparency=transparency["transparency"])
    want = pixels(data, SPECS[0])
    in_bands()
    assert_close(pixels(data, SPECS[0]), want, SPECS[0])


@pytest.mark.parametrize("size", [(120, 90), (90, 120), (2000, 3), (3, 2000), (400, 40)])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_parts_are_turned_upright(orientation, size, in_bands):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(picture("RGB", size), exif=exif.tobytes())
    want = [pixels(data, spec) for spec in SPECS[:2]]
    in_bands()
    for spec, one in zip(SPECS, want, strict=False):
        apart = np.abs(pixels(data, spec).astype(int) - one)
        assert apart.max() <= 1  # the axes of a turned picture are scaled in the other order


@pytest.mark.parametrize("orientation", range(1, 9))
def test_large_image_object_is_the_same_pixel_by_pixel(orientation, in_bands):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data, spec = encoded(picture("RGBA"), exif=exif.tobytes()), ImageSpec((90, 120), "squash")
    want = pixels(Image.open(io.BytesIO(data)), spec)
    in_bands()
    np.testing.assert_array_equal(pixels(Image.open(io.BytesIO(data)), spec), want)


def flat(mode: str, size: tuple[int, int]) -> bytes:
    """Build a picture of one color that costs little to encode."""
    kind, how = ("TIFF", {"compression": "tiff_adobe_deflate"}) if mode in ("CMYK", "PA") else options(mode)
    if mode == "I;16":
        return encoded(Image.fromarray(np.zeros(size[::-1], np.uint16)), compress_level=1)
    return encoded(Image.new(mode, size, 0), kind, **{**how, **({"compress_level": 1} if kind == "PNG" else {})})


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    "mode", [pytest.param(mode, marks=[pytest.mark.slow] if mode not in ("RGBA", "P") else []) for mode in MODES]
)
def test_49_million_pixels_take_bounded_memory(mode, tmp_path):
    (tmp_path / "a").write_bytes(flat(mode, (7000, 7000)))
    assert megabytes([tmp_path / "a"]) < MOST


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.slow
@pytest.mark.parametrize("size", [(6, 8_150_000), (49_000_000, 1), (100, 490_000)])
@pytest.mark.parametrize("resize", [("shorter", 256), ("squash",)])
@pytest.mark.parametrize("mode", ["L", "RGBA"])
def test_thin_pictures_take_bounded_memory(mode, size, resize, tmp_path):
    width, height = size
    tags = {**_tiff.grey(width, height, _tiff.DEFLATE), _tiff.SAMPLES: [len(mode)]}
    if mode == "RGBA":
        tags |= {_tiff.KIND: [2], 338: [2], 284: [1]}
    data = zlib.compress(bytes(width * height * len(mode)), 1)
    tags |= {_tiff.OFFSETS: [8], _tiff.ROWS: [height], _tiff.COUNTS: [len(data)]}
    (tmp_path / "a").write_bytes(_tiff.tiff(tags, data))
    assert megabytes([tmp_path / "a"], *resize) < MOST


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.slow
@pytest.mark.parametrize("orientation", [3, 6])
def test_turned_picture_takes_bounded_memory(orientation, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.new("RGB", (7000, 7000))
    (tmp_path / "a").write_bytes(encoded(image, "JPEG", exif=exif.tobytes(), progressive=orientation == 6))
    assert megabytes([tmp_path / "a"]) < MOST
