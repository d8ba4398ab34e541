"""`output="torch"`: the same rows as tensors, which estimators of scikit-learn's array API take; here on the CPU."""

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skltransfer import PretrainedEmbedder, load_card, testing
from skltransfer._engine import plan, runtime, stream
from skltransfer.errors import BadSamplesWarning, MissingDependencyError, SampleError
from tests import graphs

torch = pytest.importorskip("torch", reason="needs the extra 'torch'")

PICTURES = testing.noise_images(50)
ROWS = testing.image_rows(PICTURES)


@pytest.fixture
def embedder(tmp_path):
    return PretrainedEmbedder(graphs.save_images(tmp_path), output="torch", cache=None)


@pytest.fixture(params=[stream._line.Fused, stream._line.Pipelined])
def form(request, monkeypatch):
    monkeypatch.setitem(stream.LINES, "cpu", request.param)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("batch_size", ["auto", 1, 7])
def test_rows_are_the_same_as_a_tensor(batch_size, embedder):
    rows = embedder.set_params(batch_size=batch_size).fit_transform(PICTURES)
    assert (type(rows), rows.dtype, rows.device.type) == (torch.Tensor, torch.float32, "cpu")
    np.testing.assert_allclose(rows.numpy(), ROWS, rtol=1e-5)


@pytest.mark.parametrize("cache", ["memory", "folder"])
def test_rows_that_are_kept_become_a_tensor_at_the_end(cache, embedder, tmp_path):
    embedder.set_params(cache=cache if cache == "memory" else tmp_path / "rows")
    embedder.transform(PICTURES[:20])
    np.testing.assert_allclose(embedder.transform(PICTURES).numpy(), ROWS, rtol=1e-5)


def test_rows_do_not_pass_through_arrays_without_a_cache(embedder, monkeypatch):
    monkeypatch.setattr(runtime.Torch, "move", lambda *_: pytest.fail("moved"))
    assert len(embedder.transform(PICTURES)) == 50


def test_rows_are_no_view_of_a_buffer_that_is_used_again(embedder):
    first = embedder.transform(PICTURES[:8])
    before = first.clone()
    embedder.transform(PICTURES[8:16])
    assert torch.equal(first, before)


@pytest.mark.parametrize("n", [0, 1, 3000])
def test_room_grows_with_samples_nobody_counted(n, embedder):
    rows = embedder.transform(PICTURES[i % 50] for i in range(n))
    assert rows.shape == (n, 4)
    np.testing.assert_allclose(rows.numpy(), ROWS[np.arange(n) % 50], rtol=1e-5)


@pytest.mark.parametrize("pool", ["mean", "max"])
@pytest.mark.parametrize("long_text", ["truncate", "windows"])
def test_texts_of_any_length_come_in_order(long_text, pool, tmp_path):
    model = testing.save_text_backbone(testing.text_backbone(), tmp_path, max_length=6)
    words = [" ".join(testing.WORDS[: 1 + i % 4]) for i in range(20)] + ["one " * 20] * (long_text == "windows")
    choices = {"layer": "states", "pool": pool, "long_text": long_text, "cache": None}
    rows = PretrainedEmbedder(model, output="torch", **choices).transform(words)
    np.testing.assert_allclose(rows.numpy(), PretrainedEmbedder(model, **choices).transform(words), rtol=1e-5)


def test_bad_sample_is_an_error_or_a_row_of_nan(embedder):
    with pytest.raises(SampleError, match="sample 1"):
        embedder.transform([PICTURES[0], None])
    with pytest.warns(BadSamplesWarning, match="1 rows? (is|are) NaN"):
        rows = embedder.set_params(on_error="nan").transform([PICTURES[0], None])
    assert torch.isnan(rows).any(dim=1).tolist() == [False, True]


def test_memory_that_is_short_is_halved_there_too(embedder, tmp_path, monkeypatch):
    made = plan.make(load_card(embedder.model), runtime.Device())
    session, sizes = stream.open_backbone(made), []
    real = session._run_piece

    def scarce(samples, *rest):
        sizes.append(len(samples))
        if sizes[-1] > 2:
            raise RuntimeError("Failed to allocate memory for requested buffer of size 1234")
        return real(samples, *rest)

    monkeypatch.setattr(session, "_run_piece", scarce)
    np.testing.assert_allclose(embedder.set_params(batch_size=8).transform(PICTURES).numpy(), ROWS, rtol=1e-5)
    assert max(sizes) == 8


# ---------------------------------------------------------------------------------------------------------------------
# Inside scikit-learn


@pytest.mark.parametrize(
    "head", [Ridge(solver="svd"), LogisticRegression(), PCA(2), StandardScaler()], ids=lambda head: type(head).__name__
)
def test_estimators_of_the_array_api_go_on_with_tensors(head, embedder, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    y = (ROWS[:, 0] > np.median(ROWS[:, 0])).astype(int)
    plain = make_pipeline(clone(embedder).set_params(output="numpy"), clone(head)).fit(PICTURES, y)
    with config_context(array_api_dispatch=True):
        pipeline = make_pipeline(embedder, head).fit(PICTURES, torch.from_numpy(y))
        assert isinstance(result(pipeline), torch.Tensor)
    np.testing.assert_allclose(result(pipeline).numpy(), result(plain), rtol=1e-2, atol=1e-3)


def result(pipeline):
    """Give what an estimator makes of rows: numbers, for a class may tip over where it is not sure."""
    last = pipeline[-1]
    rows = pipeline[0].transform(PICTURES)
    say = next(name for name in ("decision_function", "transform", "predict") if hasattr(last, name))
    with config_context(array_api_dispatch=not isinstance(rows, np.ndarray)):
        return getattr(last, say)(rows)


def test_torch_is_named_with_its_extra_where_it_is_missing(embedder, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'skltransfer\[torch\]'"):
        embedder.transform(PICTURES)


def test_other_output_is_refused(embedder):
    with pytest.raises(ValueError, match="The 'output' parameter of PretrainedEmbedder must be a str among"):
        embedder.set_params(output="jax").fit(PICTURES)
