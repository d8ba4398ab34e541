"""File formats: those that are decoded with their signatures, and what other files look like."""

from __future__ import annotations

import re

from skltransfer._engine import sources

#: Formats that Pillow decodes by itself, and how their files begin. EPS would start Ghostscript.
FORMATS: dict[str, re.Pattern[bytes]] = {
    "JPEG": re.compile(rb"\xff\xd8\xff"),
    "PNG": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "WEBP": re.compile(rb"RIFF....WEBP", re.DOTALL),
    "GIF": re.compile(rb"GIF8[79]a"),
    "BMP": re.compile(rb"BM"),
    "TIFF": re.compile(rb"II[*+]\0|MM\0[*+]"),
}

_OPENED = "save it as JPEG or PNG, or give what Pillow opens: PIL.Image.open(path)"
_HEIF = (
    "save it as JPEG, or pip install pillow-heif, call pillow_heif.register_heif_opener() and give PIL.Image.open(path)"
)
#: Images that are not decoded, and other files with a signature in binary.
BINARY = tuple(
    (re.compile(pattern, re.DOTALL), what)
    for pattern, what in (
        (rb"....ftyp(avif|avis)", f"AVIF; {_OPENED}"),
        (rb"....ftyp(mif1|msf1|miaf).{4}(.{4}){0,32}?avi[fs]", f"AVIF; {_OPENED}"),
        (rb"....ftyp(hei[cmsx]|hev[cmsx]|mif1|msf1|miaf)", f"HEIC, as telephones write it; {_HEIF}"),
        (rb"....ftypcrx ", "a camera's raw file (CR3); develop it to JPEG, or read it with rawpy"),
        (rb"....ftyp", "a video; give its frames as arrays"),
        (rb"\0\0\0\x0cjP  \r\n|\xff\x4f\xff\x51", f"JPEG 2000; {_OPENED}"),
        (rb"\0\0\0\x0cJXL \r\n|\xff\x0a", "JPEG XL; save it as JPEG or PNG"),
        (rb"II\xbc", "JPEG XR; save it as JPEG or PNG"),
        (rb"8BPS", "a document of Photoshop; save it as JPEG or PNG"),
        (rb".{128}DICM", "DICOM; read it with pydicom, and give uint8 arrays"),
        (rb"\x93NUMPY", "a .npy file; give np.load(path)"),
        (rb"\x89HDF", "an HDF5 file; give its arrays as uint8"),
        (rb"PAR1", "a Parquet file; give a column of it"),
    )
)

#: What files that are not images often are, by their first bytes in lower case.
OTHERS = (
    (b"version https://git-lfs", "a Git LFS pointer; fetch the file itself with: git lfs pull"),
    (b"<!doctype", "a web page"),
    (b"<html", "a web page"),
    (b"<?xml", "XML, perhaps SVG"),
    (b"<svg", "SVG, which has no pixels"),
    (b"%!ps", "PostScript, which is a program"),
    (b"%pdf", "a PDF document"),
    (b"pk\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "gzip data"),
    (b"data:", "a data URL; give its bytes: base64.b64decode(url.partition(',')[2])"),
    (b"http://", "an address of the web; give what it stands for"),
    (b"https://", "an address of the web; give what it stands for"),
)
#: Characters that are looked at to recognize base64.
SAMPLE = 4096


def begins_like(data: bytes) -> str | None:
    """Return the format whose signature a file begins with, or None."""
    return next((name for name, signature in FORMATS.items() if signature.match(data)), None)


def looks_like(data: bytes) -> str:
    """Describe a file that cannot be decoded, by its first bytes."""
    if not data:
        return "it is empty"
    if (name := begins_like(data)) is not None and not _is_base64(data):
        return f"it begins like a {name} and is cut short or damaged"
    if (found := next((what for signature, what in BINARY if signature.match(data)), None)) is not None:
        return f"it looks like {found}"
    head = data[:64].lstrip().lower()
    for signature, what in OTHERS:
        if head.startswith(signature):
            return f"it looks like {what}"
    if _is_base64(data):
        return "it looks like an image in base64; give base64.b64decode(data)"
    return f"its first bytes are {data[:12]!r}"


def _is_base64(data: bytes) -> bool:
    return data[:SAMPLE].isascii() and sources.is_base64(data[:SAMPLE].decode("ascii"))
