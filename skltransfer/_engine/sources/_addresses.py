"""Strings that name no file of this machine: what they are, and what to do with them."""

from __future__ import annotations

import re

#: How addresses begin that `_remote` opens where the extra is installed.
REMOTE = ("http", "https", "s3", "gs", "gcs", "zip")
_EXTRA = "download it first, or let it be fetched: pip install 'skltransfer[remote]'"

#: What a string is by its beginning, in lower case, and what to do.
BEGINNINGS = (
    (r"data:[^,]*,", "is a data URL, not a file name; give its bytes: base64.b64decode(url.partition(',')[2])"),
    (r"https?:/", f"is an address of the web, not a file; {_EXTRA}"),
    (r"(s3|gs|gcs):/", f"is an object in a bucket, not a file; {_EXTRA}"),
    (r"zip:/", f"is a file in an archive; {_EXTRA}, or give zipfile.Path('photos.zip', 'cat.jpg')"),
    (r"file:", "is an address of another machine, or none; give the path of a file of this machine"),
    (
        r"[a-z][a-z0-9+.-]+://",
        "is an address that is not opened here; download it first, or give an object that is: fsspec.open(address)",
    ),
    (r"\s*<(!doctype|html|svg|\?xml)", "is HTML or XML itself, not a file name"),
    (r"[^\n]*\*", "is a pattern, not a file name; give what it finds: sorted(glob.glob(pattern))"),
    (r"\s*$", "is empty; give the path of a file"),
)
_BEGINNINGS = tuple((re.compile(pattern, re.IGNORECASE), what) for pattern, what in BEGINNINGS)

#: How JPEG, PNG, WEBP, GIF, TIFF and BMP files begin in base64. A file name is shorter than the shortest such file.
_BASE64 = re.compile(r"(/9j/|iVBORw0KGgo|UklGR|R0lGOD|SUkqA|TU0AK|Qk)[A-Za-z0-9+/\s_-]{40,}={0,2}\s*")
BASE64 = "is an image in base64, not a file name; give its bytes: base64.b64decode(text)"


def is_base64(text: str) -> bool:
    """Return whether a text is the base64 of an image."""
    return _BASE64.fullmatch(text) is not None


def describe(name: str) -> str:
    """Describe a string that names no file; empty if it may be a file that is not there."""
    found = next((what for pattern, what in _BEGINNINGS if pattern.match(name)), "")
    return found or (BASE64 if is_base64(name) else "")
