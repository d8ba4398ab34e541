"""Image files that are built to cost time or memory, and the table of them."""

from tests.bombs._table import BOMBS, Bomb, build

__all__ = ["BOMBS", "Bomb", "build"]
