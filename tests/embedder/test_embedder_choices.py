"""The choices that change rows - layer, pool, normalize - and the cache, which must never mix them up."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from sklearn.base import clone

from skltransfer import PretrainedEmbedder, load_card
from skltransfer._engine import cache, runtime
from skltransfer.errors import CacheWarning, DeviceError, IntegrityError, LayerError, UnknownModelError
from skltransfer.testing import MIX, image_rows, noise_images
from tests.graphs import means, save_images

PICTURES = noise_images(6)
ROWS = image_rows(PICTURES)
#: The layer ``map`` of every picture: (n, 4, height, width).
MAPS = np.einsum("nhwc,mc->nmhw", np.stack(PICTURES).astype(np.float64), MIX)


@pytest.fixture
def embedder(tmp_path):
    return PretrainedEmbedder(save_images(tmp_path))


def rows_run() -> int:
    """Count the rows that went through any open graph."""
    return sum(session.rows_run for session in runtime.open_sessions().values())


# ---------------------------------------------------------------------------------------------------------------------
# Layers


LAYERS = {
    "embedding": ROWS,
    "logits": 2 * ROWS,
    "map": ROWS,
    ("embedding",): ROWS,
    ("logits", "embedding"): np.hstack([2 * ROWS, ROWS]),
    ("map", "logits", "map"): np.hstack([ROWS, 2 * ROWS, ROWS]),
}


@pytest.mark.parametrize("layer", LAYERS)
def test_layers_are_columns_side_by_side(embedder, layer):
    embedder.set_params(layer=layer if isinstance(layer, str) else list(layer))
    rows = embedder.fit_transform(PICTURES)
    np.testing.assert_allclose(rows, LAYERS[layer], rtol=1e-5)
    assert embedder.embedding_dim_ == rows.shape[1] == len(embedder.get_feature_names_out())


def test_several_layers_cost_one_run(embedder):
    embedder.set_params(layer=["map", "embedding", "logits"]).transform(PICTURES)
    assert rows_run() == 6


@pytest.mark.parametrize("method", ["fit", "transform", "fit_transform"])
@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("embeding", r"no layer 'embeding'\. Did you mean 'embedding'\?.*load_card\(NAME\)\.layers\(\)"),
        (["map", "logit"], r"no layer 'logit'\. Did you mean 'logits'"),
        ([], "layer is an empty list; name at least one tensor, or pass None for the card's embedding"),
        ([3], "no layer '3'"),
    ],
)
def test_wrong_layer_is_told_the_near_ones(embedder, method, layer, message):
    with pytest.raises(LayerError, match=message):
        getattr(embedder.set_params(layer=layer), method)(PICTURES)


@pytest.mark.parametrize("X", [PICTURES, np.ones((3, 4)), "cat.jpg"])
@pytest.mark.parametrize("method", ["fit", "transform"])
def test_unknown_model_is_an_error_before_anything_in_x_is(method, X):
    with pytest.raises(UnknownModelError, match=r"no model 'vision-mimi': no name of `list_models`, and no .onnx file"):
        getattr(PretrainedEmbedder("vision-mimi"), method)(X)


def test_model_that_changed_on_disk_is_refused(embedder, tmp_path):
    embedder.fit(PICTURES)
    save = tmp_path / "tiny.onnx"
    save.write_bytes(save.read_bytes() + b"\0")
    with pytest.raises(IntegrityError, match="its card pins"):
        embedder.transform(PICTURES)


def test_model_may_be_a_card(embedder):
    card = load_card(embedder.model, layer="logits")
    np.testing.assert_allclose(PretrainedEmbedder(card).fit_transform(PICTURES), 2 * ROWS, rtol=1e-5)


def test_unknown_device_is_refused(embedder):
    with pytest.raises(ValueError, match="device='gpu' is not one of 'auto', 'cpu', 'cuda'"):
        embedder.set_params(device="gpu").fit(PICTURES)


@pytest.mark.parametrize("method", ["fit", "transform"])
def test_absent_device_is_refused_with_the_reason(embedder, method, monkeypatch):
    monkeypatch.setattr("skltransfer._engine.runtime._resolve.why_not", lambda device: "it is on fire.")
    with pytest.raises(DeviceError, match="device='cuda:1' cannot run here: it is on fire"):
        getattr(embedder.set_params(device="cuda:1"), method)(PICTURES)


# ---------------------------------------------------------------------------------------------------------------------
# Pooling


POOLED = {
    "auto": ROWS,
    "mean": ROWS,
    "max": MAPS.max(axis=(2, 3)),
    "gem": np.cbrt((np.maximum(MAPS, 1e-6) ** 3).mean(axis=(2, 3))),
    "flatten": MAPS.reshape(6, -1),
}


@pytest.mark.parametrize("pool", POOLED)
def test_pooling_of_a_map_is(embedder, pool):
    embedder.set_params(layer="map", pool=pool)
    rows = embedder.fit_transform(PICTURES)
    np.testing.assert_allclose(rows, POOLED[pool], rtol=1e-5)
    assert embedder.embedding_dim_ == rows.shape[1]


@pytest.mark.parametrize("pool", [*POOLED, "cls"])
def test_pooling_leaves_rows_as_they_are(embedder, pool):
    np.testing.assert_allclose(embedder.set_params(pool=pool).transform(PICTURES), ROWS, rtol=1e-5)


def test_first_token_of_a_map_is_refused(embedder):
    with pytest.raises(LayerError, match=r"pool='cls' takes the first token.*\('n', 4, 8, 8\)"):
        embedder.set_params(layer="map", pool="cls").transform(PICTURES)


@pytest.mark.parametrize("layer", ["embedding", ["map", "logits"]])
def test_normalized_rows_have_unit_length(embedder, layer):
    plain = embedder.set_params(layer=layer).transform(PICTURES)
    rows = embedder.set_params(normalize=True).transform(PICTURES)
    np.testing.assert_allclose(rows, plain / np.linalg.norm(plain, axis=1, keepdims=True), rtol=1e-5)


def test_normalized_row_of_a_black_picture_is_zero(embedder):
    rows = embedder.set_params(normalize=True).transform(np.zeros((1, 8, 8, 3), np.uint8))
    np.testing.assert_array_equal(rows, 0)


@pytest.mark.parametrize("batch_size", [1, 2, 5, 6, 100, "auto"])
@pytest.mark.parametrize("n_jobs", [1, 3, -1, None])
def test_speed_is_all_that_batch_size_and_threads_change(embedder, batch_size, n_jobs):
    embedder.set_params(batch_size=batch_size, n_jobs=n_jobs, cache=None)
    np.testing.assert_allclose(embedder.transform(PICTURES), ROWS, rtol=1e-5)


# ---------------------------------------------------------------------------------------------------------------------
# Cache


@pytest.mark.parametrize("kept", ["memory", "folder"])
def test_known_samples_are_not_run_again(embedder, kept, tmp_path):
    embedder.set_params(cache=tmp_path / "rows" if kept == "folder" else kept)
    first = embedder.transform(PICTURES)
    np.testing.assert_array_equal(clone(embedder).transform(PICTURES[::-1]), first[::-1])
    assert rows_run() == 6


def test_without_cache_every_sample_is_run_every_time(embedder):
    embedder.set_params(cache=None).transform([*PICTURES, *PICTURES])
    embedder.transform(PICTURES)
    assert rows_run() == 18


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_copies_of_a_sample_are_run_once(embedder, batch_size):
    rows = embedder.set_params(batch_size=batch_size).transform(PICTURES * 20)
    np.testing.assert_allclose(rows, np.tile(ROWS, (20, 1)), rtol=1e-5)
    assert rows_run() == 6


def test_known_samples_are_not_decoded(embedder, monkeypatch):
    embedder.transform(PICTURES)

    monkeypatch.setattr(
        "skltransfer._engine.modalities.image.prepare", lambda *args: pytest.fail("decoded a sample whose row is known")
    )
    np.testing.assert_allclose(embedder.transform(PICTURES), ROWS, rtol=1e-5)


def test_without_cache_nothing_is_fingerprinted(embedder, monkeypatch):
    monkeypatch.setattr(
        "skltransfer._engine.modalities.image.Source.digest", lambda source: pytest.fail("fingerprinted")
    )
    np.testing.assert_allclose(embedder.set_params(cache=None).transform(PICTURES), ROWS, rtol=1e-5)


def test_other_content_under_the_same_path_gives_another_row(embedder, tmp_path):
    path = tmp_path / "photo.png"
    for picture, row in zip(PICTURES[:2], ROWS[:2], strict=True):
        Image.fromarray(picture).save(path)
        np.testing.assert_allclose(embedder.transform([path]), [row], rtol=1e-5)


@pytest.mark.parametrize(
    "change", [{"layer": "logits"}, {"normalize": True}, {"layer": "map", "pool": "max"}, {"layer": ["map", "map"]}]
)
def test_other_choices_never_get_the_rows_of_these(embedder, change):
    before = embedder.transform(PICTURES)
    after = clone(embedder).set_params(**change)
    np.testing.assert_array_equal(after.transform(PICTURES), clone(after).set_params(cache=None).transform(PICTURES))
    assert not np.array_equal(before, after.transform(PICTURES))


def test_other_model_under_the_same_path_never_gets_the_rows_of_this(embedder, tmp_path):
    embedder.transform(PICTURES)
    save_images(tmp_path, preset="inception")
    np.testing.assert_allclose(embedder.transform(PICTURES)[:, :3], means(PICTURES) / 127.5 - 1, rtol=1e-3, atol=1e-5)


def test_rows_given_out_are_the_callers_own(embedder):
    embedder.transform(PICTURES)[:] = 7
    np.testing.assert_allclose(embedder.transform(PICTURES), ROWS, rtol=1e-5)


def test_folder_is_shared_by_processes(embedder, tmp_path):
    rows = embedder.set_params(cache=tmp_path / "rows").transform(PICTURES)
    code = (
        "import sys, numpy\n"
        "from skltransfer import PretrainedEmbedder\n"
        "from skltransfer._engine import runtime\n"
        "samples = numpy.load(sys.argv[3])\n"
        "numpy.save(sys.argv[4], PretrainedEmbedder(sys.argv[1], cache=sys.argv[2]).transform(samples))\n"
        "assert not runtime.open_sessions(), 'a known sample was run'"
    )
    np.save(tmp_path / "samples.npy", np.stack(PICTURES))
    names = [embedder.model, tmp_path / "rows", tmp_path / "samples.npy", tmp_path / "back.npy"]
    subprocess.run([sys.executable, "-c", code, *map(str, names)], check=True, timeout=60)
    np.testing.assert_array_equal(np.load(tmp_path / "back.npy"), rows)


def test_cache_that_cannot_be_written_is_one_warning_and_no_more(embedder, tmp_path):
    (tmp_path / "file").write_text("in the way")
    embedder.set_params(cache=tmp_path / "file", batch_size=1)
    with pytest.warns(CacheWarning, match="cannot be used .*; rows are computed and not kept") as caught:
        rows = embedder.transform(PICTURES * 20)
    assert len(caught) == 1
    np.testing.assert_allclose(rows, np.tile(ROWS, (20, 1)), rtol=1e-5)


def test_memory_is_bounded(embedder, monkeypatch):
    monkeypatch.setattr(cache.memory, "limit", 3 * (4 * 4 + cache.OVERHEAD))
    monkeypatch.setattr(cache.memory, "spill_limit", 0)
    with pytest.warns(CacheWarning, match="new rows were not kept"):
        rows = embedder.transform(PICTURES * 2)
    np.testing.assert_allclose(rows, np.tile(ROWS, (2, 1)), rtol=1e-5)
    assert len(cache.memory) == 3
