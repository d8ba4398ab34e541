"""Fixtures of the tests of the cache."""

import pytest

from skltransfer._engine.cache import DiskCache


@pytest.fixture
def open_disk():
    """Open caches, and close them."""
    opened = []

    def opener(*arguments):
        opened.append(DiskCache(*arguments))
        return opened[-1]

    yield opener
    for disk in opened:
        if disk._db is not None:
            disk._db.close()


@pytest.fixture
def disk(tmp_path, open_disk):
    return open_disk(tmp_path / "rows")
