"""PNG, GIF, WEBP and BMP files whose chunks, blocks and frames are many."""

from __future__ import annotations

import io
import struct
import zlib

from PIL import Image

from tests.bombs._tiff import empty_blocks, overlapping, random_blocks

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, content: bytes) -> bytes:
    """Frame the content of a PNG chunk."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(
    before: bytes = b"", after: bytes = b"", *, size: tuple[int, int] = (64, 64), data: bytes | None = None
) -> bytes:
    """Build a grey PNG with chunks before and after its pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, 8, 0, 0, 0, 0))
    if data is None:
        data = zlib.compress(bytes((size[0] + 1) * size[1]))
    return SIGNATURE + header + before + chunk(b"IDAT", data) + after + chunk(b"IEND", b"")


def png_chunks(size: int) -> bytes:
    """Repeat a chunk without content."""
    return png(chunk(b"abCd", b"") * (size // 12))


def png_chunks_after(size: int) -> bytes:
    """Repeat a chunk without content behind the pixels."""
    return png(b"", chunk(b"abCd", b"") * (size // 12))


def png_empty_data(size: int) -> bytes:
    """Repeat chunks of pixels without content."""
    return png(chunk(b"IDAT", b"") * (size // 12))


def png_texts(size: int) -> bytes:
    """Repeat short texts."""
    return png(chunk(b"tEXt", b"a\0b") * (size // 15))


def png_compressed_texts(size: int) -> bytes:
    """Repeat texts that are a thousand times as long as they look."""
    one = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(900_000), 9))
    return png(one * (size // len(one)))


def png_profile(size: int) -> bytes:
    """Compress a color profile of gigabytes."""
    return png(chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(size * 500), 9)))


def png_blocks(size: int, kind: str = "dynamic", pixels: tuple[int, int] = (64, 64)) -> bytes:
    """Put deflate blocks without content before the pixels."""
    return png(size=pixels, data=empty_blocks(size, kind))


def png_large_blocks(size: int) -> bytes:
    """Put deflate blocks without content before 49 million pixels."""
    return png_blocks(size, pixels=(7000, 7000))


def png_random_blocks(size: int) -> bytes:
    """Put random deflate blocks, each with tables of its own and no content, before 49 million pixels."""
    return png(size=(7000, 7000), data=random_blocks(size))


def png_pixels_then_random_blocks(size: int) -> bytes:
    """Put random blocks behind half of 49 million pixels."""
    begun = zlib.compressobj()
    pixels = begun.compress(bytes(7001 * 3500)) + begun.flush(zlib.Z_FULL_FLUSH)
    return png(size=(7000, 7000), data=pixels + random_blocks(size)[2:])


def png_long_data(size: int) -> bytes:
    """Go on after the last pixel."""
    return png(data=zlib.compress(bytes(65 * 64)), after=chunk(b"IDAT", bytes(8192)) * (size // 8204))


def png_frames(size: int) -> bytes:
    """Repeat frames of an animation."""
    control = struct.pack(">IIIIIHHBB", 0, 64, 64, 0, 0, 1, 1, 0, 0)
    one = chunk(b"fcTL", control) + chunk(b"fdAT", bytes(4))
    return png(chunk(b"acTL", struct.pack(">II", 2**30, 0)) + chunk(b"fcTL", control), one * (size // len(one)))


def png_exif(size: int) -> bytes:
    """Let thousands of EXIF tags hold the same bytes."""
    return png(chunk(b"eXIf", overlapping(size, tags=2000)))


GIF = b"GIF89a" + struct.pack("<HHBBB", 64, 64, 0x80, 0, 0) + bytes(6)
FRAME = b"," + struct.pack("<HHHHB", 0, 0, 64, 64, 0) + b"\x02"
#: Codes of two or three bits: clear, then 64 x 64 times the color 0, so that no code of the table is used, and the end.
CODES = [4, *([0, 4] * 64 * 64), 5]


def _packed(codes: list[int]) -> bytes:
    """Pack codes of three bits."""
    number = sum(code << 3 * i for i, code in enumerate(codes))
    return number.to_bytes(-(-3 * len(codes) // 8), "little")


def blocks(content: bytes) -> bytes:
    """Cut content into blocks of 255 bytes."""
    whole, rest = divmod(len(content), 255)
    parts = b"".join(b"\xff" + content[i * 255 : i * 255 + 255] for i in range(whole))
    return parts + (bytes([rest]) + content[-rest:] if rest else b"") + b"\0"


PIXELS = blocks(_packed(CODES))


def gif_comment(size: int) -> bytes:
    """Write a comment of one-byte blocks."""
    return GIF + b"!\xfe" + b"\1a" * (size // 2) + b"\0" + FRAME + PIXELS + b";"


def gif_comments(size: int) -> bytes:
    """Repeat empty comments."""
    return GIF + b"!\xfe\1a\0" * (size // 5) + FRAME + PIXELS + b";"


def gif_controls(size: int) -> bytes:
    """Repeat control blocks before the first frame."""
    return GIF + b"!\xf9\4\0\0\0\0\0" * (size // 8) + FRAME + PIXELS + b";"


def gif_padding(size: int) -> bytes:
    """Put bytes that begin no block before the first frame."""
    return GIF + b"\0" * size + FRAME + PIXELS + b";"


def gif_clears(size: int) -> bytes:
    """Repeat the code that clears the table."""
    return GIF + FRAME + blocks(bytes.fromhex("244992") * (size // 3) + _packed(CODES)) + b";"


def gif_tiny_blocks(size: int) -> bytes:
    """Cut the codes of the pixels into blocks of one byte."""
    return GIF + FRAME + b"".join(b"\1" + bytes([one]) for one in bytes.fromhex("244992") * (size // 6)) + PIXELS + b";"


def gif_frames(size: int) -> bytes:
    """Repeat frames."""
    one = FRAME + PIXELS
    return GIF + one * (size // len(one)) + b";"


def gif_wide(size: int) -> bytes:
    """Let the first frame be a thousand times as large as the screen."""
    frame = b"," + struct.pack("<HHHHB", 0, 0, 7000, 7000, 0) + b"\x02"
    return GIF + frame + blocks(bytes.fromhex("244992") * (size // 3)) + b";"


def riff(chunks: bytes) -> bytes:
    """Frame the chunks of a WEBP file."""
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WEBP" + chunks


def webp_chunk(kind: bytes, content: bytes) -> bytes:
    """Frame the content of a WEBP chunk."""
    return kind + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def _webp_pixels(size: tuple[int, int] = (8, 8)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, "red").save(file, "WEBP", lossless=True)
    return file.getvalue()[12:]


def _extended(flags: int, size: tuple[int, int]) -> bytes:
    width, height = (struct.pack("<I", length - 1)[:3] for length in size)
    return webp_chunk(b"VP8X", bytes([flags, 0, 0, 0]) + width + height)


def webp_frames(size: int, canvas: tuple[int, int] = (64, 64)) -> bytes:
    """Repeat frames of an animation."""
    one = webp_chunk(b"ANMF", bytes(6) + b"\7\0\0\7\0\0" + bytes(4) + _webp_pixels())
    return riff(_extended(2, canvas) + webp_chunk(b"ANIM", bytes(6)) + one * (size // len(one)))


def webp_canvas(size: int) -> bytes:
    """Put a frame of 8 x 8 pixels on a canvas of 49 million."""
    return webp_frames(64, (7000, 7000))


def webp_chunks(size: int) -> bytes:
    """Repeat chunks that nobody knows."""
    return riff(_extended(0, (8, 8)) + _webp_pixels() + webp_chunk(b"abcd", b"") * (size // 8))


def webp_exif(size: int) -> bytes:
    """Let thousands of EXIF tags hold the same bytes."""
    return riff(_extended(8, (8, 8)) + _webp_pixels() + webp_chunk(b"EXIF", overlapping(size, tags=2000)))


def bmp(size: tuple[int, int], compression: int, data: bytes, bits: int = 8) -> bytes:
    """Build a BMP with a palette of 256 greys."""
    palette = b"".join(bytes([i, i, i, 0]) for i in range(2**bits)) if bits <= 8 else b""
    at = 54 + len(palette)
    header = struct.pack("<IiiHHIIiiII", 40, *size, 1, bits, compression, len(data), 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", at + len(data), 0, 0, at) + header + palette + data


def bmp_runs(size: int) -> bytes:
    """Write runs of a pixel each."""
    side = min(int((size / 2) ** 0.5), 7000)
    return bmp((side, side), 1, (b"\1\7" * side + b"\0\0") * side)


def bmp_nothing(size: int) -> bytes:
    """Write ends of lines at the beginning of a line, which bring nothing."""
    return bmp((64, 64), 1, b"\0\0" * (size // 2))


def bmp_line(size: int) -> bytes:
    """End a line of 49 million pixels at once, which is filled byte by byte."""
    return bmp((49_000_000, 1), 1, b"\1\7\0\0" + b"\0\1")


def bmp_delta(size: int) -> bytes:
    """Jump over pixels."""
    return bmp((7000, 7000), 1, b"\0\2\1\0" * (size // 4))


def bmp_palette(size: int) -> bytes:
    """Write that there are a billion colors."""
    made = bytearray(bmp((8, 8), 0, bytes(size)))
    made[46:50] = struct.pack("<I", 2**30)
    return bytes(made)
