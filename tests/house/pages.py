"""The documentation as the tests read it: the README and the pages of the guide, and the code blocks in them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from tests.paths import PACKAGE, ROOT

README = ROOT / "README.md"
GUIDE = sorted((PACKAGE / "_docs").glob("*.md"))
PAGES = [README, *GUIDE]


class Block(NamedTuple):
    """A fenced block of code, and the number of its first line."""

    language: str
    code: str
    line: int


def blocks(page: Path, language: str) -> list[Block]:
    """Return the code blocks of a page in one language, in their order."""
    text = page.read_text("utf8")
    fences = re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    found = [Block(f[1], f[2], text.count("\n", 0, f.start(2)) + 1) for f in fences]
    return [block for block in found if block.language == language]
