"""What the tests of texts share."""

import numpy as np

from skltransfer._engine import runtime
from skltransfer.testing import WORDS, text_rows

#: Of different lengths, not in their order; the empty one is a text.
TEXTS = ["one two three", "", "four", "one two three four five six seven eight", "six six", "eight five"]
ROWS = text_rows(TEXTS)


def rows_run() -> list[int]:
    """Count the rows that went through each open graph."""
    return [session.rows_run for session in runtime.open_sessions().values()]


def long(n: int) -> str:
    """Make a text of n words."""
    return " ".join(WORDS[i % len(WORDS)] for i in range(n))


def windows(text: str, room: int) -> list[str]:
    """Cut a text of words into texts of at most so many words."""
    words = text.split()
    return [" ".join(words[i : i + room]) for i in range(0, max(1, len(words)), room)]


MIXED = [long(n) for n in np.random.default_rng(0).permutation(np.arange(400) % 97)]
