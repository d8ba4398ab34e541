"""What the tests of the cache share."""

import numpy as np

ROW = np.arange(5, dtype=np.float32)


#: Fingerprint of a recipe.
RECIPE = b"r" * 32


def key(i: int, recipe: bytes = RECIPE) -> bytes:
    return i.to_bytes(16, "big") + recipe


def rows(*numbers: int) -> dict[bytes, np.ndarray]:
    return {key(i): ROW + i for i in numbers}


def assert_equal(got, want):
    assert got.keys() == want.keys()
    np.testing.assert_array_equal([got[k] for k in want], list(want.values()))
