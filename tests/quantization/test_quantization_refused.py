"""Variants that are not near enough, or cannot be made, are refused; the samples they are compared on."""

import logging
import os
from pathlib import Path

import numpy as np
import pytest
from onnx import numpy_helper

from skltransfer import PretrainedEmbedder, load_card, testing
from skltransfer._engine import runtime
from skltransfer._engine.quantization import MIN_COSINE, _quantize, find_quantized, quantize, quantized_card
from skltransfer.cards import ArraySpec
from skltransfer.errors import (
    ConversionError,
    DeviceError,
    LayerError,
    SampleError,
    UnknownModelError,
)
from tests import graphs
from tests.quantization.support import PICTURES, PRECISIONS, cosine


def test_samples_that_are_given_calibrate_and_compare(images):
    assert quantize(images, "int8", PICTURES).measured["on"] == "6 samples that were given"


def test_numbers_need_samples(tmp_path):
    model = str(testing.save_backbone(graphs.products(), tmp_path))
    assert isinstance(load_card(model).input, ArraySpec)
    with pytest.raises(
        ConversionError, match=r"takes array samples, for which there are no synthetic ones; pass yours"
    ):
        PretrainedEmbedder(model, precision="int8").fit(np.zeros((2, 40), np.float32))
    X = np.random.default_rng(0).normal(size=(20, 40)).astype(np.float32)
    quantize(model, "int8", X)
    rows = PretrainedEmbedder(model, precision="int8").fit_transform(X)
    assert cosine(rows, PretrainedEmbedder(model).transform(X)) > 0.99


def test_too_few_samples_are_refused(images):
    with pytest.raises(ConversionError, match="3 samples are too few"):
        quantize(images, "int8", PICTURES[:3])


def test_sample_that_cannot_be_read_is_named(images, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    with pytest.raises(SampleError, match=r"sample 5 .*broken\.jpg"):
        quantize(images, "fp16", [*PICTURES[:5], str(tmp_path / "broken.jpg")])


@pytest.mark.parametrize("precision", PRECISIONS)
def test_variant_that_is_not_near_enough_is_refused_and_leaves_nothing(precision, images, monkeypatch):
    monkeypatch.setitem(MIN_COSINE, precision, 1.1)
    with pytest.raises(ConversionError, match=r"No conversion of 'deep' is close enough: .*, and must be 1\.1"):
        PretrainedEmbedder(images, precision=precision).fit(PICTURES)
    assert not list(Path(images).parent.rglob("*int8*")) + list(Path(images).parent.rglob("*fp16*"))


def test_next_candidate_is_tried_where_the_first_is_not_near(images, monkeypatch):
    convert = _quantize.CONVERTERS["fp16"]

    def damaged_first(model, inputs):
        broken = type(model).FromString(model.SerializeToString())
        weight = next(t for t in broken.graph.initializer if t.name == "kernel_8")
        weight.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(weight), weight.name))
        yield broken
        yield from convert(model, inputs)

    monkeypatch.setitem(_quantize.CONVERTERS, "fp16", damaged_first)
    assert quantize(images, "fp16").measured["cosine"] > 0.9999


def test_int8_is_for_the_cpu(images):
    with pytest.raises(DeviceError, match=r"precision='int8' is for the CPU; for 'cuda:0' pass precision='fp16'"):
        quantized_card(load_card(images), "int8", runtime.Device("cuda"))


def test_int8_of_neither_convolutions_nor_products_is_refused(tmp_path):
    model = testing.save_text_backbone(testing.text_backbone(), tmp_path / "texts")
    with pytest.raises(ConversionError, match="has no Conv or MatMul weights to quantize"):
        quantize(model, "int8")


@pytest.mark.parametrize("precision", ["fp32", "auto", "int4"])
def test_other_precision_is_no_variant(precision, images):
    with pytest.raises(ConversionError, match=f"precision='{precision}' is not one of fp16, int8"):
        quantize(images, precision)


def test_unknown_model_is_refused():
    with pytest.raises(UnknownModelError, match="There is no model 'gone'"):
        quantize("gone", "int8")


def test_nothing_is_said_and_no_handler_is_left(images, capfd):
    before = list(logging.getLogger().handlers)
    quantize(images, "int8")
    assert logging.getLogger().handlers == before
    assert capfd.readouterr() == ("", "")


def test_variant_that_another_process_made_meanwhile_is_find_quantized(images, monkeypatch):
    real = _quantize.compare

    def slowly(*given):
        monkeypatch.setattr(_quantize, "compare", real)
        quantize(images, "fp16")  # the other process
        (Path(images).with_name("deep.fp16") / "first").touch()
        return real(*given)

    monkeypatch.setattr(_quantize, "compare", slowly)
    PretrainedEmbedder(images, precision="fp16").fit(PICTURES)
    assert sorted(os.listdir(Path(images).with_name("deep.fp16"))) == ["card.json", "first", "model.onnx"]


def test_variant_is_replaced_on_request(images):
    first = quantize(images, "int8").measured
    assert quantize(images, "int8", PICTURES).measured["on"] != first["on"]
    assert sorted(path.name for path in Path(images).parent.iterdir()) == ["deep.card.json", "deep.int8", "deep.onnx"]


def test_variant_calibrated_on_other_pixels_is_made_anew(images):
    quantize(images, "int8")
    assert find_quantized(load_card(images, name="another"), "int8") is not None
    assert find_quantized(load_card(images, preset="imagenet"), "int8") is None


def test_layers_that_the_converter_drops_are_not_listed(images):
    made = quantize(images, "int8")
    assert {"conv_2", "act_7"} <= made.layers().keys() <= load_card(images).layers().keys()
    assert "conv_7" not in made.layers()
    with pytest.raises(LayerError, match="The graph has no layer 'conv_7'"):
        PretrainedEmbedder(images, layer="conv_7", precision="int8").fit(PICTURES)
