"""File formats: those that are decoded with their signatures, and what other files look like."""

from __future__ import annotations

import re

#: Formats that Pillow decodes by itself, and how their files begin. EPS would start Ghostscript.
FORMATS: dict[str, re.Pattern[bytes]] = {
    "JPEG": re.compile(rb"\xff\xd8\xff"),
    "PNG": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "WEBP": re.compile(rb"RIFF....WEBP", re.DOTALL),
    "GIF": re.compile(rb"GIF8[79]a"),
    "BMP": re.compile(rb"BM"),
    "TIFF": re.compile(rb"II[*+]\0|MM\0[*+]"),
}

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
)


def begins_like(data: bytes) -> str | None:
    """Return the format whose signature a file begins with, or None."""
    return next((name for name, signature in FORMATS.items() if signature.match(data)), None)


def looks_like(data: bytes) -> str:
    """Describe a file that cannot be decoded, by its first bytes."""
    if not data:
        return "it is empty"
    if (name := begins_like(data)) is not None:
        return f"it begins like a {name} and is cut short or damaged"
    head = data[:64].lstrip().lower()
    for signature, what in OTHERS:
        if head.startswith(signature):
            return f"it looks like {what}"
    return f"its first bytes are {data[:12]!r}"
