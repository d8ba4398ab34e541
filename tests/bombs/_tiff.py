"""TIFF files whose tags, strips and tiles are many, or lie on each other."""

from __future__ import annotations

import struct
import zlib

import numpy as np

#: Tags that every picture has.
WIDTH, HEIGHT, BITS, COMPRESSION, KIND, OFFSETS, SAMPLES, ROWS, COUNTS = 256, 257, 258, 259, 262, 273, 277, 278, 279
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_COUNTS, JPEG_TABLES, SUBFILES = 322, 323, 324, 325, 347, 330
#: Compressions.
PLAIN, LZW, JPEG, DEFLATE, PACKBITS = 1, 5, 7, 8, 32773


def tiff(tags: dict[int, list[int] | bytes], data: bytes = b"", *, next_at: int = 0) -> bytes:
    """Build a file: header, data from byte 8 on, then the directory and the values that do not fit into it."""
    at = 8 + len(data) + len(data) % 2
    directory, values = struct.pack("<H", len(tags)), b""
    values_at = at + 2 + 12 * len(tags) + 4
    for tag, value in sorted(tags.items()):
        kind, count = (7, len(value)) if isinstance(value, bytes) else (4, len(value))
        raw = value if isinstance(value, bytes) else struct.pack(f"<{count}I", *value)
        if len(raw) <= 4:
            directory += struct.pack("<HHI", tag, kind, count) + raw.ljust(4, b"\0")
        else:
            directory += struct.pack("<HHII", tag, kind, count, values_at + len(values))
            values += raw
    return (
        b"II*\0" + struct.pack("<I", at) + data.ljust(at - 8, b"\0") + directory + struct.pack("<I", next_at) + values
    )


def grey(width: int, height: int, compression: int = PLAIN, **more: object) -> dict[int, list[int] | bytes]:
    """Return the tags of a grey picture."""
    return {WIDTH: [width], HEIGHT: [height], BITS: [8], COMPRESSION: [compression], KIND: [1], SAMPLES: [1]}


def overlapping(size: int, tags: int = 1000) -> bytes:
    """Let many tags hold the same bytes, nearly all of the file."""
    own = {**grey(8, 8), OFFSETS: [8], ROWS: [8], COUNTS: [64]}
    names = [tag for tag in range(400, 65_500) if tag not in (700, 33432, 34665, 34853, 40965, 37724)][: tags - 9]
    directory = struct.pack("<H", len(own) + len(names))
    for tag, value in sorted(own.items()):
        directory += struct.pack("<HHII", tag, 4, 1, value[0])
    at = 72 + len(directory) + 12 * len(names) + 4
    for tag in names:
        directory += struct.pack("<HHII", tag, 7, size, at)
    return b"II*\0" + struct.pack("<I", 72) + bytes(64) + directory + bytes(4) + bytes(size)


def strips(size: int, height: int = 0) -> bytes:
    """Write that there are more strips than the picture has rows."""
    n = size // 8
    return tiff({**grey(8, 8), OFFSETS: [8] * n, ROWS: [1], COUNTS: [8] * n}, bytes(64))


def empty_strips(size: int) -> bytes:
    """Cut a narrow picture into strips of a row."""
    n = min(size // 8, 8_000_000)
    return tiff({**grey(1, n), OFFSETS: [8] * n, ROWS: [1], COUNTS: [1] * n}, bytes(64))


def tiles(size: int) -> bytes:
    """Cut a picture into tiles of 16 x 16 pixels that all lie at one place."""
    side = int((size / 8) ** 0.5)
    side, n = min(side, 440), min(side, 440) ** 2
    tags = {**grey(16 * side, 16 * side), TILE_WIDTH: [16], TILE_HEIGHT: [16]}
    return tiff({**tags, TILE_OFFSETS: [8] * n, TILE_COUNTS: [256] * n}, bytes(256))


def tiny_tiles(size: int) -> bytes:
    """Cut a picture into tiles of one pixel."""
    side = min(int((size / 8) ** 0.5), 7000)
    tags = {**grey(side, side), TILE_WIDTH: [1], TILE_HEIGHT: [1]}
    return tiff({**tags, TILE_OFFSETS: [8] * side**2, TILE_COUNTS: [1] * side**2}, bytes(256))


def empty_blocks(size: int, kind: str = "static") -> bytes:
    """Build a zlib stream of blocks without content; those with tables of their own cost most for their length."""
    if kind == "stored":
        return b"\x78\x9c" + b"\0\0\0\xff\xff" * (size // 5)
    if kind == "static":  # ten bits each: 0, 10, 0000000
        return b"\x78\x9c" + bytes.fromhex("0208208000") * (size // 5)
    return b"\x78\x9c" + _dynamic(size)


def _dynamic(size: int) -> bytes:
    """Repeat a block whose tables hold one code each."""
    bits: list[int] = []

    def put(value: int, n: int) -> None:
        bits.extend(value >> i & 1 for i in range(n))

    put(0, 1), put(2, 2), put(0, 5), put(0, 5), put(14, 4)
    lengths = {18: 1, 0: 2, 1: 2}
    for symbol in (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1):
        put(lengths.get(symbol, 0), 3)
    for run in (138, 118):  # 256 zeros: symbol 18 is the code 0
        put(0, 1), put(run - 11, 7)
    put(0b11, 2)  # length 1 for the end of a block: symbol 1 is the code 11
    put(0b11, 2)  # and for one distance
    put(0, 1)  # the end of the block
    whole = bits * 8  # so that it ends at a byte
    block = bytes(sum(whole[i + j] << j for j in range(8)) for i in range(0, len(whole), 8))
    return block * (size // len(block))


def random_blocks(size: int) -> bytes:
    """Build a zlib stream of blocks without content, each with tables that repeat nothing."""
    rng, bits = np.random.default_rng(0), []
    for _ in range(3000):  # 150 kB, then once more: no sample of a few kilobytes shows it
        codes = rng.permutation([8] * 226 + [9] * 60)  # a complete code: 226 / 256 + 60 / 512 = 1
        end = np.flatnonzero(codes == codes[256]).searchsorted(256) + (0 if codes[256] == 8 else 452)
        lengths = np.repeat(codes == 9, codes - 7)  # 8 is written as 0, 9 as 11, and no distance as 10
        bits += [_HEADER, lengths, [1, 0], [end >> i & 1 for i in reversed(range(codes[256]))]]
    once = np.packbits(np.tile(np.concatenate(bits).astype(bool), 8), bitorder="little").tobytes()
    return b"\x78\x9c" + (once * (size // len(once) + 1))[:size]


def _bits(*pairs: tuple[int, int]) -> list[int]:
    """Write numbers with so many bits each, the lowest first."""
    return [value >> i & 1 for value, n in pairs for i in range(n)]


#: A block with 286 codes for bytes and lengths, of length 8 or 9, and none for distances.
_ORDER = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15)
_HEADER = _bits(
    (0, 1), (2, 2), (29, 5), (0, 5), (3, 4), *(({8: 1, 0: 2, 9: 2}.get(symbol, 0), 3) for symbol in _ORDER[:7])
)


def large_random_deflate(size: int) -> bytes:
    """Put random blocks before the pixels of a picture that may be as long."""
    data = random_blocks(size)
    return tiff({**grey(7000, 7000, DEFLATE), OFFSETS: [8], ROWS: [7000], COUNTS: [len(data)]}, data)


def deflate(size: int) -> bytes:
    """Put blocks without content before the pixels."""
    data = empty_blocks(size, "dynamic")
    return tiff({**grey(64, 64, DEFLATE), OFFSETS: [8], ROWS: [64], COUNTS: [len(data)]}, data)


def shared_strips(size: int) -> bytes:
    """Let every strip be the same long stream."""
    data = empty_blocks(size, "dynamic")
    n = 2000
    return tiff({**grey(64, n, DEFLATE), OFFSETS: [8] * n, ROWS: [1], COUNTS: [len(data)] * n}, data)


def large_deflate(size: int) -> bytes:
    """Put blocks without content before the pixels of a picture that may be as long."""
    data = empty_blocks(size, "dynamic")
    return tiff({**grey(7000, 7000, DEFLATE), OFFSETS: [8], ROWS: [7000], COUNTS: [len(data)]}, data)


def lzw(size: int) -> bytes:
    """Repeat the code that clears the table."""
    data = bytes.fromhex("8040201008040201008040") * (size // 11)
    return tiff({**grey(64, 64, LZW), OFFSETS: [8], ROWS: [64], COUNTS: [len(data)]}, data)


def jpeg_scans(size: int) -> bytes:
    """Put a JPEG stream of many scans into a strip."""
    from tests.bombs import _jpeg

    data = _jpeg.empty_scans(size, (3000, 3000))
    tags = {**grey(3000, 3000, JPEG), BITS: [8], KIND: [6], SAMPLES: [3]}
    return tiff({**tags, OFFSETS: [8], ROWS: [3000], COUNTS: [len(data)]}, data)


def directories(size: int) -> bytes:
    """Let the directories refer to each other without end."""
    return tiff(
        {**grey(8, 8), OFFSETS: [8], ROWS: [8], COUNTS: [64], SUBFILES: [72] * (size // 4)}, bytes(64), next_at=72
    )


def big(size: int) -> bytes:
    """Write in a BigTIFF that a tag holds an exabyte."""
    tags = [(WIDTH, 4, 1, 8), (HEIGHT, 4, 1, 8), (BITS, 3, 1, 8), (COMPRESSION, 3, 1, 1), (KIND, 3, 1, 1)]
    tags += [(OFFSETS, 4, 1, 16), (COUNTS, 4, 1, 64)] + [(700 + i % 60_000, 7, 2**60, 16) for i in range(size // 20)]
    directory = struct.pack("<Q", len(tags)) + b"".join(struct.pack("<HHQQ", *tag) for tag in tags)
    return b"II+\0" + struct.pack("<HHQ", 8, 0, 80) + bytes(64) + directory + bytes(8)


def big_directory(size: int) -> bytes:
    """Fill a BigTIFF with tags of one byte."""
    n = size // 20
    tags = [(WIDTH, 4, 1, 8), (HEIGHT, 4, 1, 8), (BITS, 3, 1, 8), (COMPRESSION, 3, 1, 1), (KIND, 3, 1, 1)]
    tags += [(OFFSETS, 4, 1, 16), (COUNTS, 4, 1, 64)]
    directory = struct.pack("<Q", n) + b"".join(struct.pack("<HHQQ", *tag) for tag in tags)
    directory += struct.pack("<HHQQ", 60000, 1, 1, 7) * (n - len(tags))
    return b"II+\0" + struct.pack("<HHQ", 8, 0, 80) + bytes(64) + directory + bytes(8)


def thin(size: int) -> bytes:
    """Build a picture one pixel wide and 49 million high, of bytes that cost little."""
    data = zlib.compress(bytes(49_000_000), 9)
    return tiff({**grey(1, 49_000_000, DEFLATE), OFFSETS: [8], ROWS: [49_000_000], COUNTS: [len(data)]}, data)
