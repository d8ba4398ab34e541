"""Cards are written with golden rows, which show drift; layers of real backbones."""

import dataclasses
import json

import numpy as np
import pytest

from skltransfer import load_card, testing
from skltransfer._engine import golden, hub
from skltransfer.cards import ImageSpec, ModelFile, card_path
from skltransfer.errors import (
    CardError,
    ProbeError,
    UnknownModelError,
)
from skltransfer.testing import SIDE
from tests import graphs


def test_written_card_pins_and_is_found_again(tmp_path, in_process):
    path = testing.save_backbone(testing.image_backbone(), tmp_path, pin=False)
    written = golden.write_card(load_card(path, preset="raw", license="MIT"))
    card = load_card(path)
    assert (written, card.pinned, card.license) == (card_path(path), True, "MIT")
    assert card.files == {"model": ModelFile("tiny.onnx", hub.sha256(path), path.stat().st_size)}


def test_golden_rows_are_those_of_the_probe_pictures(tmp_path, in_process):
    from skltransfer._engine.modalities.image import probe

    path = testing.save_backbone(graphs.channel_means(), tmp_path, pin=False)
    rows = json.loads(golden.write_card(load_card(path, preset="raw")).read_text())["golden"]
    want = probe(ImageSpec((SIDE, SIDE))).mean(axis=(1, 2))
    np.testing.assert_allclose(rows["rows"], want, rtol=1e-5)
    np.testing.assert_allclose(rows["norms"], np.linalg.norm(want, axis=1), rtol=1e-5)


def test_card_just_written_has_not_drifted(tmp_path, in_process):
    path = testing.save_backbone(testing.image_backbone(), tmp_path, pin=False)
    golden.write_card(load_card(path, preset="raw"))
    assert golden.drift(load_card(path)) < 1e-6


def test_drift_is_the_largest_difference_relative_to_the_largest_number(tmp_path, no_child):
    path = testing.save_backbone(testing.image_backbone(), tmp_path)
    card = load_card(path)
    rows = golden.golden(card)
    largest = float(np.abs(rows["rows"]).max())
    rows["rows"][0][0] += largest / 4
    moved = dataclasses.replace(card, golden=rows)
    assert golden.drift(moved) == pytest.approx(0.25 / max(1, np.abs(rows["rows"]).max() / largest), rel=1e-3)


def test_drift_without_golden_rows_is_refused(tmp_path, no_child):
    card = load_card(testing.save_backbone(testing.image_backbone(), tmp_path))
    with pytest.raises(CardError, match=r"card of 'tiny' has no golden rows; write it again with"):
        golden.drift(card)


def test_card_of_numbers_has_no_golden_rows(tmp_path, no_child):
    assert golden.golden(load_card(testing.save_backbone(testing.array_backbone(), tmp_path))) == {}


def test_card_of_a_graph_that_gives_no_numbers_is_not_written(tmp_path, in_process):
    nodes = [graphs.node("Sub", ["x", "x"], ["zero"]), graphs.node("Div", ["zero", "zero"], ["map"])]
    path = testing.save_backbone(graphs.model(nodes, ["n", 3, SIDE, SIDE], "map"), tmp_path, pin=False)
    card = load_card(path, preset="raw", resize="squash")
    with pytest.raises(ProbeError, match=r"of 9 numbers are not finite; is the model damaged"):
        golden.write_card(card)
    assert not card_path(path).exists()


def test_card_of_a_file_that_is_gone_is_not_written(tmp_path, no_child):
    path = testing.save_backbone(testing.image_backbone(), tmp_path)
    card = load_card(path)
    path.unlink()
    with pytest.raises(UnknownModelError, match=r"has no file 'tiny.onnx'"):
        golden.write_card(card)


REAL = {
    "mobilenet_v1_0.25_128": ("embedding", (256,)),
    "squeezenet1_1_224_fp16": ("fire9/concat_1", (512, 13, 13)),
    "tiny_darknet_224": ("embedding", (128,)),
}


@pytest.mark.parametrize("name", REAL)
def test_layer_of_a_real_backbone_is_found(shared, name):
    layer, shape = REAL[name]
    path = shared / "models" / f"{name}.onnx"
    card = testing.pinned_card(path, preset="raw", layer=layer)
    assert card.layers()[layer] == shape
