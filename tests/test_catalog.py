"""From a name or a file to a plan: completion, presets, children for unpinned graphs, golden rows."""

import dataclasses
import json
import time

import numpy as np
import pytest

from skltransfer import list_models, load_card
from skltransfer._engine import catalog, graph, hub, inspection, runtime
from skltransfer.cards import ArraySpec, ImageSpec, ModelFile, card_path
from skltransfer.errors import (
    CardError,
    IntegrityError,
    LayerError,
    ProbeError,
    UnknownModelError,
    UnsafeModelError,
)
from tests import graphs
from tests.graphs import SIDE

CPU = runtime.Device()


@pytest.fixture
def no_child(monkeypatch):
    """Fail if a child process is started."""
    monkeypatch.setattr(inspection, "_facts_from_child", lambda *_: pytest.fail("a child was started"))


@pytest.fixture
def in_process(monkeypatch):
    """Read unpinned graphs here: a child takes seconds, and is not what the test is about."""
    monkeypatch.setattr(inspection, "_facts_from_child", inspection._facts)


# ---------------------------------------------------------------------------------------------------------------------
# Completion


def test_bare_image_graph_is_refused_with_the_command_that_writes_its_card(tmp_path, in_process):
    path = graphs.save(graphs.conv(), tmp_path, pin=False)
    with pytest.raises(CardError, match=r"skltransfer models card '.*tiny.onnx' --preset imagenet") as caught:
        load_card(path)
    assert "takes images (None, 3, 8, 8)" in str(caught.value)
    assert "(range, mean, std)" in str(caught.value)


def test_message_names_only_what_is_still_missing(tmp_path, in_process):
    path = graphs.save(graphs.conv(), tmp_path, pin=False)
    with pytest.raises(CardError, match=r"\(mean, std\)"):
        load_card(path, range=1.0)


@pytest.mark.parametrize("preset", sorted(catalog.PRESETS))
def test_preset_sets_range_mean_and_std(tmp_path, in_process, preset):
    card = load_card(graphs.save(graphs.conv(), tmp_path, pin=False), preset=preset)
    values = {key: getattr(card.input, key) for key in ("range", "mean", "std")}
    assert values == catalog.PRESETS[preset]


def test_what_is_given_beside_a_preset_wins(tmp_path, in_process):
    card = load_card(graphs.save(graphs.conv(), tmp_path, pin=False), preset="imagenet", std=[1, 1, 1], color="BGR")
    assert (card.input.std, card.input.color, card.input.range) == ((1, 1, 1), "BGR", 1.0)


@pytest.mark.parametrize(
    ("layout", "side", "size"), [("NCHW", 8, (8, 8)), ("NHWC", 8, (8, 8)), ("NCHW", "s", (224, 224))]
)
def test_size_and_layout_are_read_off_the_graph(tmp_path, in_process, layout, side, size):
    model = graphs.channel_means(side, layout)
    card = load_card(graphs.save(model, tmp_path, pin=False), preset="raw")
    assert (card.modality, card.input.layout, card.input.size, card.layer) == ("image", layout, size, "embedding")


@pytest.mark.parametrize(("size", "resize_to"), [(None, 9), ((8, 8), 9), ([224, 224], 256), ((112, 224), 256)])
def test_crop_is_seven_eighths_unless_said_otherwise(tmp_path, in_process, size, resize_to):
    model = graphs.conv("s") if size != (8, 8) else graphs.conv()
    size = {} if size == (8, 8) else {"size": size or (8, 8)}
    assert load_card(graphs.save(model, tmp_path, pin=False), preset="raw", **size).input.resize_to == resize_to


def test_bare_graph_of_numbers_needs_nothing(tmp_path, in_process):
    card = load_card(graphs.save(graphs.statistics(), tmp_path, pin=False))
    assert (card.modality, card.input, card.layer) == ("array", ArraySpec(), "rows")


def test_layers_of_a_completed_card_are_those_of_its_graph(tmp_path, no_child):
    card = graphs.card(graphs.save(graphs.conv(), tmp_path, pin=False))
    assert card.layers() == {"map": (4, 8, 8), "pooled": (4, 1, 1), "embedding": (4,), "logits": (4,)}


def test_card_gives_itself_back(tmp_path, no_child):
    card = load_card(graphs.save(graphs.conv(), tmp_path))
    assert load_card(card) is card


def test_changes_to_a_card_change_its_fields_and_its_input(tmp_path, no_child):
    path = graphs.save(graphs.conv(), tmp_path)
    card = load_card(path, layer="embedding", pool="max", license="MIT", color="BGR")
    assert (card.layer, card.pool, card.license, card.input.color) == ("embedding", "max", "MIT", "BGR")
    assert load_card(path).layer == "logits"


def test_whole_input_may_be_given(tmp_path, no_child):
    spec = ImageSpec((SIDE, SIDE), "squash", color="BGR")
    assert load_card(graphs.save(graphs.conv(), tmp_path), input=spec).input == spec


def test_modality_may_be_given(tmp_path, in_process):
    card = load_card(graphs.save(graphs.raw_pixels(), tmp_path, pin=False), modality="array")
    assert (card.modality, card.input) == ("array", ArraySpec())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"colors": "BGR"}, r"Neither a card nor 'image' input has 'colors'; an input has color"),
        ({"preset": "imagnet"}, r"has 'imagnet'.*presets are imagenet, inception, clip, raw"),
        ({"size": 224}, r"input of 'tiny' cannot be used: input.size is 224, not a list"),
        ({"std": (1, 0, 1)}, r"input.std is \(1, 0, 1\): zero cannot divide"),
        ({"mean": [1, 2]}, r"input.mean is \(1, 2\), not three finite numbers"),
        ({"resize": "shorter", "resize_to": 4}, r"input.resize_to is 4, smaller than the crop"),
        ({"pool": "avg"}, r"pool is 'avg', not one of auto, mean"),
        ({"layer": ["map", "logits"]}, r"layer is \['map', 'logits'\], not the name of one tensor"),
        ({"modality": "sound"}, r"modality is 'sound', not one of image, array"),
    ],
)
def test_wrong_change_is_refused_with_its_value(tmp_path, no_child, changes, message):
    path = graphs.save(graphs.conv(), tmp_path)
    with pytest.raises(CardError, match=message):
        load_card(path, **changes)


def test_wrong_layout_of_numbers_is_refused(tmp_path, no_child):
    path = graphs.save(graphs.doubled(), tmp_path)
    with pytest.raises(CardError, match=r"input.layout is 'CHW', not one of NCHW, NHWC"):
        load_card(path, layout="CHW")


def test_wrong_layer_is_refused_with_the_nearest(tmp_path, no_child):
    path = graphs.save(graphs.conv(), tmp_path)
    with pytest.raises(LayerError, match=r"no layer 'embeding'. Did you mean 'embedding'"):
        load_card(path, layer="embeding")


def test_image_card_of_a_graph_of_numbers_is_refused(tmp_path, in_process):
    path = graphs.save(graphs.doubled(), tmp_path, pin=False)
    with pytest.raises(CardError, match=r"has the shape \(None, 4\); images need four axes"):
        load_card(path, modality="image", preset="raw")


def test_card_file_that_changed_is_read_anew(tmp_path, no_child):
    path = graphs.save(graphs.conv(), tmp_path)
    assert load_card(path).pool == "auto"
    graphs.save(graphs.conv(), tmp_path, pool="max")
    assert load_card(path).pool == "max"


def test_embedded_backbones_are_listed_sorted():
    assert list_models() == sorted(list_models())


# ---------------------------------------------------------------------------------------------------------------------
# Plans


def plan(path, **choices):
    made, width = catalog.plan(load_card(path), CPU, **choices)
    return made.recipe, width


@pytest.mark.parametrize(
    ("choices", "layers", "pool", "width"),
    [
        ({}, ("logits",), "", 4),
        ({"pool": "max"}, ("logits",), "", 4),
        ({"layer": "map"}, ("map",), "mean", 4),
        ({"layer": "map", "pool": "gem"}, ("map",), "gem", 4),
        ({"layer": "map", "pool": "flatten"}, ("map",), "flatten", 256),
        ({"layer": ["map", "embedding"]}, ("map", "embedding"), "mean", 8),
    ],
)
def test_plan_settles_layers_pooling_and_width(tmp_path, no_child, choices, layers, pool, width):
    recipe, columns = plan(graphs.save(graphs.conv(), tmp_path), **choices)
    assert (recipe.layers, recipe.pool, columns) == (layers, pool, width)


def test_card_says_how_it_is_pooled_unless_the_user_does(tmp_path, no_child):
    path = graphs.save(graphs.conv(), tmp_path, pool="max", layer="map")
    assert (plan(path)[0].pool, plan(path, pool="gem")[0].pool) == ("max", "gem")


def test_pooling_that_would_change_nothing_does_not_change_the_key(tmp_path, no_child):
    path = graphs.save(graphs.conv(), tmp_path)
    assert plan(path, pool="max")[0].key == plan(path, pool="mean")[0].key


def test_width_is_open_where_the_graph_leaves_it_open(tmp_path, no_child):
    path = graphs.save(graphs.doubled("features"), tmp_path)
    assert plan(path)[1] is None


def test_layer_the_card_does_not_list_is_read_off_the_graph(tmp_path, no_child):
    path = graphs.save(graphs.conv(), tmp_path, layers_table={"logits": (4,)})
    assert plan(path, layer="map")[1] == 4


@pytest.mark.parametrize(
    ("layer", "message"), [([], r"layer is an empty list"), ("mapp", r"no layer 'mapp'. Did you mean 'map'")]
)
def test_plan_of_a_wrong_layer_is_refused(tmp_path, no_child, layer, message):
    path = graphs.save(graphs.conv(), tmp_path)
    with pytest.raises(LayerError, match=message):
        plan(path, layer=layer)


def test_plan_of_a_damaged_model_is_refused(tmp_path, no_child):
    path = graphs.save(graphs.conv(), tmp_path)
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(IntegrityError, match=r"tiny.onnx' has the SHA-256"):
        plan(path)


# ---------------------------------------------------------------------------------------------------------------------
# Children


def test_unpinned_graph_is_opened_by_a_child_once_and_says_the_same(tmp_path, monkeypatch):
    path = graphs.save(graphs.conv(), tmp_path, pin=False)
    card = load_card(path, preset="raw", resize="squash")
    monkeypatch.setattr(inspection.subprocess, "run", lambda *_, **__: pytest.fail("a second child"))
    assert load_card(path, preset="raw", resize="squash") == card
    assert card == dataclasses.replace(graphs.card(path), files=card.files)
    assert not card.pinned


def test_child_reads_the_weights_the_card_lists_and_ignores_the_warnings_of_the_parent(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    (tmp_path / "w.bin").write_bytes(graphs.CANARY.tobytes())
    path = graphs.save(graphs.external(graphs.outside("w.bin")), tmp_path, pin=False)
    assert inspection._facts_from_child(path, ["w.bin"]).layers == {"rows": (2,)}


def test_what_a_child_refuses_is_refused_with_its_words(tmp_path):
    path = graphs.save(graphs.custom_domain(), tmp_path, pin=False)
    with pytest.raises(
        UnsafeModelError, match=r"'tiny.onnx': Operator 'Mystery' comes from the custom domain 'com.evil'"
    ):
        load_card(path)


@pytest.fixture
def as_child(monkeypatch):
    """Do here what a child does, without its limits, which would outlast the test."""
    monkeypatch.setattr(inspection, "_limit_memory", lambda limit: None)
    return lambda path: inspection._child(2**34, path, [])


def test_child_answers_with_the_facts(tmp_path, as_child):
    answer = as_child(graphs.save(graphs.statistics(), tmp_path, pin=False))
    assert graph.GraphInfo.from_json(json.loads(json.dumps(answer))) == graph.read(graphs.statistics())


def test_child_puts_up_with_a_graph_that_fails_on_zeros(tmp_path, as_child):
    nodes = [graphs.node("Reshape", ["x", "seven"], ["y"]), graphs.node("ReduceSum", ["y"], ["rows"])]
    model = graphs.model(nodes, ["n", "features"], "rows", seven=np.array([7, -1]))
    assert as_child(graphs.save(model, tmp_path, pin=False))["input"] == "x"


def _from_the_future(model):
    model.opset_import[0].version = 99
    return model


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (b"<!doctype html>", "ModelError", "'tiny.onnx' is not an ONNX graph"),
        (_from_the_future(graphs.doubled()).SerializeToString(), "ModelError", "'tiny.onnx': ONNX Runtime cannot open"),
        (graphs.recursive().SerializeToString(), "UnsafeModelError", "'tiny.onnx': Function 'f' of the graph calls"),
    ],
    ids=["no graph", "newer", "recursive"],
)
def test_child_answers_with_the_error(tmp_path, as_child, content, error, message):
    (tmp_path / "tiny.onnx").write_bytes(content)
    answer = as_child(tmp_path / "tiny.onnx")
    assert (answer["error"], answer["message"][: len(message)]) == (error, message)


def test_graph_that_does_not_end_is_refused_in_time(tmp_path, monkeypatch):
    path, start = graphs.save(graphs.endless(), tmp_path, pin=False), time.monotonic()
    monkeypatch.setattr(inspection, "CHILD_SECONDS", 3)
    with pytest.raises(UnsafeModelError, match=r"'tiny.onnx' was not open after 3 s in a child process; refused"):
        load_card(path)
    assert time.monotonic() - start < 5


def test_graph_that_fills_the_memory_is_refused(tmp_path, monkeypatch):
    path = graphs.save(graphs.hungry(), tmp_path, pin=False)
    monkeypatch.setattr(inspection, "CHILD_BYTES", 8 * 2**30)
    with pytest.raises(UnsafeModelError, match=r"'tiny.onnx' takes more memory than the 8,589,934,592 bytes"):
        load_card(path)


@pytest.mark.parametrize(
    ("does", "status", "words"),
    [
        ("echo dying >&2; kill -SEGV $$", -11, "dying"),
        ("kill -KILL $$", -9, ""),
        ("echo '{\"input\": '; exit 1", 1, ""),
        ("echo 7", 0, ""),
    ],
)
def test_child_that_dies_without_an_answer_is_a_refusal(tmp_path, monkeypatch, does, status, words):
    (tmp_path / "python").write_text(f"#!/bin/sh\n{does}\n")
    (tmp_path / "python").chmod(0o700)
    monkeypatch.setattr(inspection.sys, "executable", str(tmp_path / "python"))
    path = graphs.save(graphs.doubled(), tmp_path, pin=False)
    with pytest.raises(UnsafeModelError, match=rf"exit status {status}\); refused. Its last words: '{words}"):
        load_card(path)


# ---------------------------------------------------------------------------------------------------------------------
# Writing cards, golden rows


def test_written_card_pins_and_is_found_again(tmp_path, in_process):
    path = graphs.save(graphs.conv(), tmp_path, pin=False)
    written = catalog.write_card(load_card(path, preset="raw", license="MIT"))
    card = load_card(path)
    assert (written, card.pinned, card.license) == (card_path(path), True, "MIT")
    assert card.files == {"model": ModelFile("tiny.onnx", hub.sha256(path), path.stat().st_size)}


def test_golden_rows_are_those_of_the_probe_pictures(tmp_path, in_process):
    from skltransfer._engine.modalities.image import probe

    path = graphs.save(graphs.channel_means(), tmp_path, pin=False)
    golden = json.loads(catalog.write_card(load_card(path, preset="raw")).read_text())["golden"]
    want = probe(ImageSpec((SIDE, SIDE))).mean(axis=(1, 2))
    np.testing.assert_allclose(golden["rows"], want, rtol=1e-5)
    np.testing.assert_allclose(golden["norms"], np.linalg.norm(want, axis=1), rtol=1e-5)


def test_card_just_written_has_not_drifted(tmp_path, in_process):
    path = graphs.save(graphs.conv(), tmp_path, pin=False)
    catalog.write_card(load_card(path, preset="raw"))
    assert catalog.drift(load_card(path)) < 1e-6


def test_drift_is_the_largest_difference_relative_to_the_largest_number(tmp_path, no_child):
    path = graphs.save(graphs.conv(), tmp_path)
    card = load_card(path)
    golden = catalog.golden(card)
    largest = float(np.abs(golden["rows"]).max())
    golden["rows"][0][0] += largest / 4
    moved = dataclasses.replace(card, golden=golden)
    assert catalog.drift(moved) == pytest.approx(0.25 / max(1, np.abs(golden["rows"]).max() / largest), rel=1e-3)


def test_drift_without_golden_rows_is_refused(tmp_path, no_child):
    card = load_card(graphs.save(graphs.conv(), tmp_path))
    with pytest.raises(CardError, match=r"card of 'tiny' has no golden rows; write it again with"):
        catalog.drift(card)


def test_card_of_numbers_has_no_golden_rows(tmp_path, no_child):
    assert catalog.golden(load_card(graphs.save(graphs.doubled(), tmp_path))) == {}


def test_card_of_a_graph_that_gives_no_numbers_is_not_written(tmp_path, in_process):
    nodes = [graphs.node("Sub", ["x", "x"], ["zero"]), graphs.node("Div", ["zero", "zero"], ["map"])]
    path = graphs.save(graphs.model(nodes, ["n", 3, SIDE, SIDE], "map"), tmp_path, pin=False)
    card = load_card(path, preset="raw", resize="squash")
    with pytest.raises(ProbeError, match=r"of 9 numbers are not finite; is the model damaged"):
        catalog.write_card(card)
    assert not card_path(path).exists()


def test_card_of_a_file_that_is_gone_is_not_written(tmp_path, no_child):
    path = graphs.save(graphs.conv(), tmp_path)
    card = load_card(path)
    path.unlink()
    with pytest.raises(UnknownModelError, match=r"has no file 'tiny.onnx'"):
        catalog.write_card(card)


# ---------------------------------------------------------------------------------------------------------------------
# Real backbones

REAL = {
    "mobilenet_v1_0.25_128": ("embedding", (256,)),
    "squeezenet1_1_224_fp16": ("fire9/concat_1", (512, 13, 13)),
    "tiny_darknet_224": ("embedding", (128,)),
}


@pytest.mark.parametrize("name", REAL)
def test_layer_of_a_real_backbone_is_found(shared, name):
    layer, shape = REAL[name]
    path = shared / "models" / f"{name}.onnx"
    card = graphs.card(path, preset="raw", layer=layer)
    assert card.layers()[layer] == shape
