"""Tokenizers and text encoders of our own suite, beside those of `skltransfer.testing`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from skltransfer.testing import SPECIAL, TABLE, VOCABULARY, make_graph
from tests.graphs import node


def pieces() -> Tokenizer:
    """Split words into single letters, digits and signs, as BERT's tokenizer does with words it has never seen."""
    letters = [chr(i) for i in range(33, 127)]
    vocabulary = [*SPECIAL, *letters, *(f"##{letter}" for letter in letters)]
    made = Tokenizer(models.WordPiece({token: i for i, token in enumerate(vocabulary)}, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.add_special_tokens(list(SPECIAL))
    made.post_processor = processors.BertProcessing(("[SEP]", VOCABULARY["[SEP]"]), ("[CLS]", VOCABULARY["[CLS]"]))
    return made


def model(nodes: Sequence[onnx.NodeProto], inputs: Mapping[str, str], output: str, **choices: Any) -> onnx.ModelProto:
    """Build a graph with several inputs of tokens and one output."""
    return make_graph(nodes, {name: (kind, ("n", "tokens")) for name, kind in inputs.items()}, output, **choices)


def thinker(width: int = 48) -> onnx.ModelProto:
    """States that go through random matrices, token by token: the layer ``states`` (n, tokens, width)."""
    random = np.random.default_rng(0)
    table = random.normal(size=(len(VOCABULARY), width)).astype(np.float32)
    matrices = {f"matrix_{i}": random.normal(0, 0.2, (width, width)).astype(np.float32) for i in (1, 2)}
    nodes = [
        node("Gather", ["table", "input_ids"], ["words"]),
        node("MatMul", ["words", "matrix_1"], ["first"]),
        node("Tanh", ["first"], ["thought"]),
        node("MatMul", ["thought", "matrix_2"], ["states"]),
        node("Cast", ["attention_mask"], ["unused"], to=TensorProto.FLOAT),
    ]
    inputs = {"input_ids": "int64", "attention_mask": "int64"}
    return model(nodes, inputs, "states", table=table, **matrices)


def mixer() -> onnx.ModelProto:
    """States plus their mean over all tokens, padding included, for the graph takes no mask: rows depend on padding."""
    nodes = [
        node("Gather", ["table", "input_ids"], ["words"]),
        node("ReduceMean", ["words"], ["mean"], axes=[1], keepdims=1),
        node("Add", ["words", "mean"], ["states"]),
    ]
    return model(nodes, {"input_ids": "int64"}, "states", table=TABLE)
