"""Words for TIFF files that Pillow cannot read: they are valid, and of another kind than photographs."""

from __future__ import annotations

import struct

from skltransfer._engine.modalities.image._tiff import BITS, COMPRESSION, HEIGHT, OFFSETS, SAMPLES, WIDTH, Directory

_PHOTOMETRIC, _FORMAT = 262, 339
_FORMATS = {2: "signed ", 3: "floating-point ", 5: "complex ", 6: "complex "}
_COLORS = {32803: " of a camera's raw file", 34892: " of a camera's raw file", 9: " of ICCLAB", 10: " of ITULAB"}
#: What Pillow decompresses.
_KNOWN = {1, 2, 3, 4, 5, 6, 7, 8, 32771, 32773, 32946, 34925, 50000, 50001}

ADVICE = "which Pillow does not read; read it with tifffile and give uint8 arrays (height, width, 3) of three bands"


def describe(data: bytes) -> str | None:
    """Describe the first picture of a TIFF file; None if its tags or pixels are not whole."""
    directory = Directory(data)
    try:
        for tag, kind, count, place in directory.entries():
            directory.tags.setdefault(tag, (kind, count, place))
        return _described(directory, len(data))
    except (struct.error, IndexError, ValueError, OverflowError, MemoryError):
        return None


def _described(directory: Directory, length: int) -> str | None:
    places = [place for tag in OFFSETS if tag in directory.tags for place in directory.values(tag)]
    if not directory.value(WIDTH) or not directory.value(HEIGHT) or not places or max(places) >= length:
        return None
    bands, bits = directory.value(SAMPLES, 1), max(directory.values(BITS, 1))
    kind = _FORMATS.get(max(directory.values(_FORMAT, 1)), "")
    compression = directory.value(COMPRESSION, 1)
    packed = "" if compression in _KNOWN else f", compressed by method {compression}"
    colors = _COLORS.get(directory.value(_PHOTOMETRIC), "")
    plural = "" if bands == 1 else "s"
    return f"begins like a TIFF of {bands} band{plural} of {bits}-bit {kind}pixels{colors}{packed}, {ADVICE}"
