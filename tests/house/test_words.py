"""Words of the documentation and of docstrings: American spelling, the terms of the field, a verb first."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.pages import PAGES
from tests.paths import PACKAGE, ROOT

#: Stems of British spellings, as whole words with any ending.
BRITISH = (
    "analys(?=e|ing)",
    "artefact",
    "behaviour",
    "cancell(?=ed|ing)",
    "catalogue",
    "centr(?=e|ing)",
    "colour",
    "fav(?=our)",
    "grey",
    "labell",
    "learnt",
    "licenc",
    "modell",
    "neighbour",
    "programme(?!r|d)",
    "unlabell",
    "whilst",
    "(?:normal|general|quant|token|optim|recogn|initial|serial|summar|organ|parallel|minim|maxim|util)is(?=e|i|a)",
)
#: Words that only we would use, and what to write.
PRIVATE = {
    r"made[- ]up": "synthetic",
    r"embedded(?= (backbone|model|data|emoji|one)s?\b)|that are embedded, and": "bundled",
    r"prelude": "preprocessing",
    r"knobs?": "advice, option",
    r"mend(s|ed|ing)?": "fix",
    r"graphics cards?": "GPU",
    r"(on|of|onto) the card(?= as a tensor|,? two batches)": "GPU",
    r"memory that is locked|locked memory": "pinned memory",
    r"than which": "two sentences",
}
WORDS = {rf"\b{stem}\w*": "American spelling" for stem in BRITISH} | {rf"\b{k}\b": v for k, v in PRIVATE.items()}
#: How no docstring begins.
BEGINNINGS = re.compile(r"(Give|Tell|Say|Take|Make|What)s?\b")

TEXTS = [
    *PAGES,
    *(ROOT / name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted(ROOT.glob("models/*/README.md")),
    PACKAGE / "data" / "README.md",
    ROOT / "tests" / "bench" / "README.md",
]
EXAMPLES = sorted((ROOT / "examples").rglob("*.py"))
MODULES = [*sorted(PACKAGE.rglob("*.py")), ROOT / "models" / "__init__.py"]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def wrong_words(text: str, path: Path, first: int = 1) -> list[str]:
    """List the wrong words of a text with file, line and what to write; names in backticks are what they are."""
    found = []
    for number, line in enumerate(text.splitlines(), first):
        plain = re.sub(r"`[^`]*`", "``", line)
        for word, better in WORDS.items():
            found += [f"{name(path)}:{number}: {m[0]!r}: {better}" for m in re.finditer(word, plain, re.IGNORECASE)]
    return found


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the docstrings of a module, its classes and functions, each with its first line's number."""
    for node in ast.walk(ast.parse(path.read_text("utf8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
            constant = node.body[0].value
            yield constant.lineno, constant.value


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """Yield what a module says: its strings of several words, docstrings included, and lines that are comments."""
    for node in ast.walk(ast.parse(path.read_text("utf8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.lineno, node.value
    for number, line in enumerate(path.read_text("utf8").splitlines(), 1):
        if line.lstrip().startswith("#"):
            yield number, line


@pytest.mark.parametrize("path", TEXTS, ids=name)
def test_pages_use_the_words_of_the_field(path):
    assert wrong_words(path.read_text("utf8"), path) == []


@pytest.mark.parametrize("path", [*MODULES, *EXAMPLES], ids=name)
def test_messages_docstrings_and_comments_use_the_words_of_the_field(path):
    assert [wrong for line, text in prose(path) for wrong in wrong_words(text, path, line)] == []


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_docstrings_begin_with_what_is_done(path):
    found = [
        f"{name(path)}:{line}: {text.splitlines()[0]}" for line, text in docstrings(path) if BEGINNINGS.match(text)
    ]
    assert found == []


@pytest.mark.parametrize("text", ["the colour of it", "Normalised rows", "many neighbours", "made-up samples"])
def test_a_wrong_word_would_be_noticed(text):
    assert len(wrong_words(text, ROOT / "README.md")) == 1


@pytest.mark.parametrize(
    "text", ["`licence` was renamed", "quantization of models", "labeled", "a programmer", "analysis"]
)
def test_right_words_pass(text):
    assert wrong_words(text, ROOT / "README.md") == []
