"""``pool="none"``: feature maps and sequences as rows, through cache, duplicates, failures and both lines."""

import warnings

import numpy as np
import pytest
from sklearn import config_context

from skltransfer import PretrainedEmbedder, load_card, testing
from skltransfer._engine import stream
from skltransfer.errors import BadSamplesWarning, LayerError
from skltransfer.testing import MIX
from skltransfer.testing._texts import token_states
from tests import graphs
from tests.graphs import save_images

PICTURES = testing.noise_images(9)
MAPS = np.einsum("mc,nhwc->nmhw", MIX, np.stack(PICTURES).astype(np.float64))
TEXTS = ["one", "two three four", "", "five six", "two three four"]


@pytest.fixture(params=["fused", "pipelined"])
def form(request, monkeypatch):
    forms = {"fused": stream._line.Fused, "pipelined": stream._line.Pipelined}
    monkeypatch.setitem(stream.LINES, "cpu", forms[request.param])


@pytest.fixture
def embedder(tmp_path):
    return PretrainedEmbedder(save_images(tmp_path), layer="map", pool="none", batch_size=2)


@pytest.fixture
def texts(tmp_path):
    model = testing.save_text_backbone(testing.text_backbone(), tmp_path, layer="states")
    return PretrainedEmbedder(model, pool="none", max_length=6)


@pytest.mark.parametrize("kept", ["memory", "folder", None])
def test_maps_are_those_of_the_graph(form, embedder, tmp_path, kept):
    embedder.set_params(cache=tmp_path / "rows" if kept == "folder" else kept)
    samples = [*PICTURES, *PICTURES[:3]]
    for _ in range(2):
        rows = embedder.fit_transform(samples)
        np.testing.assert_allclose(rows, [*MAPS, *MAPS[:3]], rtol=1e-5)
        assert (rows.dtype, rows.flags.c_contiguous, rows.flags.writeable) == (np.float32, True, True)


def test_mean_of_the_maps_is_the_pooled_row(embedder):
    pooled = PretrainedEmbedder(embedder.model, layer="map", pool="mean").fit_transform(PICTURES)
    np.testing.assert_allclose(embedder.fit_transform(PICTURES).mean(axis=(2, 3)), pooled, rtol=1e-5)


def test_maps_of_a_graph_with_channels_last_come_with_channels_first(tmp_path):
    model = save_images(tmp_path, graphs.channel_means(layout="NHWC"), layout="NHWC", layer="map")
    rows = PretrainedEmbedder(model, pool="none").fit_transform(PICTURES)
    np.testing.assert_allclose(rows, np.stack(PICTURES).transpose(0, 3, 1, 2), rtol=1e-6)


def test_layers_of_one_size_stand_side_by_side(embedder):
    rows = embedder.set_params(layer=["map", "map"]).fit_transform(PICTURES)
    np.testing.assert_allclose(rows, np.concatenate([MAPS, MAPS], axis=1), rtol=1e-5)
    assert embedder.embedding_dim_ == 8


def test_layers_of_other_sizes_are_refused(embedder):
    with pytest.raises(LayerError, match="of the same height and width side by side, not map"):
        embedder.set_params(layer=["map", "pooled"]).fit(PICTURES)


def test_vector_of_every_place_is_scaled(embedder):
    rows = embedder.set_params(normalize=True).fit_transform(PICTURES)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)


def test_failed_sample_is_a_map_of_nan(form, embedder):
    embedder.set_params(on_error="nan")
    with pytest.warns(BadSamplesWarning, match="1 rows"):
        rows = embedder.fit_transform([PICTURES[0], b"bad", PICTURES[1]])
    assert np.isnan(rows[1]).all()
    np.testing.assert_allclose(rows[[0, 2]], MAPS[:2], rtol=1e-5)


def test_nothing_but_failures_still_has_the_shape_of_maps(embedder):
    with pytest.warns(BadSamplesWarning, match="2 rows"):
        rows = embedder.set_params(on_error="nan").transform([b"bad", b"worse"])
    assert rows.shape == (2, 4, 8, 8)
    assert np.isnan(rows).all()


def test_no_sample_gives_no_map(embedder):
    assert embedder.transform([]).shape == (0, 4, 8, 8)


@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize("method", ["transform", "fit_transform"])
def test_frames_are_refused_before_anything_is_run(embedder, library, method, monkeypatch):
    monkeypatch.setattr(stream, "embed", lambda *_, **__: pytest.fail("run"))
    message = rf"pool='none' returns arrays of shape \('n', 4, 8, 8\), which no {library} frame can hold"
    with config_context(transform_output=library), pytest.raises(ValueError, match=message):
        getattr(embedder, method)(PICTURES)


@pytest.mark.parametrize("kept", ["memory", "folder", None])
def test_sequences_are_padded_to_max_length(form, texts, tmp_path, kept):
    texts.set_params(cache=tmp_path / "rows" if kept == "folder" else kept)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            rows, mask = texts.fit_transform(TEXTS), texts.token_mask(TEXTS)
            assert rows.shape[:2] == mask.shape == (5, 6)
            assert (rows[~mask] == 0).all()
            for row, real, text in zip(rows, mask, TEXTS, strict=True):
                np.testing.assert_allclose(row[real], token_states(text), rtol=1e-5)


def test_mean_of_the_tokens_is_the_pooled_row(texts):
    rows, mask = texts.fit_transform(TEXTS), texts.token_mask(TEXTS)[..., np.newaxis]
    pooled = PretrainedEmbedder(texts.model, pool="mean", max_length=6).fit_transform(TEXTS)
    np.testing.assert_allclose((rows * mask).sum(axis=1) / mask.sum(axis=1), pooled, rtol=1e-5)


def test_mask_is_for_texts(embedder):
    with pytest.raises(LayerError, match="'tiny' takes image samples, which have no tokens"):
        embedder.token_mask(PICTURES)


# ---------------------------------------------------------------------------------------------------------------------
# Another input size


def test_size_of_a_convolutional_graph_may_be_changed():
    card = load_card("vision-mini", size=(320, 320))
    assert (card.layers()["block_5"], card.input.resize_to, card.golden) == ((512, 10, 10), 320, {})
    rows = PretrainedEmbedder(card, layer="block_5", pool="none").fit_transform([np.zeros((500, 400, 3), np.uint8)])
    assert rows.shape == (1, 512, 10, 10)


def test_size_that_is_the_graph_s_own_changes_nothing():
    assert load_card("vision-mini", size=(96, 96)) == load_card("vision-mini")


def test_maps_of_another_size_are_those_of_the_same_convolutions(tmp_path):
    card = load_card(save_images(tmp_path, layers_table={"map": (4, 8, 8)}), size=(5, 12))
    picture = np.random.default_rng(0).integers(0, 256, (5, 12, 3), np.uint8)
    rows = PretrainedEmbedder(card, layer="map", pool="none").fit_transform([picture])
    np.testing.assert_allclose(rows[0], np.einsum("mc,hwc->mhw", MIX, picture.astype(float)), rtol=1e-5)


@pytest.mark.parametrize(
    ("graph", "reason"),
    [
        (graphs.raw_pixels(), r"Flatten 'embedding' depends on the number of places"),
        (graphs.with_table(), r"Add 'placed' reads a table of fixed size, 'table' \(1, 3, 8, 8\)"),
    ],
    ids=["flattened", "a table of positions"],
)
def test_size_of_a_graph_that_is_not_convolutional_is_refused_with_the_reason(tmp_path, graph, reason):
    from skltransfer.errors import CardError

    with pytest.raises(CardError, match=rf"input.size is \(16, 16\), and the size cannot be changed: {reason}"):
        load_card(save_images(tmp_path, graph), size=(16, 16))
