"""Names of models of the hub: the table is sound, and a name leads to a card that runs."""

import dataclasses

import numpy as np
import pytest
from onnx import TensorProto

from skltransfer import PretrainedEmbedder, list_models, load_card, testing
from skltransfer._engine import graph, hub, registry
from skltransfer._engine.modalities import image
from skltransfer.cards import POOLS, SPECS
from skltransfer.errors import ModelWarning, UnknownModelError
from tests import graphs
from tests.hub.hub_server import serving

ENTRIES = registry.table().items()


@pytest.mark.parametrize(("name", "entry"), ENTRIES)
def test_every_entry_says_what_a_graph_cannot(name, entry):
    assert hub.Address.parse(entry["address"])
    card = dict(entry["card"])
    preset = image.PRESETS[card.pop("preset")] if entry["modality"] == "image" else {}
    assert card.pop("license") in ("Apache-2.0", "MIT")
    assert len(card.pop("description")) > 20
    assert card.pop("pool", "auto") in POOLS
    assert bool(card.pop("layer", None)) != entry.get("classifier", False)
    assert card.pop("normalize", False) is False  # rows of the names keep the length they had before cards knew it
    fields = {key: tuple(v) if isinstance(v, list) else v for key, v in {**card, **preset}.items()}
    assert SPECS[entry["modality"]](**fields).mistakes() == []
    assert 64 <= entry["columns"] <= 4096


def test_names_are_listed_beside_the_embedded_ones():
    assert {"vision-mini", "text-mini", *registry.table()} == set(list_models())


def test_near_misses_of_names_are_named():
    with pytest.raises(UnknownModelError, match="Did you mean 'dinov2-small'"):
        load_card("dinov2-smal")


@pytest.fixture
def server(tmp_path, monkeypatch):
    pytest.importorskip("huggingface_hub", reason="needs the extra 'hub'")
    with serving({}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
        monkeypatch.setenv("SKLTRANSFER_MODELS", str(tmp_path / "store"))
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        yield server


def classifier():
    """Give a graph that ends in a classifier with weights in float16; its features are the means of four maps."""
    nodes = [
        graphs.node("Conv", ["x", "mix"], ["map"]),
        graphs.node("GlobalAveragePool", ["map"], ["pooled"]),
        graphs.node("Flatten", ["pooled"], ["features"]),
        graphs.node("Cast", ["half"], ["weight"], to=TensorProto.FLOAT),
        graphs.node("MatMul", ["features", "weight"], ["product"]),
        graphs.node("Add", ["bias", "product"], ["sum"]),
        graphs.node("Softmax", ["sum"], ["logits"]),
    ]
    mix, weight = testing.MIX.reshape(4, 3, 1, 1).astype(np.float32), np.eye(4, 7, dtype=np.float16)
    return graphs.model(nodes, ["n", 3, "h", "w"], "logits", mix=mix, half=weight, bias=np.ones(7, np.float32))


def test_what_goes_into_the_classifier_is_found():
    assert graph.read(classifier()).features == "features"


def test_graph_without_weights_has_no_features():
    assert graph.read(graphs.raw_pixels()).features is None


def test_name_leads_to_the_features_of_a_classifier(server):
    server.repo, server.files = "Xenova/resnet-50", {"onnx/model.onnx": classifier().SerializeToString()}
    with pytest.warns(ModelWarning, match="'main' of Xenova/resnet-50 is commit c0ffee"):
        card = load_card("resnet50")
    assert (card.name, card.layer, card.license, card.input.size) == ("resnet50", "features", "Apache-2.0", (224, 224))
    assert card.pinned
    pictures = [np.full((300, 260, 3), value, np.uint8) for value in (0, 255)]
    local = dataclasses.replace(card, name="local")
    rows = PretrainedEmbedder("resnet50").fit_transform(pictures)
    np.testing.assert_allclose(rows, PretrainedEmbedder(local).transform(pictures))
    means = (np.array([0, 255])[:, None] / 255 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    np.testing.assert_allclose(rows, means @ testing.MIX.reshape(4, 3).T, rtol=1e-4, atol=1e-4)


def test_fields_of_the_table_may_be_changed(server):
    server.repo, server.files = "Xenova/resnet-50", {"onnx/model.onnx": classifier().SerializeToString()}
    with pytest.warns(ModelWarning, match="resnet-50"):
        assert load_card("resnet50", size=(64, 64), resize_to=64, layer="map").input.size == (64, 64)
