"""Images of every kind are read as they should be or refused by name, exactly, quickly and in bounded memory."""

import contextlib
import io
import os
import random
import socket
import time
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile, PngImagePlugin

from skltransfer._engine.modalities import image as images
from skltransfer.cards import ImageSpec
from skltransfer.errors import InputWarning, Unreadable

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


# ---------------------------------------------------------------------------------------------------------------------
# Kinds of samples


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "noise.png"
    path.write_bytes(encoded(NOISE))
    return path


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


# ---------------------------------------------------------------------------------------------------------------------
# The table of reliability


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
        file.truncate(images.MAX_BYTES + 1)
    assert refusal(tmp_path / "a.png") == "has 268,435,457 bytes, more than the 268,435,456 an image may have"


@pytest.mark.parametrize(
    ("path", "message"),
    [("/no/such/file.jpg", "cannot be opened (No such file or directory)"), ("a\0b", "not a file name (embedded null")],
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
    assert message == f"has {width} x {height} pixels, more than the card's max_pixels=50,000,000"
    assert peak < 10**7


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")  # Pillow's own, above 89 million pixels
def test_decompression_bomb_is_refused():
    assert "has 12000 x 12000 pixels" in refusal(big(12000, 12000, "L"))


def test_cap_on_pixels_is_that_of_the_card():
    spec = ImageSpec((8, 8), "squash", max_pixels=63)
    assert refusal(encoded(NOISE), spec) == "has 8 x 8 pixels, more than the card's max_pixels=63"


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
        (np.zeros((8, 8, 4), np.uint8), "an array of shape (8, 8, 4) is not (height, width, 3)"),
        (np.zeros((2, 8, 8, 3), np.uint8), "an array of shape (2, 8, 8, 3) is not"),
        (np.zeros(8, np.uint8), "an array of shape (8,) is not"),
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


@pytest.mark.parametrize("missing", [None, float("nan"), np.nan, np.float32("nan")])
def test_missing_sample_is_said_to_be_missing(missing):
    assert refusal(missing) == f"the sample is missing ({missing!r})"


def test_missing_sample_of_pandas_is_said_to_be_missing():
    import pandas as pd

    assert (refusal(pd.NA), refusal(pd.NaT)) == ("the sample is missing (<NA>)", "the sample is missing (NaT)")


@pytest.mark.parametrize("sample", [7, 0.5, ["a.jpg"], {"path": "a.jpg"}, object(), np.float64(1), {1}, type])
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
    images._warn_truncation_allowed.cache_clear()


def test_truncated_images_allowed_by_the_user_are_noticed_once(truncation_allowed, recwarn):
    with pytest.warns(InputWarning, match=r"LOAD_TRUNCATED_IMAGES is set: cut files are read as .* half grey"):
        pixels(encoded(NOISE))
    recwarn.clear()
    pixels(encoded(NOISE))
    assert not recwarn


# ---------------------------------------------------------------------------------------------------------------------
# Colours, transparency, orientation, frames


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


# ---------------------------------------------------------------------------------------------------------------------
# Exactness


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


# ---------------------------------------------------------------------------------------------------------------------
# Fingerprints


def digest(sample):
    return images.read(sample).digest()


def test_fingerprint_is_that_of_the_content(file, tmp_path):
    (tmp_path / "copy.jpg").write_bytes(file.read_bytes())
    os.utime(tmp_path / "copy.jpg", (0, 0))
    assert digest(file) == digest(tmp_path / "copy.jpg") == digest(file.read_bytes())
    assert digest(NOISE) == digest(np.asfortranarray(NOISE)) == digest(Image.fromarray(NOISE))


def test_fingerprints_of_other_contents_differ(file):
    samples = [file, NOISE, NOISE[::-1], NOISE.reshape(4, 16, 3), NOISE.reshape(16, 4, 3), NOISE.tobytes(), b""]
    assert len({digest(sample) for sample in samples}) == len(samples)
    assert {len(digest(sample)) for sample in samples} == {16}


def test_fingerprint_of_a_picture_turned_by_its_exif_data_differs():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert digest(encoded(NOISE)) != digest(encoded(NOISE, exif=exif.tobytes()))


# ---------------------------------------------------------------------------------------------------------------------
# Probe


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (224, 160), (4096, 3)])
def test_probe_pictures_are_three_that_differ(size):
    three = images.probe(ImageSpec(size, "squash"))
    assert (three.shape, three.dtype) == ((3, *size, 3), np.uint8)
    assert len({picture.tobytes() for picture in three}) == 3


def test_probe_pictures_are_the_same_on_every_machine():
    three = images.probe(ImageSpec((8, 8), "squash"))
    assert three.sum(axis=(1, 2)).tolist() == [[7112, 7112, 8192], [0, 12800, 0], [2742, 3242, 3394]]


# ---------------------------------------------------------------------------------------------------------------------
# Mutants

ZOO = {
    "jpeg": encoded(PHOTO, "JPEG"),
    "progressive": encoded(PHOTO, "JPEG", progressive=True, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0"),
    "cmyk": encoded(Image.fromarray(PHOTO).convert("CMYK"), "JPEG"),
    "png": encoded(PHOTO),
    "palette": encoded(Image.fromarray(PHOTO).quantize(32), "PNG"),
    "16 bit": encoded((PHOTO[..., 0].astype(np.uint16) * 257), "PNG"),
    "alpha": encoded(np.dstack([PHOTO, PHOTO[..., 0]]), "WEBP"),
    "webp": encoded(PHOTO, "WEBP"),
    "gif": encoded(Image.fromarray(PHOTO), "GIF", save_all=True, append_images=[Image.fromarray(PHOTO[::-1])]),
    "bmp": encoded(PHOTO, "BMP"),
    "tiff": encoded(PHOTO, "TIFF"),
    "lzw": encoded(PHOTO, "TIFF", compression="tiff_lzw"),
    "text": encoded(
        PHOTO, pnginfo=(lambda info: (info.add_text("a", "b" * 99, zip=True), info)[1])(PngImagePlugin.PngInfo())
    ),
}


def mutant(seed: int) -> bytes:
    """Damage a file of the zoo: bytes changed, a piece cut out, doubled or replaced by noise."""
    dice = random.Random(seed)
    data = bytearray(ZOO[dice.choice(sorted(ZOO))])
    for _ in range(dice.choice([1, 1, 1, 2, 5, 20])):
        at, length = dice.randrange(min(len(data), dice.choice([64, 10**6]))), dice.choice([1, 1, 1, 2, 4, 100])
        piece = data[at : at + length]
        data[at : at + length] = dice.choice([b"", piece * 2, dice.randbytes(len(piece)), b"\xff" * len(piece)])
    return bytes(data) or b"\0"


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning")  # Pillow's own
@pytest.mark.parametrize(
    "seeds",
    [*(range(i, i + 50) for i in range(0, 500, 50)), pytest.param(range(500, 10_000), marks=pytest.mark.slow)],
    ids=str,
)
def test_mutants_are_read_or_refused_quickly(seeds):
    spec = ImageSpec((32, 32), "shorter", 36)
    for seed in seeds:
        data, start = mutant(seed), time.process_time()
        with contextlib.suppress(Unreadable):
            assert pixels(data, spec).shape == (32, 32, 3)
        assert time.process_time() - start < 2, seed


def test_some_mutants_are_still_read_and_some_are_not():
    readable = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for seed in range(100):
            with contextlib.suppress(Unreadable):
                readable += len(pixels(mutant(seed))) > 0
    assert 20 <= readable <= 80


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda p: os.symlink("/dev/null", p)])
def test_refused_files_are_closed(tmp_path, make):
    make(tmp_path / "a.jpg")
    before = set(os.listdir("/proc/self/fd"))
    refusal(tmp_path / "a.jpg")
    assert set(os.listdir("/proc/self/fd")) == before
