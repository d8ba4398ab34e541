"""Reading ahead: bounded in bytes, whatever the samples are, and without another row."""

import io

import numpy as np
import pytest
from PIL import Image

from skltransfer._engine.cache import MemoryCache
from skltransfer._engine.modalities.image import _prepare
from skltransfer._engine.stream import _budget
from tests.stream.support import PICTURES, ROWS, embed


def bitmap(picture: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "BMP")
    return file.getvalue()


@pytest.fixture
def held(monkeypatch):
    """Count every byte, let few be held, and record how many were."""
    most, add = [0], _budget.Budget.add

    def recorded(budget, size):
        add(budget, size)
        most[0] = max(most[0], budget._held)

    monkeypatch.setattr(_budget.Budget, "add", recorded)
    monkeypatch.setattr(_budget, "SMALL", 1)
    monkeypatch.setattr(_budget, "MOST", 5 * len(bitmap(PICTURES[0])))
    return most


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("kind", ["path", "bytes", "array"])
def test_bytes_read_ahead_are_bounded(form, plan, held, kind, cached, tmp_path):
    samples = PICTURES if kind == "array" else [bitmap(picture) for picture in PICTURES]
    if kind == "path":
        for i, data in enumerate(samples):
            (tmp_path / f"{i}.bmp").write_bytes(data)
        samples = [tmp_path / f"{i}.bmp" for i in range(len(samples))]
    got = embed(iter(samples), plan, workers=2, cache=MemoryCache() if cached else None)
    np.testing.assert_allclose(got.rows, ROWS, rtol=1e-5)
    assert held[0] <= _budget.MOST + 4 * len(bitmap(PICTURES[0]))


def test_file_that_is_not_held_is_read_again_and_checked(form, plan, held, tmp_path, monkeypatch):
    monkeypatch.setattr(_budget, "MOST", 0)
    path, read = tmp_path / "a.bmp", _prepare.read
    path.write_bytes(bitmap(PICTURES[0]))

    def once(sample):
        source = read(sample)
        path.write_bytes(bitmap(PICTURES[1]))
        return source

    monkeypatch.setattr(_prepare.ImagePreparer, "read", staticmethod(once))
    got = embed([path], plan, cache=MemoryCache(), skip_bad=True)
    assert [failure.reason for failure in got.failures] == ["changed while it was being embedded; run again"]


def test_nothing_is_held_after_a_call(form, plan, held):
    embed(PICTURES, plan, workers=2, cache=MemoryCache())
    budget = _budget.Budget()
    lease = budget.lease(b"abc")
    assert budget._held == 3
    del lease
    assert budget._held == 0
