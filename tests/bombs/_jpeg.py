"""JPEG files whose markers, scans and tables are many."""

from __future__ import annotations

import io
import struct

from PIL import Image

#: Beginning and end of a file.
START, END = b"\xff\xd8", b"\xff\xd9"


def picture(size: tuple[int, int] = (64, 64), mode: str = "RGB", **options: object) -> bytes:
    """Encode a plain picture."""
    file = io.BytesIO()
    Image.new(mode, size, "red" if mode == "RGB" else 99).save(file, "JPEG", **options)
    return file.getvalue()


def segment(marker: int, content: bytes) -> bytes:
    """Frame the content of a marker segment."""
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def after_start(stuff: bytes) -> bytes:
    """Put bytes behind the first marker of a picture."""
    return START + stuff + picture()[2:]


def header(size: tuple[int, int], frame: int, components: int = 3) -> bytes:
    """Build everything before the first scan."""
    used = bytes(16 * [1])
    tables = segment(0xDB, b"\0" + bytes([1] * 64))
    tables += b"".join(segment(0xC4, bytes([kind]) + b"\1" + bytes(15) + b"\0") for kind in (0x00, 0x10))
    sof = struct.pack(">BHHB", 8, size[1], size[0], components)
    sof += b"".join(bytes([i + 1, 0x11, 0]) for i in range(components))
    assert used
    return START + tables + segment(frame, sof)


def scan(components: range, spectral: tuple[int, int], bits: int = 0) -> bytes:
    """Build the header of a scan."""
    chosen = b"".join(bytes([i + 1, 0]) for i in components)
    return segment(0xDA, bytes([len(components)]) + chosen + bytes([*spectral, bits]))


def empty_scans(size: int, pixels: tuple[int, int] = (3000, 3000)) -> bytes:
    """Repeat a progressive scan without data: each goes through every block."""
    first = scan(range(3), (0, 0))
    again = scan(range(1), (1, 63))
    return header(pixels, 0xC2) + first + again * (size // len(again)) + END


def refining_scans(size: int) -> bytes:
    """Repeat scans that refine bits which are there."""
    first, again = scan(range(3), (0, 0), 1), scan(range(3), (0, 0), 0x10)
    return header((3000, 3000), 0xC2) + first + again * (size // len(again)) + END


def sequential_scans(size: int) -> bytes:
    """Repeat scans of one component in a file that is not progressive."""
    again = scan(range(1), (0, 63))
    return header((3000, 3000), 0xC0) + again * (size // len(again)) + END


def fill_bytes(size: int) -> bytes:
    """Fill the room between two markers."""
    return after_start(b"\xff" * size)


def junk_between(size: int) -> bytes:
    """Put bytes that are no marker between two segments."""
    return after_start(segment(0xFE, b"a") + bytes(size))


def comments(size: int) -> bytes:
    """Repeat empty comments."""
    return after_start(segment(0xFE, b"") * (size // 4))


def applications(size: int) -> bytes:
    """Repeat empty application segments."""
    return after_start(segment(0xE5, b"") * (size // 4))


def exif_parts(size: int) -> bytes:
    """Repeat EXIF segments, which are joined one by one."""
    return after_start(segment(0xE1, b"Exif\0\0" + bytes(60)) * (size // 70))


def photoshop(size: int) -> bytes:
    """Repeat Photoshop segments of many small resources."""
    resource = b"8BIM" + struct.pack(">HHI", 1000, 0, 0)
    return after_start(segment(0xED, b"Photoshop 3.0\0" + resource * 5000) * (size // 60_000))


def tables(size: int) -> bytes:
    """Repeat quantization tables."""
    return after_start(segment(0xDB, b"\0" + bytes([1] * 64)) * (size // 69))


def huffman_tables(size: int) -> bytes:
    """Repeat Huffman tables."""
    return after_start(segment(0xC4, b"\0" + b"\1" + bytes(16)) * (size // 22))


def icc_parts(size: int) -> bytes:
    """Repeat parts of a color profile."""
    return after_start(segment(0xE2, b"ICC_PROFILE\0\1\1") * (size // 18))


def fill_before_end(size: int) -> bytes:
    """Put fill bytes between the scan and the end."""
    return picture()[:-2] + b"\xff" * size + END


def zeros_before_end(size: int) -> bytes:
    """Put bytes without meaning between the scan and the end."""
    return picture()[:-2] + bytes(size) + END


def restarts(size: int) -> bytes:
    """Write a restart marker for each of many blocks, and nothing between."""
    side = int((size / 2) ** 0.5)
    interval = segment(0xDD, struct.pack(">H", 1))
    head = header((8 * min(side, 880), 8 * min(side, 880)), 0xC0)
    markers = b"".join(bytes([0, 0xFF, 0xD0 + i]) for i in range(8))
    return head + interval + scan(range(3), (0, 63)) + markers * (size // len(markers)) + END


def mpo_entries(size: int) -> bytes:
    """Write that the file holds millions of pictures."""
    entries = struct.pack("<HHI", 0x2A49, 42, 8)[:0] + b"II*\0" + struct.pack("<I", 8)
    tags = [
        (0xB000, 7, 4, b"0100"),
        (0xB001, 4, 1, struct.pack("<I", 2**31)),
        (0xB002, 7, 60_000, struct.pack("<I", 60)),
    ]
    body = struct.pack("<H", 3) + b"".join(struct.pack("<HHI", t, k, n) + v for t, k, n, v in tags) + bytes(4)
    return after_start(segment(0xE2, b"MPF\0" + (entries + body).ljust(60_060, b"\0")))


def exif(size: int) -> bytes:
    """Let thousands of tags hold the same bytes."""
    from tests.bombs._tiff import overlapping

    body = overlapping(30_000, tags=2800)
    return after_start(segment(0xE1, b"Exif\0\0" + body))


def long_exif(size: int) -> bytes:
    """Let thousands of tags hold the same bytes, in EXIF data of many segments."""
    from tests.bombs._tiff import overlapping

    body = overlapping(size, tags=min(65_000, size // 20))
    parts = [body[i : i + 65_000] for i in range(0, len(body), 65_000)]
    return after_start(b"".join(segment(0xE1, b"Exif\0\0" + part) for part in parts))
