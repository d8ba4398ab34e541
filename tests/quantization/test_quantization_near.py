"""Variants of backbones have nearly the same rows, whoever their batch mates are."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from skltransfer import PretrainedEmbedder, testing
from skltransfer._engine import hub
from skltransfer._engine.quantization import MIN_COSINE, quantize
from tests import graphs
from tests.quantization.support import PICTURES, PRECISIONS, cosine, operators

#: Operators that would scale by what else is in the batch.
DYNAMIC = {"DynamicQuantizeLinear", "MatMulInteger", "ConvInteger", "DynamicQuantizeMatMul"}


@pytest.mark.parametrize("precision", PRECISIONS)
def test_images_have_nearly_the_same_rows(precision, images):
    rows = PretrainedEmbedder(images, precision=precision).fit_transform(PICTURES)
    want = PretrainedEmbedder(images).transform(PICTURES)
    assert MIN_COSINE[precision] <= cosine(rows, want)
    assert not np.array_equal(rows, want)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_texts_have_nearly_the_same_rows(precision, texts):
    rows = PretrainedEmbedder(texts, precision=precision).fit_transform(testing.WORDS)
    want = PretrainedEmbedder(texts).transform(testing.WORDS)
    assert MIN_COSINE[precision] <= cosine(rows, want)
    assert not np.array_equal(rows, want)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("kind", ["images", "texts"])
def test_row_does_not_depend_on_batch_mates(kind, precision, request):
    model, samples = request.getfixturevalue(kind), PICTURES if kind == "images" else list(testing.WORDS)
    embedder = PretrainedEmbedder(model, precision=precision, cache=None).fit(samples)
    alone = np.vstack([embedder.transform([sample]) for sample in samples])
    np.testing.assert_allclose(alone, embedder.transform(samples), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["images", "texts"])
def test_int8_scales_by_no_batch(kind, request):
    found = operators(quantize(request.getfixturevalue(kind), "int8"))
    assert "QuantizeLinear" in found
    assert not found & DYNAMIC


def test_first_convolutions_stay_as_they_are(images):
    model = onnx.load(hub.verified(quantize(images, "int8")))
    rounded = {node.output[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    assert [node.input[1] in rounded for node in convolutions] == [False] * 5 + [True] * 3


@pytest.mark.parametrize("layer", ["act_5", "act_6", "act_8"])
def test_layers_keep_their_meaning_in_int8(layer, images):
    rows = PretrainedEmbedder(images, layer=layer, pool="flatten", precision="int8").fit_transform(PICTURES)
    want = PretrainedEmbedder(images, layer=layer, pool="flatten").transform(PICTURES)
    assert cosine(rows, want) > 0.99
    assert rows.min() == 0  # an activation that was left out has negative numbers


def test_weights_that_are_stored_in_half_and_cast_are_rounded_too(tmp_path):
    made = graphs.deep()
    for weight in [t for t in made.graph.initializer if t.name.startswith("kernel")]:
        half = numpy_helper.from_array(numpy_helper.to_array(weight).astype(np.float16), f"half_{weight.name}")
        made.graph.node.insert(0, graphs.node("Cast", [half.name], [weight.name], to=TensorProto.FLOAT))
        made.graph.initializer.remove(weight)
        made.graph.initializer.append(half)
    found = operators(quantize(graphs.save_images(tmp_path, made, "half"), "int8"))
    assert "QuantizeLinear" in found
    assert "Cast" not in found
