"""Files of a text backbone: tokenizers that are missing, damaged or changed, and mistakes of cards."""

import sys

import numpy as np
import pytest
from onnx import TensorProto, helper

from skltransfer import PretrainedEmbedder, load_card, testing
from skltransfer.errors import (
    CardError,
    IntegrityError,
    MissingDependencyError,
    ModelWarning,
    UnsafeModelError,
)
from tests import hostile_graphs
from tests.modalities.text.support import ROWS, TEXTS


def test_tokenizers_is_named_with_its_extra_where_it_is_missing(tmp_path, monkeypatch):
    path = testing.save_text_backbone(testing.text_backbone(), tmp_path)
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(MissingDependencyError, match=r"tokenizers is required .*pip install 'skltransfer\[text\]'"):
        PretrainedEmbedder(path).transform(["one"])


DAMAGED = {
    "empty": "",
    "cut off": testing.word_tokenizer().to_str()[:500],
    "not JSON": "version https://git-lfs.github.com/spec/v1",
    "an object": "{}",
    "a list": "[]",
    "without a vocabulary": '{"model": {"type": "WordLevel"}}',
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_tokenizer_is_refused_that_is(kind, tmp_path):
    path = testing.save_text_backbone(testing.text_backbone(), tmp_path, tokenizer=DAMAGED[kind])
    with pytest.raises(CardError, match=r"'tokenizer\.json' is no tokenizer: "):
        PretrainedEmbedder(path).transform(["one"])


@pytest.mark.parametrize("method", ["fit", "transform"])
def test_tokenizer_that_is_not_the_pinned_one_is_refused(method, tmp_path):
    path = testing.save_text_backbone(testing.text_backbone(), tmp_path)
    with (tmp_path / "tokenizer.json").open("a") as file:
        file.write(" ")
    with pytest.raises(IntegrityError, match=r"tokenizer.json' has the SHA-256 [0-9a-f]{64}, its card pins"):
        getattr(PretrainedEmbedder(path), method)(["one"])


def test_card_without_a_tokenizer_is_refused(tmp_path):
    card = load_card(testing.save_text_backbone(testing.text_backbone(), tmp_path))
    card.files.pop("tokenizer")
    with pytest.raises(CardError, match="'tiny' takes text samples and lists no file 'tokenizer'"):
        PretrainedEmbedder(card).transform(["one"])


def test_graph_may_lie_in_another_folder_than_the_tokenizer(tmp_path):
    path = testing.save_text_backbone(testing.text_backbone(), tmp_path, place="onnx/model.onnx")
    np.testing.assert_allclose(PretrainedEmbedder(path).transform(TEXTS), ROWS, rtol=1e-5)


def test_bare_graph_is_of_texts_with_a_tokenizer_beside_it(tmp_path):
    (tmp_path / "bare.onnx").write_bytes(testing.text_backbone().SerializeToString())
    with pytest.raises(CardError, match=r"'bare' takes token ids; put its tokenizer.json into '/.*', beside the"):
        load_card(tmp_path / "bare.onnx")
    testing.word_tokenizer().save(str(tmp_path / "tokenizer.json"))
    embedder = PretrainedEmbedder(tmp_path / "bare.onnx", layer="states", pool="mean")
    with pytest.warns(
        ModelWarning, match="its embedding is the output 'embedding'. To settle it: skltransfer models card"
    ):
        np.testing.assert_allclose(embedder.transform(TEXTS), ROWS, rtol=1e-5)


def test_bare_graph_of_several_inputs_is_run_in_a_child_first(tmp_path, monkeypatch):
    graph = hostile_graphs.endless()
    graph.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.INT64, ["n", 4]))
    (tmp_path / "endless.onnx").write_bytes(graph.SerializeToString())
    monkeypatch.setenv("SKLTRANSFER_TRIAL_SECONDS", "4")
    with pytest.raises(UnsafeModelError, match=r"'endless\.onnx' was not open and run after 4 s of CPU"):
        load_card(tmp_path / "endless.onnx")


MISTAKES = {
    "max_length": (0, "input.max_length is 0, not an integer from 1 on"),
    "max_chars": (-1, "input.max_chars is -1, not an integer from 1 on"),
    "truncation": ("middle", "input.truncation is 'middle', not one of right, left"),
    "pad": ("0", "input.pad is '0', not an integer from 0 on"),
    "prefix": (None, "input.prefix is None, not a str"),
    "fill": ("yes", "input.fill is 'yes', not a bool"),
    "long_text": ("drop", "input.long_text is 'drop', not one of truncate, windows"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_card_is_refused_with_the_value_of(name, folder):
    value, message = MISTAKES[name]
    with pytest.raises(CardError, match=message):
        load_card(folder, **{name: value})
