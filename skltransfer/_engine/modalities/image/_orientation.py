"""Which way up a picture is: one number, out of EXIF or XMP data, of every format alike.

Only the number is read, so no other tag matters, however malformed; and nothing is written back into an image.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image

#: Tag of EXIF and of TIFF.
TAG = 0x0112
UPRIGHT = 1
_PREFIX = re.compile(rb"(Exif\0\0){1,2}")
_XMP = re.compile(rb"tiff:Orientation\s*(?:=\s*[\"']|>)\s*([1-8])\b")
#: Bytes of XMP data in a GIF file that are looked at; packets are padded to 4 kB.
LONGEST = 2**20
#: Types of whole numbers, as `struct` names them.
_FRACTION = 5
_LETTERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}


def orientation(image: Image.Image) -> int:
    """Return the orientation of a picture, once it is loaded: 1 to 8, 1 being upright.

    Pixels in memory are taken as they are: a copy keeps the metadata of its file, whatever was done to it since. A TIFF
    file is turned by Pillow while it is loaded.
    """
    from PIL import ImageFile

    if not isinstance(image, ImageFile.ImageFile) or hasattr(image, "tag_v2"):
        return UPRIGHT
    return _found(image.info)


def _found(info: Mapping[Any, Any]) -> int:
    """Return the orientation in the metadata of a file; EXIF data is asked first."""
    return _of_exif(info.get("exif")) or _of_profile(info) or _of_xmp(info) or UPRIGHT


def _of_exif(data: Any) -> int | None:
    """Return the orientation in EXIF data; None if it has none."""
    if not isinstance(data, bytes):
        return None
    start = found.end() if (found := _PREFIX.match(data)) else 0
    order = {b"II": "<", b"MM": ">"}.get(data[start : start + 2], "")
    if not order:
        return None
    try:
        (first,) = struct.unpack_from(order + "I", data, start + 4)
        (entries,) = struct.unpack_from(order + "H", data, start + first)
        for at in range(start + first + 2, start + first + 2 + 12 * entries, 12):
            tag, kind, count = struct.unpack_from(order + "HHI", data, at)
            if tag == TAG and kind in _LETTERS and count:
                return _valid(struct.unpack_from(order + _LETTERS[kind], data, at + 8)[0])
            if tag == TAG and kind == _FRACTION:
                (place,) = struct.unpack_from(order + "I", data, at + 8)
                whole, part = struct.unpack_from(order + "II", data, start + place)
                return _valid(whole) if part == 1 else None
    except struct.error:  # cut short
        pass
    return None


def _of_profile(info: Mapping[Any, Any]) -> int | None:
    """Return the orientation in EXIF data that ImageMagick writes into PNG files as text."""
    lines = str(info.get("Raw profile type exif", "")).split("\n")[3:]
    try:
        return _of_exif(bytes.fromhex("".join(lines)))
    except ValueError:
        return None


def _of_xmp(info: Mapping[Any, Any]) -> int | None:
    """Return the orientation in XMP data."""
    packet = info.get("xmp") or info.get("XML:com.adobe.xmp") or b""
    packet = packet[0] if isinstance(packet, tuple) else packet
    found = _XMP.search(packet.encode("utf8", "replace") if isinstance(packet, str) else bytes(packet))
    return int(found[1]) if found else None


def _valid(number: Any) -> int | None:
    return int(number) if isinstance(number, int) and 1 <= number <= 8 else None


def prepare_turning(image: Image.Image, data: bytes) -> None:
    """See to it that a file opened by us is turned by the one number, where Pillow would do otherwise.

    Parameters
    ----------
    image : PIL.Image.Image
        As opened, not loaded yet, and nobody else's.
    data : bytes
        The file.
    """
    if image.format == "GIF" and (start := data.find(b"XMP DataXMP")) >= 0:  # Pillow does not read it
        image.info["xmp"] = data[start : start + LONGEST]
    elif image.format == "TIFF":  # Pillow turns it at the end of loading, and loses it where a tag is malformed
        tags: Any = image.tag_v2  # type: ignore[attr-defined]  # a TiffImageFile
        number = _valid(tags.get(TAG)) or _of_xmp(image.info) or UPRIGHT
        image.load_end = partial(_turn, image, number)  # type: ignore[attr-defined]  # an ImageFile


def _turn(image: Any, number: int) -> None:
    """Turn the pixels of a file that has just been loaded, in place."""
    if (method := methods()[number]) is not None:
        image.im = image.im.transpose(method)
    image._size = image.im.size  # opened with width and height exchanged if the tag says so


def methods() -> dict[int, Any]:
    """Return how Pillow turns a picture upright, by its orientation; None: it is."""
    from PIL.Image import Transpose as T

    return {
        1: None,
        2: T.FLIP_LEFT_RIGHT,
        3: T.ROTATE_180,
        4: T.FLIP_TOP_BOTTOM,
        5: T.TRANSPOSE,
        6: T.ROTATE_270,
        7: T.TRANSVERSE,
        8: T.ROTATE_90,
    }
