"""Graphs as other projects export them: types and layouts of the input, and which kind of samples it takes."""

import numpy as np
import pytest
from onnx import TensorProto
from PIL import Image

from skltransfer import PretrainedEmbedder, load_card, testing
from skltransfer.errors import CardError
from skltransfer.testing import make_graph
from tests import graphs
from tests.catalog.support import KERNEL, PICTURES, RANDOM, RAW, convolution, embed, node, run, saved

IDS = np.array([[2**24 + 1, 0], [2**24, 3], [5, 2**40 + 1]])


# ---------------------------------------------------------------------------------------------------------------------
# The input's type


def test_doubles_stay_doubles(tmp_path, in_process):
    nodes = [node("Sub", ["x", "large"], ["rest"]), node("Cast", ["rest"], ["rows"], to=TensorProto.FLOAT)]
    model = make_graph(nodes, {"x": (np.float64, ["n", 2])}, "rows", large=np.array(1e9))
    X = 1e9 + np.array([[0.25, 0.5], [1.0, 3.0], [0.125, 2.0]])
    np.testing.assert_array_equal(embed(model, tmp_path, X), X - 1e9)


def test_large_ids_stay_exact(tmp_path, in_process):
    nodes = [node("Mod", ["x", "thousand"], ["rest"]), node("Cast", ["rest"], ["rows"], to=TensorProto.FLOAT)]
    model = make_graph(nodes, {"x": (np.int64, ["n", 2])}, "rows", thousand=np.array(1000))
    np.testing.assert_array_equal(embed(model, tmp_path, IDS), IDS % 1000)


def test_ids_of_a_table_are_not_probed_with_ids_it_has_not(tmp_path, in_process):
    table = RANDOM.normal(size=(4, 3)).astype(np.float32)
    nodes = [node("Gather", ["table", "x"], ["states"]), node("ReduceMean", ["states"], ["rows"], axes=[1], keepdims=0)]
    model = make_graph(nodes, {"x": (np.int64, ["n", 2])}, "rows", table=table)
    X = np.array([[3, 1], [2, 3]])
    np.testing.assert_allclose(embed(model, tmp_path, X), table[X].mean(axis=1), rtol=1e-6)


def test_fractions_for_a_graph_of_whole_numbers_are_refused(tmp_path, in_process):
    model = make_graph([node("Cast", ["x"], ["rows"], to=TensorProto.FLOAT)], {"x": (np.int64, ["n", 2])}, "rows")
    with pytest.raises(ValueError, match=r"The graph takes int64, and X\[1, 0\] is np.float64\(0.5\), which is none"):
        embed(model, tmp_path, np.array([[1.0, 2.0], [0.5, 1.0]]))


def test_numbers_that_have_no_logarithm_are_not_drawn(tmp_path, in_process):
    model = graphs.model([node("Log", ["x"], ["rows"])], ["n", 2], "rows")
    X = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
    np.testing.assert_allclose(embed(model, tmp_path, X), np.log(X), rtol=1e-5)


@pytest.mark.parametrize(("dtype", "preset"), [("uint8", "imagenet"), ("uint8", "inception"), ("int8", "raw")])
def test_scaled_pixels_for_a_graph_of_whole_numbers_are_refused(dtype, preset, tmp_path, in_process):
    nodes = [node("Cast", ["x"], ["pixels"], to=TensorProto.FLOAT), *convolution("pixels")]
    model = make_graph(nodes, {"x": (dtype, ["n", 3, 6, 8])}, "rows", w=KERNEL)
    with pytest.raises(CardError, match=rf"input 'x' holds {dtype}, and pixels scaled by .* are no such numbers"):
        load_card(saved(model, tmp_path), preset=preset, resize="squash")


@pytest.mark.parametrize(("dtype", "shift"), [("uint8", 0), ("int8", 128), ("int32", 0)])
def test_whole_pixels_reach_a_graph_of_whole_numbers(dtype, shift, tmp_path, in_process):
    nodes = [node("Cast", ["x"], ["pixels"], to=TensorProto.FLOAT), node("Flatten", ["pixels"], ["rows"])]
    model = make_graph(nodes, {"x": (dtype, ["n", 6, 8, 3])}, "rows")
    got = embed(model, tmp_path, PICTURES, **RAW, mean=(shift,) * 3)
    np.testing.assert_array_equal(got, [np.ravel(picture).astype(float) - shift for picture in PICTURES])


# ---------------------------------------------------------------------------------------------------------------------
# Images: layouts, names, one channel


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_gray_backbone_takes_what_pillow_calls_gray(layout, tmp_path, in_process):
    shape = ["n", 1, 6, 8] if layout == "NCHW" else ["n", 6, 8, 1]
    model = graphs.model([node("Flatten", ["x"], ["rows"])], shape, "rows")
    card = load_card(saved(model, tmp_path), **RAW)
    assert (card.modality, card.input.color, card.input.layout) == ("image", "L", layout)
    want = [np.asarray(Image.fromarray(picture).convert("L"), float).ravel() for picture in PICTURES]
    np.testing.assert_array_equal(PretrainedEmbedder(card).transform(PICTURES), want)


def test_colors_do_not_scale_gray(tmp_path, in_process):
    model = graphs.model([node("Flatten", ["x"], ["rows"])], ["n", 1, 6, 8], "rows")
    with pytest.raises(CardError, match=r"takes images of one channel, and mean and std are those of colors.*--mean"):
        load_card(saved(model, tmp_path), preset="imagenet")


@pytest.mark.parametrize("names", [("batch_size", "num_channels", "height", "width"), ("n", "c", "h", "w")])
def test_layout_of_free_axes_is_told_by_operators(names, tmp_path, in_process):
    model = graphs.model(convolution("x"), list(names), "rows", w=KERNEL)
    card = load_card(saved(model, tmp_path), preset="raw", size=(6, 8), resize="squash")
    assert (card.modality, card.input.layout) == ("image", "NCHW")
    x = np.stack(PICTURES).transpose(0, 3, 1, 2).astype(np.float32)
    np.testing.assert_allclose(PretrainedEmbedder(card).transform(PICTURES), run(model, x=x), rtol=1e-4)


def test_layout_that_nothing_tells_is_asked_for(tmp_path, in_process):
    model = graphs.model([node("Flatten", ["x"], ["rows"])], ["n", "a", "b", "c"], "rows")
    with pytest.raises(CardError, match=r"which axis holds the channels\? .*layout='NCHW'.*--layout NCHW"):
        load_card(saved(model, tmp_path), preset="raw")


def test_preset_says_that_samples_are_images(tmp_path, in_process):
    model = graphs.model(convolution("x"), ["n", "a", "b", "c"], "rows", w=KERNEL)
    assert load_card(saved(model, tmp_path), preset="raw").modality == "image"


@pytest.mark.parametrize(
    ("name", "shape", "beside", "kinds"),
    [
        ("x", ["n", 4], True, r"array or text \(array: floating-point numbers in 2 axes; text: a tokenizer beside"),
        ("input_ids", ["n", 4], False, r"array or text \(array: .*; text: an input 'input_ids'"),
        (
            "pixel_values",
            ["n", 2, 3, 6, 8],
            False,
            r"array or image \(array: .* in 5 axes; image: an input 'pixel_values'",
        ),
    ],
)
def test_signs_that_disagree_are_asked_about(name, shape, beside, kinds, tmp_path, in_process):
    model = make_graph([node("Flatten", [name], ["rows"])], {name: (np.float32, shape)}, "rows")
    if beside:
        (tmp_path / "tokenizer.json").write_text(testing.word_tokenizer().to_str())
    with pytest.raises(CardError, match=rf"could be {kinds}.* Say which: .*modality='.*--modality"):
        load_card(saved(model, tmp_path))
    assert load_card(saved(model, tmp_path), modality="array").modality == "array"


@pytest.mark.parametrize("beside", [True, False])
def test_whole_numbers_beside_a_tokenizer_are_token_ids(beside, tmp_path, in_process):
    model = make_graph(
        [node("Gather", ["table", "x"], ["rows"])], {"x": (np.int64, ["n", "t"])}, "rows", table=testing.TABLE
    )
    if beside:
        (tmp_path / "tokenizer.json").write_text(testing.word_tokenizer().to_str())
    assert load_card(saved(model, tmp_path)).modality == ("text" if beside else "array")
