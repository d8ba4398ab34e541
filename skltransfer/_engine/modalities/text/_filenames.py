"""Texts that are names of files: nobody embeds those on purpose."""

from __future__ import annotations

import os

from skltransfer.errors import shorten

#: Texts of a call that are looked at: a look takes 2 microseconds, and a table of paths shows in its first lines.
LOOKS = 32
#: A longer text, or one with a line break, is no file name.
LONGEST = 1024


class FileNames:
    """Counts how many of the first texts of a call are names of files that exist."""

    def __init__(self) -> None:
        self._seen, self._found = 0, list[str]()

    def look(self, text: object) -> None:
        """Look at a text, unless enough were seen; calls from several threads may look at a few more."""
        if self._seen >= LOOKS:
            return
        self._seen += 1
        if isinstance(text, str) and 0 < len(text) <= LONGEST and "\n" not in text and _is_file(text):
            self._found.append(text)

    def notes(self) -> list[str]:
        """Return a note if most are file names."""
        if 2 * len(self._found) <= self._seen:
            return []
        return [
            f"{len(self._found)} of the first {self._seen} texts are names of files that exist, such as "
            f"{shorten(repr(self._found[0]))}: the names are embedded, not what the files hold. Read texts first, with "
            "Path(name).read_text(); images need a backbone of images."
        ]


def _is_file(text: str) -> bool:
    try:
        return os.path.isfile(text)
    except ValueError:  # a NUL, a lone surrogate
        return False
