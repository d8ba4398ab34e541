"""Limits on what a file may make a decoder do, counted in its bytes before anything is decoded.

A file of a few kilobytes can hold thousands of scans, chunks or tiles, and a decoder works through all of them. Each
format has a row in `TABLE`: a generator that walks through the parts of a file and yields what it meets, and the most
there may be of it. `check` adds up and stops at the first count that is too high, so it costs no more than the limits
allow. What is damaged ends the walk and is left to the decoder, which says what is wrong.
"""

from __future__ import annotations

import re
import struct
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from skltransfer._engine.modalities.image._deflate import stalls
from skltransfer._engine.modalities.image._formats import begins_like
from skltransfer._engine.modalities.image._tiff import (
    BITS,
    COMPRESSION,
    COUNTS,
    HEIGHT,
    OFFSETS,
    SAMPLES,
    SIZES,
    WIDTH,
    Directory,
)
from skltransfer.errors import Unreadable

Counted = Iterator[tuple[str, int]]

#: Compressed pixels may take this many times the bytes of the pixels themselves: LZW writes noise with 12 bits for 8.
EXPANSION = 1.5
#: Bytes of a small picture that no ratio holds for: headers, a first table.
SLACK = 65_536


class Format(NamedTuple):
    """How the parts of one format are counted.

    Attributes
    ----------
    walk : callable
        Takes a file; yields what it meets and how many of it, in the order of the bytes.
    most : mapping of str to int
        The limit of each.
    copies : int
        Copies of the pixels, four bytes each, that decoder and Pillow hold at once; where they are more than two, fewer
        pixels are allowed.
    streams : callable, optional
        Takes a file; yields the parts of each zlib stream of its pixels.
    """

    walk: Callable[[bytes], Counted]
    most: Mapping[str, int]
    copies: int = 2
    streams: Callable[[bytes], Iterator[Iterator[memoryview]]] | None = None


class Care(NamedTuple):
    """Care that a file needs which is not refused.

    Attributes
    ----------
    apart : bool
        Nothing can stop its decoder: it runs in a process that can be ended.
    hurried : bool
        Its deflated data take time and give no pixels: it gets no time for its size.
    """

    apart: bool = False
    hurried: bool = False


def check(data: bytes, max_pixels: int) -> Care:
    """Refuse a file whose parts are too many.

    Parameters
    ----------
    data : bytes
        The file; one of an unknown format passes.
    max_pixels : int
        Of the card.

    Returns
    -------
    Care
        How to decode it.

    Raises
    ------
    Unreadable
        With what was counted and the limit.
    """
    row = TABLE.get(begins_like(data) or "")
    if row is None:
        return Care()
    most = {**row.most, "pixels": max_pixels * 2 // row.copies, AT_ONCE: sys.maxsize, DEFLATED: sys.maxsize}
    counts = dict.fromkeys(most, 0)
    try:
        for what, count in row.walk(data):
            counts[what] += count
            if counts[what] > most[what]:
                raise Unreadable(_refusal(what, counts[what], most[what], max_pixels))
    except (struct.error, IndexError):  # the file ends in the middle of a part
        pass
    hurried = row.streams is not None and counts[DEFLATED] > QUICK and stalls(row.streams(data))
    return Care(counts[AT_ONCE] > STOPPABLE, hurried)


def _refusal(what: str, count: int, most: int, max_pixels: int) -> str:
    """Return the reason for a refusal."""
    if what == "pixels":
        return (
            f"has {count:,} pixels; of this format, whose decoder takes more memory, {most:,} are allowed with the "
            f"card's max_pixels={max_pixels:,}; save it as JPEG or PNG"
        )
    more = "at least " if what in GROWING else ""
    return (
        f"holds {more}{count:,} {what}, more than the {most:,} that are decoded; it is built or damaged, save it again"
    )


# ---------------------------------------------------------------------------------------------------------------------
# JPEG

#: A marker with the junk and the fill bytes before it.
_MARKER = re.compile(rb"[^\xff]*\xff+", re.DOTALL)
#: Markers without content: TEM, the restarts, and the start of the image.
_BARE = {0x01, *range(0xD0, 0xD9)}
#: Start of a frame, without the tables DHT, JPG and DAC that lie between.
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
_SCAN = b"\xff\xda"
_FILLING = b"\xff" * (SLACK + 1)


def _jpeg(data: bytes) -> Counted:
    """Walk through the segments before the pixels; count scans in the rest, where ``ff da`` begins nothing else."""
    at, components, coefficients, in_parts = 2, 0, 0, False
    while (marker := _MARKER.match(data, at)) is not None:
        if (filling := marker.end() - at - 1) > 0:
            yield "bytes between segments", filling
        code, at = data[marker.end()], marker.end() + 1
        yield "segments", 1
        if code == 0 or code in _BARE:
            continue
        (length,) = struct.unpack_from(">H", data, at)
        if code in _FRAMES:
            height, width, components = struct.unpack_from(">HHB", data, at + 3)
            coefficients, in_parts = 2 * height * width * components, code in _PROGRESSIVE
        elif code == 0xDA:
            if in_parts or data[at + 2] < components:
                yield "bytes of coefficients", coefficients
                yield "scans", 1 + data.count(_SCAN, at)
            if len(data) - at > 2**19 and data.find(_FILLING, at) >= 0:  # Pillow copies it again and again
                yield "bytes between segments", len(_FILLING)
            return
        elif code == 0xD9:
            return
        else:
            yield "bytes of metadata", length
        at += length


# ---------------------------------------------------------------------------------------------------------------------
# PNG

#: Values of a pixel by the color type.
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def _png(data: bytes) -> Counted:
    """Walk through the chunks."""
    width, height, depth, color = struct.unpack_from(">IIBB", data, 16)
    room = int(EXPANSION * height * (1 + width * depth * _CHANNELS.get(color, 4) / 8))
    at = 8
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        yield "chunks", 1
        if kind == b"IDAT":
            yield DEFLATED, length if width * height > QUICK_PIXELS else 0
            room -= length
            if room < 0:
                yield SURPLUS, -room
                room = 0
        elif kind not in (b"IEND", b"fdAT"):
            yield "bytes of metadata", length
        at += 12 + length


def _png_streams(data: bytes) -> Iterator[Iterator[memoryview]]:
    """Yield the one stream that the chunks of pixels hold."""
    yield _png_parts(data)


def _png_parts(data: bytes) -> Iterator[memoryview]:
    at = 8
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"IDAT":
            yield memoryview(data)[at + 8 : at + 8 + length]
        at += 12 + length


# ---------------------------------------------------------------------------------------------------------------------
# GIF

_GIF_BLOCK = re.compile(rb"[!,;]")


def _gif(data: bytes) -> Counted:
    """Walk through the blocks up to the first frame; nothing behind it is read."""
    at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    while (block := _GIF_BLOCK.search(data, at)) is not None and block[0] == b"!":
        if block.start() > at:
            yield "bytes between blocks", block.start() - at
        at = block.start() + 2
        while size := data[at]:
            yield "blocks", 1
            at += size + 1
        yield "blocks", 1
        at += 1
    yield "bytes between blocks", max(0, (block.start() if block else len(data)) - at)


# ---------------------------------------------------------------------------------------------------------------------
# WEBP


def _webp(data: bytes) -> Counted:
    """Walk through the chunks; all of them are parsed before the first pixel."""
    at = 12
    while at + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, at)
        yield "chunks", 1
        yield AT_ONCE, length
        if at == 12 and (size := _webp_size(kind, data)):
            yield "pixels", size[0] * size[1]
        at += 8 + length + length % 2


def _webp_size(kind: bytes, data: bytes) -> tuple[int, int] | None:
    """Return width and height, as the first chunk holds them."""
    if kind == b"VP8X":
        low_w, high_w, low_h, high_h = struct.unpack_from("<HBHB", data, 24)
        return (high_w << 16) + low_w + 1, (high_h << 16) + low_h + 1
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None


# ---------------------------------------------------------------------------------------------------------------------
# BMP


def _bmp(data: bytes) -> Counted:
    """Count what Pillow decodes in Python: runs of equal pixels."""
    at, length = struct.unpack_from("<II", data, 10)
    if length < 40:
        return
    (width,), (compression,) = struct.unpack_from("<i", data, 18), struct.unpack_from("<I", data, 30)
    if compression in (1, 2):
        yield "bytes of runs", len(data) - at
        yield "pixels in a row of runs", abs(width)


# ---------------------------------------------------------------------------------------------------------------------
# TIFF

#: Compressions whose decoders take a tenth of a second for a megabyte at worst: CCITT, LZW, JPEG, deflate, PackBits.
#: The others (LZMA, WEBP, Zstandard, LERC) are rare and not known as well.
_FAST = {2, 3, 4, 5, 6, 7, 8, 32773, 32946}


def _tiff(data: bytes) -> Counted:
    """Walk through the tags of the first picture; look at the places of its strips or tiles."""
    directory, room = Directory(data), len(data)
    for tag, kind, count, place in directory.entries():
        yield "tags", 1
        if tag in OFFSETS:
            yield "strips or tiles", count
        size = count * SIZES.get(kind, 1)
        room -= size if size <= len(data) else 0  # others are damaged, and not read
        yield "bytes of tags that lie on each other", max(0, -room)
        directory.tags.setdefault(tag, (kind, count, place))
    if directory.value(COMPRESSION, 1) != 1:
        yield from _strips(directory)


def _strips(directory: Directory) -> Counted:
    """Count the compressed bytes of a picture."""
    counts, compression = directory.first(COUNTS), directory.value(COMPRESSION)
    size = directory.value(WIDTH) * directory.value(HEIGHT) * directory.value(SAMPLES, 1)
    room = int(EXPANSION * size * max(directory.values(BITS, 1)) / 8)
    total = sum(min(count, len(directory.data)) for count in counts)
    yield "bytes of strips that lie on each other", max(0, total - len(directory.data))
    yield SURPLUS, max(0, total - room)
    yield DEFLATED, total if compression in (8, 32946) else 0
    yield AT_ONCE, total * (1 if compression in _FAST else STOPPABLE // 2**20)
    if compression in (6, 7):
        yield "scans", max(0, directory.data.count(_SCAN) - len(counts))


def _tiff_streams(data: bytes) -> Iterator[Iterator[memoryview]]:
    """Yield the stream of each strip or tile."""
    directory = Directory(data)
    directory.tags.update((tag, (kind, count, place)) for tag, kind, count, place in directory.entries())
    for offset, count in zip(directory.first(OFFSETS), directory.first(COUNTS), strict=False):
        yield iter([memoryview(data)[offset : offset + count]])


# ---------------------------------------------------------------------------------------------------------------------

AT_ONCE, DEFLATED = "bytes decoded at once", "bytes of deflated pixels"
#: Bytes of deflated pixels that are quick whatever they hold: half a second for blocks without content.
QUICK = 4 * 2**20
#: Pixels of a PNG file whose time, with what `decode` allows for its size, is below two seconds.
QUICK_PIXELS = 12_500_000
#: What a decoder that cannot be stopped is given in this process: 16 MB of deflate blocks without content take 2 s.
STOPPABLE = 16 * 2**20
SURPLUS = "bytes of compressed pixels beyond what the pixels can need"
#: Counts that end at their limit, before all is counted.
GROWING = {"segments", "chunks", "blocks", "tags", "bytes of metadata"}

#: Extended XMP and maps of depth in photographs of phones reach 10 MB; Pillow works on Photoshop's at 10 MB a second.
METADATA = 16 * 2**20
#: A profile fills 255 segments; 16 MB of segments of 64 kB are 256.
SEGMENTS = 2_000
#: libpng writes chunks of 8 kB: 50 million pixels of RGB that cannot be compressed are 18,000. Pillow reads 200,000 a
#: second.
CHUNKS = 50_000
#: Encoders write 10, mozjpeg up to 14; each goes through every block: 9 ms at 49 million pixels.
SCANS = 64

TABLE: dict[str, Format] = {
    "JPEG": Format(
        _jpeg,
        {
            "segments": SEGMENTS,
            "bytes of metadata": METADATA,
            # Pillow reads them one by one, two million a second.
            "bytes between segments": SLACK,
            "scans": SCANS,
            # What libjpeg keeps of a picture in several scans; 49 million pixels of YCbCr without subsampling fit.
            "bytes of coefficients": 300_000_000,
        },
    ),
    "PNG": Format(_png, {"chunks": CHUNKS, "bytes of metadata": METADATA, SURPLUS: SLACK}, streams=_png_streams),
    # Before the first frame; comments and XMP, which has its own blocks, reach hundreds.
    "GIF": Format(_gif, {"blocks": 20_000, "bytes between blocks": SLACK}),
    # libwebp keeps two canvases, Pillow the bytes of a third and the picture.
    "WEBP": Format(_webp, {"chunks": CHUNKS}, copies=4),
    "BMP": Format(
        _bmp,
        {
            # Pillow decodes them in Python, half a microsecond a byte.
            "bytes of runs": 4_000_000,
            # It fills a row byte by byte, and nothing can stop it within: 65,536 take 10 ms.
            "pixels in a row of runs": 65_536,
        },
    ),
    "TIFF": Format(
        _tiff,
        {
            # Baseline and extensions know 90, cameras and GeoTIFF write dozens of their own.
            "tags": 1_000,
            # 49 million pixels in tiles of 32 x 32 are 48,000, and rows a strip each fewer; Pillow takes 8 us for each.
            "strips or tiles": 100_000,
            "bytes of tags that lie on each other": SLACK,
            "bytes of strips that lie on each other": SLACK,
            SURPLUS: SLACK,
            "scans": SCANS,
        },
        streams=_tiff_streams,
    ),
}
