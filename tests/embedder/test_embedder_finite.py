"""A row that is not finite is a failed sample: named, never cached, whatever else the batch holds."""

import numpy as np
import pytest

from skltransfer import PretrainedEmbedder, rows_run
from skltransfer._engine import cache, stream
from skltransfer.errors import BadSamplesWarning, SampleError
from tests import graphs
from tests.graphs import node, save_images

BLACK = np.zeros((8, 8, 3), np.uint8)
GRAY = [np.full((8, 8, 3), value, np.uint8) for value in (10, 50, 90, 130)]
LOGS = np.log([[value] * 3 for value in (10, 50, 90, 130)]) + [[value] * 3 for value in (10, 50, 90, 130)]


def logarithms():
    """Layers: ``means`` of the channels, and ``embedding``: with the logarithm of all; of black, minus infinity."""
    nodes = [
        node("ReduceMean", ["x"], ["means"], axes=[2, 3], keepdims=0),
        node("ReduceMean", ["means"], ["all"], axes=[1], keepdims=1),
        node("Log", ["all"], ["log"]),
        node("Add", ["means", "log"], ["embedding"]),
    ]
    return graphs.model(nodes, ["n", 3, 8, 8], "embedding")


@pytest.fixture(params=["fused", "pipelined"])
def embedder(request, tmp_path, monkeypatch):
    forms = {"fused": stream._line.Fused, "pipelined": stream._line.Pipelined}
    monkeypatch.setitem(stream.LINES, "cpu", forms[request.param])
    listed = {"means": (3,), "embedding": (3,)}
    return PretrainedEmbedder(save_images(tmp_path, logarithms(), layers_table=listed), batch_size=3)


@pytest.mark.parametrize("kept", ["memory", None])
def test_row_that_is_not_finite_is_an_error_that_names_its_sample(embedder, kept):
    with pytest.raises(SampleError, match=r"sample 2: its embedding holds NaN or infinity; .* precision='fp32'"):
        embedder.set_params(cache=kept).transform([*GRAY[:2], BLACK, *GRAY[2:]])


@pytest.mark.parametrize("kept", ["memory", "folder", None])
def test_row_that_is_not_finite_is_nan_and_never_cached(embedder, tmp_path, kept):
    embedder.set_params(cache=tmp_path / "rows" if kept == "folder" else kept, on_error="nan")
    for _ in range(2):
        with pytest.warns(BadSamplesWarning, match=r"2 rows .*sample 2: its embedding holds NaN or infinity"):
            rows = embedder.transform([*GRAY[:2], BLACK, *GRAY[2:], BLACK])
        assert np.isnan(rows[[2, 5]]).all()
        np.testing.assert_allclose(rows[[0, 1, 3, 4]], LOGS, rtol=1e-5)
    if kept is not None:
        opened = cache.open_cache(embedder.cache)
        keys = list(opened._index) if kept == "memory" else []
        assert all(np.isfinite(row).all() for row in opened.get(keys).values())


def test_claims_on_rows_that_are_not_finite_end(embedder):
    with pytest.warns(BadSamplesWarning, match="1 rows"):
        embedder.set_params(on_error="nan").transform([*GRAY, BLACK])
    assert cache.memory._claims == {}


def test_layer_that_is_finite_does_not_fail_for_another_that_is_not(embedder):
    embedder.set_params(layer="means", pool="mean")
    rows = embedder.fit_transform([*GRAY, BLACK])
    np.testing.assert_allclose(rows, [[10] * 3, [50] * 3, [90] * 3, [130] * 3, [0] * 3], rtol=1e-5)
    run = rows_run()
    embedder.fit_transform([*GRAY, BLACK])
    assert rows_run() == run + 1  # the wider row of the black one holds infinity, and was not kept
