"""The table: a row for each kind of file, with what it costs without limits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from tests.bombs import _jpeg, _others, _tiff


class Bomb(NamedTuple):
    """One kind of file.

    Attributes
    ----------
    build : callable
        Takes about how many bytes the file should have; returns it.
    sizes : tuple of int
        Bytes of the ordinary run, then of the slow one.
    """

    build: Callable[[int], bytes]
    sizes: tuple[int, ...] = (1_000_000, 64_000_000)


ONE = (1000,)
BOMBS: dict[str, Bomb] = {
    "jpeg empty scans": Bomb(_jpeg.empty_scans, (241_000, 16_000_000)),
    "jpeg refining scans": Bomb(_jpeg.refining_scans, (241_000, 16_000_000)),
    "jpeg sequential scans": Bomb(_jpeg.sequential_scans, (241_000, 16_000_000)),
    "jpeg fill bytes": Bomb(_jpeg.fill_bytes),
    "jpeg junk": Bomb(_jpeg.junk_between),
    "jpeg comments": Bomb(_jpeg.comments),
    "jpeg applications": Bomb(_jpeg.applications),
    "jpeg parts of EXIF": Bomb(_jpeg.exif_parts),
    "jpeg EXIF": Bomb(_jpeg.exif, ONE),
    "jpeg long EXIF": Bomb(_jpeg.long_exif, (1_000_000, 8_000_000)),
    "jpeg Photoshop": Bomb(_jpeg.photoshop),
    "jpeg tables": Bomb(_jpeg.tables),
    "jpeg Huffman tables": Bomb(_jpeg.huffman_tables),
    "jpeg parts of ICC": Bomb(_jpeg.icc_parts),
    "jpeg fill before end": Bomb(_jpeg.fill_before_end),
    "jpeg zeros before end": Bomb(_jpeg.zeros_before_end),
    "jpeg restarts": Bomb(_jpeg.restarts),
    "jpeg MPO": Bomb(_jpeg.mpo_entries, ONE),
    "png chunks": Bomb(_others.png_chunks),
    "png chunks after": Bomb(_others.png_chunks_after),
    "png empty data": Bomb(_others.png_empty_data),
    "png texts": Bomb(_others.png_texts),
    "png compressed texts": Bomb(_others.png_compressed_texts, (100_000, 1_000_000)),
    "png profile": Bomb(_others.png_profile, (100_000, 2_000_000)),
    "png empty blocks": Bomb(_others.png_blocks),
    "png large empty blocks": Bomb(_others.png_large_blocks),
    "png large random blocks": Bomb(_others.png_random_blocks),
    "png pixels, then random blocks": Bomb(_others.png_pixels_then_random_blocks),
    "png long data": Bomb(_others.png_long_data),
    "png frames": Bomb(_others.png_frames),
    "png EXIF": Bomb(_others.png_exif, (1_000_000, 8_000_000)),
    "gif comment": Bomb(_others.gif_comment),
    "gif comments": Bomb(_others.gif_comments),
    "gif controls": Bomb(_others.gif_controls),
    "gif padding": Bomb(_others.gif_padding),
    "gif clears": Bomb(_others.gif_clears),
    "gif tiny blocks": Bomb(_others.gif_tiny_blocks),
    "gif frames": Bomb(_others.gif_frames),
    "gif wide frame": Bomb(_others.gif_wide),
    "webp frames": Bomb(_others.webp_frames),
    "webp canvas": Bomb(_others.webp_canvas, ONE),
    "webp chunks": Bomb(_others.webp_chunks),
    "webp EXIF": Bomb(_others.webp_exif, (1_000_000, 8_000_000)),
    "bmp runs": Bomb(_others.bmp_runs),
    "bmp nothing": Bomb(_others.bmp_nothing),
    "bmp line": Bomb(_others.bmp_line, ONE),
    "bmp delta": Bomb(_others.bmp_delta),
    "bmp palette": Bomb(_others.bmp_palette),
    "tiff overlapping tags": Bomb(_tiff.overlapping, (1_000_000, 16_000_000)),
    "tiff strips": Bomb(_tiff.strips),
    "tiff empty strips": Bomb(_tiff.empty_strips),
    "tiff tiles": Bomb(_tiff.tiles),
    "tiff tiny tiles": Bomb(_tiff.tiny_tiles),
    "tiff empty blocks": Bomb(_tiff.deflate),
    "tiff shared strips": Bomb(_tiff.shared_strips, (100_000, 4_000_000)),
    "tiff large empty blocks": Bomb(_tiff.large_deflate),
    "tiff large random blocks": Bomb(_tiff.large_random_deflate),
    "tiff clears": Bomb(_tiff.lzw),
    "tiff JPEG scans": Bomb(_tiff.jpeg_scans, (241_000, 16_000_000)),
    "tiff directories": Bomb(_tiff.directories),
    "tiff exabytes": Bomb(_tiff.big),
    "tiff many tags": Bomb(_tiff.big_directory),
    "tiff thin": Bomb(_tiff.thin, ONE),
}


def build(*, large: bool) -> Iterator[tuple[str, bytes]]:
    """Build the files of the ordinary run, or those of the slow one, one after another."""
    for kind, bomb in BOMBS.items():
        yield kind, bomb.build(bomb.sizes[-1 if large else 0])
