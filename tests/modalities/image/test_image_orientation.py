"""Which way up a picture is: EXIF and XMP alike, for every format, whatever else is in the metadata."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageOps, PngImagePlugin

from skltransfer._engine.modalities import image as images
from skltransfer.cards import ImageSpec
from tests.modalities.image.support import encoded, pixels

#: White above, black below; as it is stored where a reader has to turn it by 90 degrees.
UPRIGHT = np.repeat(np.array([255, 0], np.uint8), 16)[:, None].repeat(16, axis=1)
STORED = np.ascontiguousarray(UPRIGHT.T[::-1])
SPEC = ImageSpec((32, 16), "squash")
TURN = (0x112, 3, 1, struct.pack("<HH", 6, 0))
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description %s></rdf:Description></x:xmpmeta>'
ATTRIBUTE = XMP % b'tiff:Orientation="6"'
PACKETS = {
    "attribute": ATTRIBUTE,
    "single quotes": XMP % b"tiff:Orientation='6'",
    "spaces": XMP % b'tiff:Orientation = "6"',
    "element": XMP % b"><tiff:Orientation>6</tiff:Orientation",
}
MALFORMED = {
    "resolution as text": (0x11A, 2, 3, b"72\0\0"),
    "unit as text": (0x128, 2, 3, b"ab\0\0"),
    "width as bytes": (0x100, 7, 4, b"\1\2\3\4"),
    "endless tag": (0x10F, 2, 2**31, b"\0\0\0\0"),
    "unknown type": (0x10F, 99, 1, b"\0\0\0\0"),
    "directory of nothing": (0x8769, 4, 1, struct.pack("<I", 2**31)),
    "place of nothing": (0x8825, 2, 3, b"xyz\0"),
}


def exif(*entries) -> bytes:
    body = b"".join(struct.pack("<HHI", *entry[:3]) + entry[3] for entry in sorted(entries, key=lambda entry: entry[0]))
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(entries)) + body + bytes(4)


def jpeg(*segments: bytes) -> bytes:
    whole = encoded(STORED, "JPEG", quality=95)
    inserted = b"".join(b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment for segment in segments)
    return whole[:2] + inserted + whole[2:]


def png(**chunks) -> bytes:
    info = PngImagePlugin.PngInfo()
    for key, text in chunks.items():
        info.add_itxt({"xmp": "XML:com.adobe.xmp"}.get(key, key), text)
    return encoded(STORED, "PNG", pnginfo=info)


def is_upright(data, spec=SPEC) -> bool:
    return np.abs(pixels(data, spec)[..., 0].astype(int) - UPRIGHT).max() < 25


@pytest.mark.parametrize("tag", MALFORMED.values(), ids=MALFORMED)
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # Pillow's own, about the tag
def test_one_malformed_tag_loses_no_photograph(tag):
    assert is_upright(jpeg(exif(TURN, tag)))


@pytest.mark.parametrize("tag", MALFORMED.values(), ids=MALFORMED)
def test_one_malformed_tag_loses_no_png_or_webp(tag):
    data = exif(TURN, tag)
    assert is_upright(encoded(STORED, "PNG", exif=data))
    assert is_upright(encoded(STORED, "WEBP", exif=data, lossless=True))


def with_entries(data: bytes, *entries) -> bytes:
    """Add entries to the directory of a TIFF file, which moves to its end."""
    (at,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, at)
    old = [data[at + 2 + 12 * i :][:12] for i in range(count)]
    new = [struct.pack("<HHI", *entry[:3]) + entry[3] for entry in entries]
    ordered = sorted([*old, *new], key=lambda entry: struct.unpack_from("<H", entry))
    return (
        data[:4]
        + struct.pack("<I", len(data))
        + data[8:]
        + struct.pack("<H", len(ordered))
        + b"".join(ordered)
        + bytes(4)
    )


@pytest.mark.parametrize("name", ["directory of nothing", "place of nothing"])
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # Pillow's own, about the tag
def test_one_malformed_tag_loses_no_tiff(name):
    assert is_upright(with_entries(encoded(STORED, "TIFF"), TURN, MALFORMED[name]))


@pytest.mark.parametrize("packet", PACKETS.values(), ids=PACKETS)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "GIF"])
def test_xmp_data_turn_a_picture_of_every_format(kind, packet):
    files = {
        "JPEG": lambda: jpeg(b"http://ns.adobe.com/xap/1.0/\0" + packet),
        "PNG": lambda: png(xmp=packet.decode()),
        "WEBP": lambda: encoded(STORED, "WEBP", xmp=packet, lossless=True),
        "TIFF": lambda: encoded(STORED, "TIFF", tiffinfo={700: packet}),
        "GIF": lambda: _gif(packet),
    }
    assert is_upright(files[kind]())


def _gif(packet: bytes) -> bytes:
    """Insert XMP data in front of the first frame, as a block of an application, which ends by its magic trailer."""
    data = encoded(Image.fromarray(STORED).convert("P"), "GIF")
    at = 13 + (3 << (data[10] & 7) + 1)
    trailer = b"\x01" + bytes(range(255, -1, -1)) + b"\0"
    return data[:at] + b"!\xff\x0bXMP DataXMP" + packet + trailer + data[at:]


def test_exif_data_are_asked_before_xmp_data():
    packet = b"http://ns.adobe.com/xap/1.0/\0" + XMP % b'tiff:Orientation="3"'
    assert is_upright(jpeg(exif(TURN), packet))
    assert is_upright(encoded(UPRIGHT, "TIFF", tiffinfo={274: 1, 700: ATTRIBUTE}))


def test_exif_data_without_an_orientation_leave_it_to_xmp_data():
    assert is_upright(jpeg(exif((0x10F, 2, 3, b"ab\0\0")), b"http://ns.adobe.com/xap/1.0/\0" + ATTRIBUTE))


@pytest.mark.parametrize("number", [0, 9, 255])
def test_orientation_that_does_not_exist_turns_nothing(number):
    data = encoded(UPRIGHT, "PNG", exif=exif((0x112, 3, 1, struct.pack("<HH", number, 0))))
    assert is_upright(data)


@pytest.mark.parametrize(
    "entry",
    [
        (0x112, 1, 1, b"\6\0\0\0"),
        (0x112, 4, 1, struct.pack("<I", 6)),
        (0x112, 9, 1, struct.pack("<i", 6)),
        (0x112, 5, 1, struct.pack("<I", 26)),
    ],
    ids=["byte", "long", "signed long", "fraction"],
)
def test_orientation_of_another_type_is_understood(entry):
    assert is_upright(encoded(STORED, "PNG", exif=exif(entry) + struct.pack("<II", 6, 1)))


def test_exif_data_as_text_of_imagemagick_turn_a_png():
    hexes = exif(TURN).hex()
    assert is_upright(png(**{"Raw profile type exif": f"\nexif\n{len(hexes) // 2:8}\n{hexes}\n"}))


def test_nothing_is_written_back_into_an_image_object():
    image = Image.open(io.BytesIO(jpeg(exif(TURN))))
    before = dict(image.info)
    assert is_upright(image)
    assert is_upright(image)
    assert image.info == before
    assert image.getexif()[0x112] == 6


def test_image_in_memory_is_not_turned_by_metadata_that_are_left_over():
    opened = Image.open(io.BytesIO(jpeg(exif(TURN))))
    copy = opened.convert("L").transpose(Image.Transpose.ROTATE_270)
    assert copy.info.get("exif")
    assert is_upright(copy)
    assert is_upright(ImageOps.exif_transpose(opened))


def test_tiff_object_is_turned_once():
    image = Image.open(io.BytesIO(encoded(STORED, "TIFF", tiffinfo={274: 6})))
    assert is_upright(image)
    assert is_upright(image)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_large_picture_is_turned_alike(kind, monkeypatch):
    from skltransfer._engine.modalities.image import _decode

    data = encoded(STORED, kind, **({"exif": exif(TURN)} if kind == "PNG" else {"tiffinfo": {274: 6}}))
    monkeypatch.setattr(_decode, "LARGE", 1)
    assert is_upright(data)


def test_placement_follows_the_same_number():
    opened = Image.open(io.BytesIO(jpeg(b"http://ns.adobe.com/xap/1.0/\0" + ATTRIBUTE)))
    assert images.placement_of(opened, SPEC).original == (16, 32)
    assert images.placement_of(Image.fromarray(UPRIGHT), SPEC).original == (16, 32)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # Pillow's own
def test_cut_exif_data_are_no_orientation():
    whole = exif(TURN)
    for end in range(6, len(whole)):
        assert images.prepare(images.read(jpeg(whole[:end])), SPEC).shape == (32, 16, 3)
