"""Words for TIFF files that Pillow cannot read: they are valid, and of another kind than photographs."""

from __future__ import annotations

import struct

from skltransfer._engine.modalities.image._limits import Directory, _entries

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_OFFSETS, _SAMPLES, _FORMAT = (273, 324), 277, 339
_FORMATS = {2: "signed ", 3: "floating-point ", 5: "complex ", 6: "complex "}
_COLORS = {32803: " of a camera's raw file", 34892: " of a camera's raw file", 9: " of ICCLAB", 10: " of ITULAB"}
#: What Pillow decompresses.
_KNOWN = {1, 2, 3, 4, 5, 6, 7, 8, 32771, 32773, 32946, 34925, 50000, 50001}

ADVICE = "which Pillow does not read; read it with tifffile and give uint8 arrays (height, width, 3) of three bands"


def describe(data: bytes) -> str | None:
    """Describe the first picture of a TIFF file; None if its tags or pixels are not whole."""
    directory = Directory(data, "<" if data[:2] == b"II" else ">", {})
    try:
        for tag, *entry in _entries(data, directory.order):
            directory.tags.setdefault(tag, (entry[0], entry[1], entry[2]))
        return _described(directory, len(data))
    except (struct.error, IndexError, ValueError, OverflowError, MemoryError):
        return None


def _described(directory: Directory, length: int) -> str | None:
    places = [place for tag in _OFFSETS if tag in directory.tags for place in directory.values(tag)]
    if not directory.value(_WIDTH) or not directory.value(_HEIGHT) or not places or max(places) >= length:
        return None
    bands, bits = directory.value(_SAMPLES, 1), max(directory.values(_BITS, 1))
    kind = _FORMATS.get(max(directory.values(_FORMAT, 1)), "")
    compression = directory.value(_COMPRESSION, 1)
    packed = "" if compression in _KNOWN else f", compressed by method {compression}"
    colors = _COLORS.get(directory.value(_PHOTOMETRIC), "")
    plural = "" if bands == 1 else "s"
    return f"begins like a TIFF of {bands} band{plural} of {bits}-bit {kind}pixels{colors}{packed}, {ADVICE}"
