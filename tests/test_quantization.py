"""`precision="fp16"` and `"int8"`: made once, near the original or refused, kept where they belong."""

import logging
import os
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from skltransfer import PretrainedEmbedder, load_card
from skltransfer._engine import graph, hub, runtime
from skltransfer._engine.quantization import MIN_COSINE, _quantize, find_quantized, quantize, quantized_card
from skltransfer.cards import ArraySpec
from skltransfer.errors import (
    ConversionError,
    DeviceError,
    IntegrityError,
    LayerError,
    SampleError,
    UnknownModelError,
)
from tests import graphs, text_graphs

PRECISIONS = sorted(MIN_COSINE)
PICTURES = graphs.pictures(12)
#: Operators that would scale by what else is in the batch.
DYNAMIC = {"DynamicQuantizeLinear", "MatMulInteger", "ConvInteger", "DynamicQuantizeMatMul"}


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    """Keep variants of embedded models out of the user's own store."""
    monkeypatch.setenv("SKLTRANSFER_MODELS", str(tmp_path / "store"))
    return tmp_path / "store"


@pytest.fixture
def images(tmp_path):
    """A network of convolutions."""
    return graphs.save_images(tmp_path, graphs.deep(), "deep")


@pytest.fixture
def texts(tmp_path):
    """A network of matrix products."""
    return text_graphs.save(tmp_path / "texts", text_graphs.thinker(), pool="mean")


@pytest.fixture
def never(monkeypatch):
    """Let no variant be made."""

    def refuse(model, inputs):
        raise AssertionError("a variant is being made")

    return lambda: [monkeypatch.setitem(_quantize.CONVERTERS, precision, refuse) for precision in PRECISIONS]


def operators(card) -> set[str]:
    return {node.op_type for node in onnx.load(hub.verified(card)).graph.node}


def cosine(left, right) -> float:
    return float((left * right).sum() / np.linalg.norm(left) / np.linalg.norm(right))


# ---------------------------------------------------------------------------------------------------------------------
# Near


@pytest.mark.parametrize("precision", PRECISIONS)
def test_images_have_nearly_the_same_rows(precision, images):
    rows = PretrainedEmbedder(images, precision=precision).fit_transform(PICTURES)
    want = PretrainedEmbedder(images).transform(PICTURES)
    assert MIN_COSINE[precision] <= cosine(rows, want)
    assert not np.array_equal(rows, want)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_texts_have_nearly_the_same_rows(precision, texts):
    rows = PretrainedEmbedder(texts, precision=precision).fit_transform(text_graphs.WORDS)
    want = PretrainedEmbedder(texts).transform(text_graphs.WORDS)
    assert MIN_COSINE[precision] <= cosine(rows, want)
    assert not np.array_equal(rows, want)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("kind", ["images", "texts"])
def test_row_does_not_depend_on_batch_mates(kind, precision, request):
    model, samples = request.getfixturevalue(kind), PICTURES if kind == "images" else list(text_graphs.WORDS)
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


def product(numbers: np.ndarray, *, version: int = 17) -> tuple[np.ndarray, np.ndarray]:
    """Multiply by a matrix in 8 bits; give what comes out, and the matrix."""
    matrix = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    shape = ["n", *numbers.shape[1:]]
    model = graphs.model([graphs.node("MatMul", ["x", "w"], ["rows"])], shape, "rows", w=matrix, opset=version)
    rounded = graph.quantize_per_row(model)
    assert {"QuantizeLinear", "MatMulIntegerToFloat"} <= {node.op_type for node in rounded.graph.node}
    return runtime.Session(rounded.SerializeToString(), runtime.Device()).run(numbers), matrix


NUMBERS = np.random.default_rng(1).normal(size=(5, 3, 40)).astype(np.float32)


@pytest.mark.parametrize("version", [13, 17, 18, 20])
@pytest.mark.parametrize("numbers", [NUMBERS, NUMBERS[:, 0]], ids=["tokens", "rows"])
def test_rows_times_columns_are_rounded_by_half_a_step_each(numbers, version):
    found, matrix = product(numbers, version=version)
    x = numbers.reshape(-1, 40)
    a, b = np.abs(x).max(axis=1, keepdims=True) / 127, np.abs(matrix).max(axis=0) / 127
    want = (np.rint(x / a) @ np.rint(matrix / b) * a * b).reshape(found.shape)
    np.testing.assert_allclose(found, want, rtol=1e-4, atol=2e-2 * np.abs(want).max())
    assert np.abs(found - want).mean() < 1e-4 * np.abs(want).max()  # a tie may be rounded the other way
    assert cosine(found, numbers @ matrix) > 0.9999


def test_row_is_rounded_by_itself():
    loud = NUMBERS * np.array([1, 1e6, 1e-6, 1, 1], np.float32).reshape(5, 1, 1)
    np.testing.assert_array_equal(product(loud)[0][[0, 3]], product(NUMBERS)[0][[0, 3]])
    np.testing.assert_allclose(product(loud)[0][1], product(NUMBERS)[0][1] * 1e6, rtol=1e-5)


def test_rows_of_zeros_stay_and_what_overflowed_shows():
    odd = NUMBERS[:3, 0].copy()
    odd[0], odd[1, 7] = 0, np.inf
    found, _ = product(odd)
    assert (found[0] == 0).all()
    assert not np.isfinite(found[1]).any()
    assert np.isfinite(found[2]).all()


def test_input_of_several_products_is_rounded_once():
    a, b = np.random.default_rng(0).normal(size=(2, 40, 6)).astype(np.float32)
    nodes = [graphs.node("MatMul", ["x", name], [f"x{name}"]) for name in "ab"]
    model = graphs.model([*nodes, graphs.node("Sub", ["xa", "xb"], ["rows"])], ["n", 40], "rows", a=a, b=b)
    kinds = [node.op_type for node in graph.quantize_per_row(model).graph.node]
    assert (kinds.count("QuantizeLinear"), kinds.count("MatMulIntegerToFloat")) == (1, 2)
    rows = runtime.Session(model.SerializeToString(), runtime.Device()).run(NUMBERS[:, 0])
    assert cosine(rows, NUMBERS[:, 0] @ (a - b)) > 0.9999


def test_graphs_too_old_for_rows_are_rounded_in_blocks(tmp_path):
    model = graphs.products()
    model.opset_import[0].version = 12
    found = operators(quantize(str(graphs.save(model, tmp_path)), "int8", np.eye(40, dtype=np.float32)))
    assert "MatMulNBits" in found


@pytest.mark.parametrize("block", [16, 32, 128])
def test_blocks_hold_the_rounded_matrix(block):
    model = graph.quantize_blockwise(graphs.products(k=40, depth=1), block, level=1)
    session = runtime.Session(model.SerializeToString(), runtime.Device())
    matrix = numpy_helper.to_array(graphs.products(k=40, depth=1).graph.initializer[0])
    numbers = session.run(np.eye(40, dtype=np.float32))
    steps = [np.abs(matrix[start : start + block]).max(axis=0) / 127 for start in range(0, 40, block)]
    limit = np.repeat(steps, block, axis=0)[:40] / 2 + 1e-6
    assert (np.abs(np.arctanh(numbers) - matrix) <= limit).all()


# ---------------------------------------------------------------------------------------------------------------------
# Kept


@pytest.mark.parametrize("precision", PRECISIONS)
def test_variant_is_a_card_folder_beside_the_model(precision, images):
    made = quantize(images, precision)
    assert made.folder == Path(images).with_name(f"deep.{precision}").resolve()
    assert sorted(path.name for path in made.folder.iterdir()) == ["card.json", "model.onnx"]
    rows = PretrainedEmbedder(str(made.folder)).fit_transform(PICTURES)
    np.testing.assert_array_equal(rows, PretrainedEmbedder(images, precision=precision).transform(PICTURES))


def test_variant_of_texts_has_its_tokenizer_and_can_be_moved(texts, tmp_path):
    made = quantize(texts, "int8")
    moved = shutil.move(made.folder, tmp_path / "elsewhere")
    assert sorted(os.listdir(moved)) == ["card.json", "model.onnx", "tokenizer.json"]
    assert PretrainedEmbedder(str(moved)).fit_transform(["one"]).shape == (1, 48)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_variant_is_made_once(precision, images, never):
    before = PretrainedEmbedder(images, precision=precision).fit_transform(PICTURES)
    never()
    runtime.clear()
    after = PretrainedEmbedder(images, precision=precision, cache=None).fit_transform(PICTURES)
    np.testing.assert_array_equal(before, after)


def test_variant_of_another_file_of_that_name_is_made_anew(images, tmp_path):
    old = quantize(images, "fp16")
    graphs.save_images(tmp_path, graphs.deep(width=8), "deep")
    assert find_quantized(load_card(images), "fp16") is None
    assert PretrainedEmbedder(images, precision="fp16").fit_transform(PICTURES).shape == (12, 8)
    assert find_quantized(load_card(images), "fp16").source != old.source


def test_variant_of_an_older_edition_is_made_anew(images, monkeypatch):
    quantize(images, "fp16")
    monkeypatch.setattr(_quantize, "VERSION", _quantize.VERSION + 1)
    assert find_quantized(load_card(images), "fp16") is None


def test_variant_of_an_embedded_model_goes_to_the_store(store):
    made = quantize("vision-mini", "int8")
    assert made.folder.is_relative_to(store)
    assert made.measured["cosine"] > 0.999


def test_variant_of_a_folder_that_cannot_be_written_goes_to_the_store(images, store, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert quantize(images, "fp16").folder.is_relative_to(store)


def test_variant_that_was_changed_is_refused(images):
    path = quantize(images, "fp16").folder / "model.onnx"
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(IntegrityError, match="its card pins"):
        PretrainedEmbedder(images, precision="fp16").fit(PICTURES)


def test_card_says_what_was_measured(images):
    measured = quantize(images, "int8").measured
    assert measured.keys() == {"cosine", "least_cosine", "speed", "on"}
    assert 0.99 <= measured["cosine"] <= 1
    assert measured["least_cosine"] <= measured["cosine"]
    assert measured["speed"] > 0
    assert measured["on"] == "24 synthetic samples"


def test_what_the_user_says_of_a_card_holds_for_its_variant(images):
    card = load_card(images, color="BGR", layer="act_6", pool="max")
    found = quantized_card(card, "int8", runtime.Device())
    assert (found.input.color, found.layer, found.pool) == ("BGR", "act_6", "max")


def test_variants_are_candidates_of_a_search(images):
    X, y = graphs.pictures(40), np.arange(40) % 2
    pipeline = make_pipeline(PretrainedEmbedder(images), LogisticRegression())
    grid = {"pretrainedembedder__precision": ["auto", "fp16", "int8"]}
    search = GridSearchCV(pipeline, grid, error_score="raise", n_jobs=2, cv=2).fit(X, y)
    assert len(search.cv_results_["params"]) == 3


def test_fingerprint_is_that_of_the_variant(images):
    prints = [PretrainedEmbedder(images, precision=p).fit(PICTURES).model_sha256_ for p in ("auto", "fp16", "int8")]
    assert len(set(prints)) == 3


# ---------------------------------------------------------------------------------------------------------------------
# Samples


def test_samples_that_are_given_calibrate_and_compare(images):
    assert quantize(images, "int8", PICTURES).measured["on"] == "6 samples that were given"


def test_numbers_need_samples(tmp_path):
    model = str(graphs.save(graphs.products(), tmp_path))
    assert isinstance(load_card(model).input, ArraySpec)
    with pytest.raises(ConversionError, match=r"takes arrays, for which there are no synthetic samples; pass yours"):
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


# ---------------------------------------------------------------------------------------------------------------------
# Refused


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
    model = text_graphs.save(tmp_path / "texts", text_graphs.encoder())
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
