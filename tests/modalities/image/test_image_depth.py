"""Bits of a picture: what TIFF and PNG files say of them decides, and what they may have forgotten to say is asked."""

import io
import struct
import warnings

import numpy as np
import pytest
from PIL import Image

from skltransfer import PretrainedEmbedder, testing
from skltransfer._engine.modalities.image._prepare import ImagePreparer
from skltransfer.cards import ImageSpec
from skltransfer.errors import InputWarning
from tests.graphs import save_images
from tests.modalities.image.support import SPEC, encoded, pixels, refusal

#: 0 to 4095, the values of 12 bits, in 8 x 8 pixels.
TWELVE = (np.arange(64).reshape(8, 8) * 65).astype("<u2")
EIGHT = (TWELVE.astype(int) * 255 // 4095).astype(np.uint8)
SIXTEEN = (TWELVE.astype(int) * 65535 // 4095).astype("<u2")


def tiff(data: bytes, *, bits=16, samples=1, photometric=1, kind=1, size=(8, 8), **more) -> bytes:
    """Build an uncompressed little-endian TIFF of one strip; `more` maps the numbers of further tags to a value."""
    tags = {256: size[0], 257: size[1], 259: 1, 262: photometric, 277: samples, 278: size[1], 279: len(data), 339: kind}
    tags |= {int(tag.removeprefix("tag")): value for tag, value in more.items()}
    entries = [(tag, 3, 1, struct.pack("<HH", value, 0)) for tag, value in tags.items()]
    entries.append((273, 4, 1, struct.pack("<I", 8)))
    lengths = struct.pack(f"<{samples}H", *[bits] * samples)
    place = 8 + len(data)
    entries.append((258, 3, samples, lengths.ljust(4, b"\0") if samples < 3 else struct.pack("<I", place)))
    directory = struct.pack("<H", len(entries)) + b"".join(
        struct.pack("<HHI", tag, kind, count) + value for tag, kind, count, value in sorted(entries)
    )
    lengths = lengths if samples > 2 else b""
    return b"II*\0" + struct.pack("<I", place + len(lengths)) + data + lengths + directory + bytes(4)


def packed(values) -> bytes:
    """Pack values of 12 bits, two into three bytes."""
    pairs = values.reshape(-1, 2).tolist()
    return b"".join(bytes([a >> 4, (a & 15) << 4 | b >> 8, b & 255]) for a, b in pairs)


@pytest.mark.parametrize(
    ("data", "bits", "photometric"),
    [
        (packed(TWELVE), 12, 1),
        (SIXTEEN.tobytes(), 16, 1),
        ((65535 - SIXTEEN).astype("<u2").tobytes(), 16, 0),
        (EIGHT.tobytes(), 8, 1),
        ((255 - EIGHT).tobytes(), 8, 0),
    ],
    ids=["12 bits", "16 bits", "16 bits, white is zero", "8 bits", "8 bits, white is zero"],
)
def test_tiff_is_scaled_as_its_tags_say(data, bits, photometric):
    np.testing.assert_allclose(pixels(tiff(data, bits=bits, photometric=photometric))[..., 0], EIGHT, atol=1)


@pytest.mark.parametrize("photometric", [0, 1])
def test_large_tiff_of_16_bits_is_scaled_part_by_part_alike(photometric, monkeypatch):
    from skltransfer._engine.modalities.image import _decode

    data = tiff(SIXTEEN.tobytes(), photometric=photometric)
    small = pixels(data)
    monkeypatch.setattr(_decode, "LARGE", 1)
    np.testing.assert_array_equal(pixels(data), small)


def test_image_object_of_a_12_bit_file_is_scaled_as_its_tags_say():
    image = Image.open(io.BytesIO(tiff(packed(TWELVE), bits=12)))
    np.testing.assert_allclose(pixels(image)[..., 0], EIGHT, atol=1)


@pytest.mark.parametrize(("bits", "data"), [(8, EIGHT.tobytes()), (16, SIXTEEN.tobytes())])
def test_signed_pixels_are_refused(bits, data):
    assert refusal(tiff(data, bits=bits, kind=2)).startswith(
        f"holds signed {bits}-bit pixels, whose range is not known"
    )


def test_lab_colors_are_refused_by_name_and_not_called_damaged():
    said = refusal(tiff(bytes(192), bits=8, samples=3, photometric=8))
    assert said == "holds CIELAB colors, which Pillow does not convert to RGB; save it as RGB"


@pytest.mark.parametrize(
    ("file", "words"),
    [
        (tiff(bytes(64 * 26), samples=13), "begins like a TIFF of 13 bands of 16-bit pixels"),
        (tiff(bytes(64 * 24), bits=64, samples=3, photometric=2, kind=3), "of 3 bands of 64-bit floating-point pixels"),
        (tiff(bytes(64 * 12), bits=32, samples=3, photometric=2), "of 3 bands of 32-bit pixels"),
        (tiff(bytes(128), photometric=32803), "of 1 band of 16-bit pixels of a camera's raw file"),
        (tiff(bytes(64), bits=8, tag259=34712), "compressed by method 34712"),
    ],
    ids=["13 bands", "doubles", "32 bits", "raw", "JPEG 2000 inside"],
)
def test_tiff_that_pillow_cannot_read_is_described_and_never_called_no_tiff(file, words):
    said = refusal(file)
    assert words in said
    assert "TIFF file" not in said
    assert "damaged" not in said


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # Pillow's own, about the end
def test_tiff_that_is_cut_short_is_called_so():
    assert refusal(tiff(bytes(64 * 26), samples=13)[:100]) == "begins like a TIFF and is cut short or damaged"


# ---------------------------------------------------------------------------------------------------------------------
# 16 bits that look like fewer


def notes(*samples) -> list[str]:
    preparer = ImagePreparer(SPEC)
    preparer.prepare([preparer.read(sample) for sample in samples])
    return preparer.notes()


def rgb16(values) -> bytes:
    """Build a PNG of three channels of 16 bits, which Pillow does not write."""
    import zlib

    def chunk(kind, content):
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    lines = b"".join(b"\0" + np.repeat(row, 3).astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("form", [encoded, lambda a: encoded(a, "TIFF"), rgb16, Image.fromarray])
@pytest.mark.parametrize(("bits", "shift"), [(12, 0), (10, 2)])
def test_16_bits_whose_largest_value_needs_fewer_are_noted(form, bits, shift):
    (said,) = notes(form((TWELVE >> shift).astype(np.uint16)))
    assert said.startswith(f"1 image of 16 bits: no value is above {2**bits - 1}, as if of {bits} bits.")
    assert f"(x >> {bits - 8}).astype('uint8')" in said


@pytest.mark.parametrize("form", [encoded, lambda a: encoded(a, "TIFF"), rgb16])
@pytest.mark.parametrize("values", [SIXTEEN, SIXTEEN // 4, TWELVE * 0])
def test_16_bits_that_are_used_and_black_pictures_are_not_noted(form, values):
    assert notes(form(values.astype(np.uint16))) == []


def test_8_and_12_bits_are_not_noted(tmp_path):
    assert notes(encoded(EIGHT // 100), tiff(packed(TWELVE), bits=12), tiff(packed(TWELVE // 8), bits=12)) == []


def test_one_warning_a_call_counts_them_and_names_the_first(tmp_path):
    files = [tmp_path / f"{i}.png" for i in range(3)]
    for file in files:
        file.write_bytes(encoded(TWELVE))
    embedder = PretrainedEmbedder(save_images(tmp_path), cache=None, n_jobs=1)
    with pytest.warns(
        InputWarning, match=r"3 images of 16 bits \('.*0\.png' first\): no value is above 4095"
    ) as caught:
        embedder.transform(files)
    assert len(caught) == 1


def test_pictures_of_8_bits_are_not_warned_of(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        PretrainedEmbedder(save_images(tmp_path), cache=None).transform(testing.noise_images(3))


def test_bits_of_a_file_decoded_apart_come_back(monkeypatch):
    from skltransfer._engine.modalities.image import _apart

    noted = []
    _apart.prepare(encoded(TWELVE), ImageSpec((8, 8), "squash"), note=noted.append)
    assert noted == [12]
