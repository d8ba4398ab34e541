"""What is no image, or no safe one, is refused at once and with the reason."""

import base64
import dataclasses
import io
import os
import re
import socket
import time
import tracemalloc

import numpy as np
import pytest
from PIL import Image, ImageFile

from skltransfer._engine import sources
from skltransfer._engine.modalities.image import _decode
from skltransfer.cards import ImageSpec
from skltransfer.errors import InputWarning
from tests.modalities.image.support import NOISE, PHOTO, encoded, pixels, refusal


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid",
            "a Git LFS pointer; fetch the file itself with: git lfs pull",
        ),
        (b"\n <!DOCTYPE html><html>", "a web page"),
        (b"<html>", "a web page"),
        (b"<?xml version='1.0'?><svg/>", "XML, perhaps SVG"),
        (b"<svg xmlns=''/>", "SVG, which has no pixels"),
        (b"%PDF-1.7", "a PDF document"),
        (b"PK\x03\x04\x14", "a ZIP archive"),
        (b"\x1f\x8b\x08", "gzip data"),
        (
            b"\0\0\0\x1cftypheic\0\0\0\0mif1heic",
            "HEIC, as telephones write it; save it as JPEG, or pip install",
        ),
        (b"\0\0\0\x20ftypmif1\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x20ftypavif\0\0\0\0", "AVIF; save it as JPEG or PNG, or give what Pillow opens"),
        (b"\0\0\0\x20ftypmif1\0\0\0\0miafavif", "AVIF"),
        (b"\0\0\0\x20ftypisom\0\0\0\0", "a video; give its frames as arrays"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000; save it as JPEG or PNG"),
        (b"\xff\x4f\xff\x51\0", "JPEG 2000"),
        (b"\xff\x0a\0", "JPEG XL"),
        (b"8BPS\0\1", "a document of Photoshop"),
        (bytes(128) + b"DICM", "DICOM; read it with pydicom"),
        (b"\x93NUMPY\1\0", "a .npy file; give np.load(path)"),
        (base64.b64encode(encoded(PHOTO, "JPEG")), "an image in base64; give base64.b64decode(data)"),
        (base64.encodebytes(encoded(PHOTO, "PNG")), "an image in base64"),
        (base64.b64encode(encoded(NOISE, "BMP")), "an image in base64"),
        (b"data:image/png;base64,iVBORw0KGgo=", "a data URL; give its bytes"),
        (b"https://example.org/a.jpg", "an address of the web"),
        (b"just text", r"its first bytes are b'just text'"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n", "PostScript, which is a program"),
    ],
)
def test_file_that_is_no_image_is_refused_by_what_it_looks_like(tmp_path, content, message):
    (tmp_path / "a.jpg").write_bytes(content)
    assert message in refusal(tmp_path / "a.jpg")


@pytest.mark.parametrize("kind", ["PPM", "ICO", "TGA", "PCX", "EPS", "ICNS", "SGI"])
def test_format_outside_the_list_is_refused(kind):
    assert "is no JPEG, PNG, WEBP, GIF, BMP, TIFF file" in refusal(encoded(Image.new("RGB", (16, 16)), kind))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
def test_truncated_file_is_refused(kind, part):
    whole = encoded(PHOTO, kind)
    assert refusal(whole[: int(len(whole) * part)])


@pytest.mark.parametrize("make", [os.mkfifo, lambda p: os.symlink("/dev/zero", p)], ids=["FIFO", "device"])
def test_what_is_no_regular_file_is_refused_at_once(tmp_path, make):
    make(tmp_path / "a.jpg")
    assert refusal(tmp_path / "a.jpg") == "is not a regular file"


def test_socket_is_refused_at_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # names of sockets are short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("a.jpg")
        assert "cannot be opened" in refusal("a.jpg")


def test_folder_is_refused_with_the_way_to_list_it(tmp_path):
    assert refusal(tmp_path) == "is a folder; give its files, such as sorted(Path(folder).glob('*.jpg'))"


def test_file_that_is_too_long_is_refused_unread(tmp_path):
    with (tmp_path / "a.png").open("wb") as file:
        file.truncate(sources.MAX_BYTES + 1)
    assert refusal(tmp_path / "a.png") == "has 268,435,457 bytes, more than the 268,435,456 an image may have"


@pytest.mark.parametrize(
    ("path", "message"),
    [("/no/such/file.jpg", "cannot be opened (No such file or directory)"), ("a\0b", "embedded null")],
)
def test_path_that_cannot_be_opened_is_refused(path, message):
    assert message in refusal(path)


def big(width, height, mode="1") -> bytes:
    return encoded(Image.new(mode, (width, height)))


@pytest.mark.parametrize(("width", "height"), [(7100, 7100), (9400, 9400), (1_000_000, 51)])
def test_too_many_pixels_are_refused_before_they_are_decoded(width, height):
    data = big(width, height)
    tracemalloc.start()
    message = refusal(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert message == (
        f"has {width} x {height} pixels, more than the card's max_pixels=50,000,000; to allow it: "
        f"load_card(model, max_pixels={width * height:_})"
    )
    assert peak < 10**7


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")  # Pillow's own, above 89 million pixels
def test_decompression_bomb_is_refused():
    assert "has 12000 x 12000 pixels" in refusal(big(12000, 12000, "L"))


def test_cap_on_pixels_is_that_of_the_card():
    spec = ImageSpec((8, 8), "squash", max_pixels=63)
    said = refusal(encoded(NOISE), spec)
    assert said == "has 8 x 8 pixels, more than the card's max_pixels=63; to allow it: load_card(model, max_pixels=64)"


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_what_a_refusal_of_many_pixels_says_to_type_allows_them(kind):
    data, spec = encoded(PHOTO, kind), ImageSpec((8, 8), "squash", max_pixels=900)
    allowed = int(re.search(r"max_pixels=([\d_]+)\)", refusal(data, spec))[1])
    assert pixels(data, dataclasses.replace(spec, max_pixels=allowed)).shape == (8, 8, 3)


@pytest.mark.parametrize(("width", "height"), [(30000, 2), (2, 30000), (1_000_000, 1), (1, 1)])
@pytest.mark.parametrize("fast", [False, True])
def test_extreme_shape_takes_bounded_memory_and_time(width, height, fast):
    import resource

    data = encoded(np.full((height, width, 3), 99, np.uint8))
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    got = pixels(data, ImageSpec((224, 224), "shorter", 256, draft=fast))
    assert (got.shape, set(np.unique(got))) == ((224, 224, 3), {99})
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kB
    assert time.monotonic() - start < 2


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_to_8_bits(kind):
    values = np.array([0, 257, 32896, 65535], np.uint16).reshape(2, 2)
    got = pixels(encoded(values, kind), ImageSpec((2, 2), "squash"))
    np.testing.assert_array_equal(got[..., 0], [[0, 1], [128, 255]])


@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_16_bit_image_object_is_scaled_to_8_bits(byteorder):
    image = Image.frombytes(
        "I;16" if byteorder == "<" else "I;16B", (2, 1), np.array([0, 65535], byteorder + "u2").tobytes()
    )
    np.testing.assert_array_equal(pixels(image, ImageSpec((1, 2), "squash"))[0, :, 0], [0, 255])


@pytest.mark.parametrize(("mode", "kind"), [("I", "32-bit"), ("F", "floating-point")])
def test_pixels_of_unknown_range_are_refused(mode, kind):
    image = Image.fromarray(NOISE).convert("L").convert(mode)
    message = f"holds {kind} pixels, whose range is not known; save it with 8 or 16 bits"
    assert refusal(image) == refusal(encoded(image, "TIFF")) == message


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((8, 8, 3)), "a float64 array: its range is not known; give uint8, such as (255 * x).astype('uint8')"),
        (np.full((8, 8, 3), np.nan, np.float32), "a float32 array with values that are not finite"),
        (np.zeros((8, 8, 3), np.int64), "a int64 array: its range is not known"),
        (np.zeros((8, 8, 3), bool), "a bool array: its range is not known"),
        (np.zeros((3, 4, 4), np.uint8), "an array of shape (3, 4, 4) is not (height, width, 3) or (height, width); if"),
        (np.zeros((1, 4, 4), np.uint8), "give x.transpose(1, 2, 0)"),
        (np.zeros((4, 8, 8), np.uint8), "give x.transpose(1, 2, 0)"),
        (np.zeros((8, 8, 2), np.uint8), "an array of shape (8, 8, 2) is not (height, width, 3)"),
        (
            np.ma.masked_array(np.zeros((8, 8, 3), np.uint8), mask=True),
            "a masked array: what its masked pixels look like",
        ),
        (np.zeros((2, 8, 8, 3), np.uint8), "an array of shape (2, 8, 8, 3) is not"),
        (np.zeros(8, np.uint8), "its first bytes are"),
        (np.zeros(0, np.uint8), "an array of shape (0,) is not"),
        (np.zeros(8, np.int8), "a int8 array: its range is not known"),
        (np.array(7, np.uint8), "an array of shape () is not"),
        (np.zeros((0, 8, 3), np.uint8), "an array of shape (0, 8, 3) has no pixels"),
        (np.zeros((0, 8), np.uint8), "has no pixels"),
    ],
)
def test_array_that_would_have_to_be_guessed_is_refused(array, message):
    assert message in refusal(array)


@pytest.mark.parametrize("size", [(0, 5), (5, 0)])
def test_image_object_without_pixels_is_refused(size):
    assert "has no pixels" in refusal(Image.new("RGB", size))


def test_bytes_of_numpy_that_lose_zeros_are_refused():
    (sample,) = np.array([b"\xff\xd8\0"])
    assert refusal(sample).startswith("an array of dtype S has lost the zeros at the end of each sample; give a list")


@pytest.mark.parametrize("missing", [None, float("nan"), np.nan, np.float32("nan")])
def test_missing_sample_is_said_to_be_missing(missing):
    assert refusal(missing) == f"the sample is missing ({missing!r})"


def test_missing_sample_of_pandas_is_said_to_be_missing():
    import pandas as pd

    assert (refusal(pd.NA), refusal(pd.NaT)) == ("the sample is missing (<NA>)", "the sample is missing (NaT)")


@pytest.mark.parametrize("sample", [7, 0.5, ["a.jpg"], {"file": "a.jpg"}, {}, object(), np.float64(1), {1}, type])
def test_sample_of_another_type_is_refused_by_its_type(sample):
    assert refusal(sample).startswith(f"{type(sample).__name__} is no image; give a path, encoded bytes")


def test_image_object_whose_file_is_truncated_is_refused():
    whole = encoded(PHOTO, "JPEG")
    assert "the image cannot be decoded (OSError" in refusal(Image.open(io.BytesIO(whole[: len(whole) // 2])))


def test_image_object_whose_file_is_closed_is_refused(file):
    with Image.open(file) as image:
        pass
    assert "the image cannot be decoded (" in refusal(image)


@pytest.fixture
def truncation_allowed(monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    _decode._warn_truncation_allowed.cache_clear()


def test_truncated_images_allowed_by_the_user_are_noticed_once(truncation_allowed, recwarn):
    with pytest.warns(InputWarning, match=r"LOAD_TRUNCATED_IMAGES is set: cut files are read as .* half gray"):
        pixels(encoded(NOISE))
    recwarn.clear()
    pixels(encoded(NOISE))
    assert not recwarn
