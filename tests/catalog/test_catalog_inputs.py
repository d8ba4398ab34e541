"""Graphs with inputs that hold no samples, or samples of two kinds; and what the command line can say of them."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from skltransfer import PretrainedEmbedder, cli, load_card, testing
from skltransfer.errors import CardError, ModelError
from skltransfer.testing import make_graph
from tests import graphs
from tests.catalog.support import KERNEL, PICTURES, RANDOM, RAW, convolution, embed, node, saved


def pair_of_encoders():
    """An encoder of images and one of texts, and their products, which come first."""
    nodes = [
        *convolution("pixel_values", ("gap", "image_embeds")),
        node("Gather", ["table", "input_ids"], ["states"]),
        node("ReduceMean", ["states"], ["text_embeds"], axes=[1], keepdims=0),
        node("Transpose", ["text_embeds"], ["turned"], perm=[1, 0]),
        node("MatMul", ["image_embeds", "turned"], ["logits_per_image"]),
    ]
    inputs = {"input_ids": (np.int64, ["m", "t"]), "pixel_values": (np.float32, ["n", 3, 6, 8])}
    table = RANDOM.normal(size=(len(testing.VOCABULARY), 5)).astype(np.float32)
    model = make_graph(nodes, inputs, "logits_per_image", w=KERNEL, table=table)
    names = ("text_embeds", "image_embeds")
    model.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    return model


def test_one_of_a_pair_of_encoders_is_used_alone(tmp_path, in_process):
    got = embed(pair_of_encoders(), tmp_path, PICTURES, **RAW)
    pixels = np.stack(PICTURES).transpose(0, 3, 1, 2).astype(np.float32)
    want = np.maximum(_convolved(pixels), 0).mean(axis=(2, 3))
    np.testing.assert_allclose(got, want, rtol=1e-4)


def _convolved(x):
    model = graphs.model([node("Conv", ["x", "w"], ["map"])], ["n", 3, 6, 8], "map", w=KERNEL)
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0]


def test_pair_of_encoders_is_asked_which(tmp_path, in_process):
    with pytest.raises(CardError, match=r"several kinds of samples: 'text_embeds' \(text\), 'image_embeds' \(image\)"):
        load_card(saved(pair_of_encoders(), tmp_path))


def recurrent():
    """A state for each sample, of the length of the batch, and a rate that is a single number."""
    nodes = [
        node("Cast", ["rate"], ["r"], to=TensorProto.FLOAT),
        node("ReduceSum", ["state", "axis"], ["s"], keepdims=0),
        node("Mul", ["x", "r"], ["scaled"]),
        node("Add", ["scaled", "s"], ["rows"]),
        node("Unsqueeze", ["rows", "one"], ["wide"]),
    ]
    inputs = {"x": (np.float32, ["n", 3]), "state": (np.float32, [2, "n", 3]), "rate": (np.int64, [])}
    return make_graph(nodes, inputs, "rows", axis=np.array([0]), one=np.array([1]))


def test_inputs_that_are_no_samples_are_fixed_by_the_card(tmp_path, in_process):
    X = RANDOM.normal(size=(5, 3)).astype(np.float32)
    constants = {"state": [[[1.0, 2.0, 3.0]], [[0.5, 0.0, 0.0]]], "rate": 16000}
    got = embed(recurrent(), tmp_path, X, constants=constants)
    np.testing.assert_allclose(got, X * 16000 + [1.5, 2, 3], rtol=1e-6)


def test_other_constants_are_another_backbone(tmp_path, in_process):
    cards = [load_card(saved(recurrent(), tmp_path), constants={"state": 0, "rate": rate}) for rate in (1, 2)]
    one, two = (PretrainedEmbedder(card).fit(np.ones((2, 3))) for card in cards)
    assert one.model_key_ != two.model_key_
    np.testing.assert_allclose(2 * one.transform(np.ones((2, 3))), two.transform(np.ones((2, 3))))


def test_inputs_that_nobody_fixed_are_named(tmp_path, in_process):
    message = (
        r"several inputs \(x \(n, 3\) of float32, state \(2, n, 3\).*constants={'state': 0, 'rate': 0}.*--constant"
    )
    with pytest.raises(CardError, match=message):
        embed(recurrent(), tmp_path, np.ones((2, 3)))


@pytest.mark.parametrize(
    ("constants", "message"),
    [
        ({"state": 0, "rate": 0.5}, r"constants\['rate'\] is 0.5, and the graph's input is int64 \(\)"),
        ({"state": [1, 2], "rate": 1}, r"constants\['state'\] is .*input is float32 \(2, None, 3\)"),
        ({"state": "zero"}, r"constants\['state'\] is 'zero', not a finite number"),
        ({"state": float("nan")}, r"constants\['state'\] is nan, not a finite number"),
        ({"stat": 0}, r"constants names 'stat', and the inputs of the graph are x, state, rate"),
        ({"x": 1, "state": 0, "rate": 1}, r"constants fix every input that rows needs .*one must hold samples"),
    ],
)
def test_constant_that_does_not_fit_is_refused(constants, message, tmp_path, in_process):
    with pytest.raises(CardError, match=message):
        embed(recurrent(), tmp_path, np.ones((2, 3)), constants=constants)


def test_constants_of_numpy_are_numbers(tmp_path, in_process):
    card = load_card(saved(recurrent(), tmp_path), constants={"state": np.zeros((2, 1, 3)), "rate": np.int64(3)})
    assert card.constants == {"state": np.zeros((2, 1, 3)).tolist(), "rate": 3}


@pytest.mark.parametrize(
    ("channels", "message"),
    [
        ({"rows": 1}, "names the layer 'rows', which is a row already"),
        ({"wid": 1}, "no layer 'wid'. Did you mean 'wide'"),
        ({"wide": 0}, "channels of layer 'wide' is 0, not an axis from 1 on"),
        (["wide"], r"channels is \['wide'\], not a dict"),
    ],
)
def test_channels_of_no_layer_are_refused(channels, message, tmp_path, in_process):
    with pytest.raises(ModelError, match=message):
        load_card(saved(recurrent(), tmp_path), channels=channels)


def test_inputs_behind_the_layer_do_not_count(tmp_path, in_process):
    nodes = [*convolution("x"), node("Cast", ["sizes"], ["s"], to=1), node("MatMul", ["s", "one"], ["boxes"])]
    nodes.append(node("Add", ["boxes", "rows"], ["out"]))
    inputs = {"x": (np.float32, ["n", 3, 6, 8]), "sizes": (np.int64, ["n", 2])}
    model = make_graph(nodes, inputs, "out", w=KERNEL, one=np.ones((2, 5), np.float32))
    card = load_card(saved(model, tmp_path), **RAW, layer="rows")
    assert PretrainedEmbedder(card).transform(PICTURES).shape == (4, 5)
    with pytest.raises(CardError, match=r"several inputs .*or choose a layer that needs 'x' alone, such as .*rows"):
        PretrainedEmbedder(card, layer="out").transform(PICTURES)


# ---------------------------------------------------------------------------------------------------------------------
# The command line


def test_layers_are_listed_of_a_graph_without_a_card(tmp_path, capsys, in_process):
    path = saved(pair_of_encoders(), tmp_path)
    assert cli.main(["models", "layers", path]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["relu", "5", "x", "4", "x", "6", "5", "1", "2,", "3"] in rows
    assert ["states", "?", "x", "5", "5", "2", "1"] in rows


def test_layers_are_listed_where_the_output_is_none(tmp_path, capsys, in_process):
    nodes = [node("Relu", ["x"], ["map"]), node("ArgMax", ["map"], ["label"], axis=1, keepdims=0)]
    model = make_graph(nodes, {"x": (np.float32, ["n", 4])}, "label", dtype=np.int64)
    assert cli.main(["models", "layers", saved(model, tmp_path)]) == 0
    assert "The output label cannot be a layer: it holds int64" in capsys.readouterr().out


def test_command_line_says_what_the_api_says(tmp_path, in_process):
    path = saved(recurrent(), tmp_path)
    words = ["--modality", "array", "--constant", "rate=2", "--constant", "state=0", "--channels", "wide=2"]
    assert cli.main(["models", "card", path, *words, "--layout", "NHWC", "--pool", "max"]) == 0
    card = load_card(path)
    assert (card.constants, card.channels) == ({"rate": 2, "state": 0}, {"wide": 2})
    assert (card.input.layout, card.pool) == ("NHWC", "max")
    np.testing.assert_allclose(PretrainedEmbedder(path).fit_transform(np.eye(3)), 2 * np.eye(3))


@pytest.mark.parametrize("wrong", ["rate", "=1", "rate=many"])
def test_command_line_refuses_what_is_no_pair(wrong, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(["models", "card", "tiny.onnx", "--constant", wrong])
    said = capsys.readouterr().err
    assert "is no number" in said or "is not a name and a number" in said


def test_text_card_is_written_by_the_command_line(tmp_path, in_process):
    model = testing.text_backbone()
    (tmp_path / "tokenizer.json").write_text(testing.word_tokenizer().to_str())
    path = saved(model, tmp_path)
    words = ["--max-length", "8", "--prefix", "query: ", "--pool", "max", "--layer", "states"]
    assert cli.main(["models", "card", path, *words]) == 0
    card = load_card(path)
    assert (card.input.max_length, card.input.prefix, card.pool) == (8, "query: ", "max")


def test_functions_of_a_graph_are_no_obstacle(tmp_path, in_process):
    twice = helper.make_function(
        "own", "Twice", ["a"], ["b"], [node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 17)]
    )
    nodes = [*convolution("x"), onnx.helper.make_node("Twice", ["rows"], ["out"], domain="own")]
    model = graphs.model(nodes, ["n", 3, 6, 8], "out", functions=[twice], domains=["own"], w=KERNEL)
    assert embed(model, tmp_path, PICTURES, **RAW).shape == (4, 5)
