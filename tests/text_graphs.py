"""The fake engine for texts: a tokenizer of few words and tiny text encoders, whose rows can be worked out by hand.

A token's state is its row of `TABLE`, so the embedding of "one two" is a mean, maximum, ... of four rows of it, those
of ``[CLS]`` and ``[SEP]`` included. The row of ``[PAD]`` is so large that no test overlooks padding that leaks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from skltransfer import load_card
from skltransfer._engine import hub
from skltransfer.cards import Card, ModelFile
from tests.graphs import node

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight")
#: Words of `texts.PROBES`: a graph that gives these one row is refused as dead.
PROBED = ("A", "The", "!")
VOCABULARY = {token: i for i, token in enumerate((*SPECIAL, *PROBED, *WORDS))}
CLS, SEP = VOCABULARY["[CLS]"], VOCABULARY["[SEP]"]
#: State of every token; no column is in order.
TABLE = np.array([[i, 20 - i * i, (7 * i) % 12 - 3] for i in range(len(VOCABULARY))], np.float32)
TABLE[0] = 1000
#: Names and types of what the usual exporters write.
BERT = {"input_ids": "int64", "attention_mask": "int64", "token_type_ids": "int64"}


# ---------------------------------------------------------------------------------------------------------------------
# Tokenizers


def tokenizer(*, special: bool = True) -> Tokenizer:
    """Split at white space and punctuation; every word that is not in the vocabulary is ``[UNK]``."""
    made = Tokenizer(models.WordLevel(VOCABULARY, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.add_special_tokens(list(SPECIAL))
    if special:
        made.post_processor = processors.BertProcessing(("[SEP]", SEP), ("[CLS]", CLS))
    return made


def pieces() -> Tokenizer:
    """Split words into single letters, digits and signs, as BERT's tokenizer does with words it has never seen."""
    letters = [chr(i) for i in range(33, 127)]
    vocabulary = [*SPECIAL, *letters, *(f"##{letter}" for letter in letters)]
    made = Tokenizer(models.WordPiece({token: i for i, token in enumerate(vocabulary)}, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.add_special_tokens(list(SPECIAL))
    made.post_processor = processors.BertProcessing(("[SEP]", SEP), ("[CLS]", CLS))
    return made


# ---------------------------------------------------------------------------------------------------------------------
# Graphs


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, str],
    output: str,
    *,
    shape: Sequence[str | int] = ("n", "tokens"),
    **weights: np.ndarray,
) -> onnx.ModelProto:
    """Make a graph with several inputs of one shape and one output, whose shape ONNX infers."""
    types = {name: helper.np_dtype_to_tensor_dtype(np.dtype(kind)) for name, kind in inputs.items()}
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, kind, shape) for name, kind in types.items()],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def encoder(inputs: Mapping[str, str] = BERT, table: np.ndarray = TABLE) -> onnx.ModelProto:
    """Layers: ``states`` (n, tokens, d), rows of the table, and, of graphs that take a mask, ``embedding``, their sum
    over real tokens, and ``context`` (n, tokens, d), the states plus that sum: a token that knows its text.

    Token types other than zero would add 100 to a state.
    """
    mask = next((name for name in inputs if "mask" in name), None)
    types = next((name for name in inputs if "type" in name or "segment" in name), None)
    ids = next(name for name in inputs if name not in (mask, types))
    nodes = [node("Gather", ["table", ids], ["states" if types is None else "words"])]
    weights = {"table": table}
    if types is not None:
        nodes += [node("Gather", ["types", types], ["typed"]), node("Add", ["words", "typed"], ["states"])]
        weights["types"] = np.repeat(np.array([[0], [100]], np.float32), table.shape[1], axis=1)
    if mask is None:
        return model(nodes, inputs, "states", **weights)
    nodes += [
        node("Cast", [mask], ["real"], to=TensorProto.FLOAT),
        node("Unsqueeze", ["real", "axis"], ["row"]),
        node("MatMul", ["row", "states"], ["sum"]),
        node("Squeeze", ["sum", "axis"], ["embedding"]),
        node("Add", ["states", "sum"], ["context"]),
    ]
    several = model(nodes, inputs, "states", axis=np.array([1]), **weights)
    several.graph.output.extend(_untyped(name) for name in ("embedding", "context"))
    return several


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


def _untyped(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, None)


def mixer() -> onnx.ModelProto:
    """States plus their mean over all tokens, padding included, for the graph takes no mask: rows depend on padding."""
    nodes = [
        node("Gather", ["table", "input_ids"], ["words"]),
        node("ReduceMean", ["words"], ["mean"], axes=[1], keepdims=1),
        node("Add", ["words", "mean"], ["states"]),
    ]
    return model(nodes, {"input_ids": "int64"}, "states", table=TABLE)


# ---------------------------------------------------------------------------------------------------------------------
# Card folders


def save(
    folder: Path,
    graph: onnx.ModelProto | None = None,
    words: Tokenizer | str | None = None,
    *,
    place: str = "model.onnx",
    **changes: Any,
) -> str:
    """Write a card folder - by default `encoder` and `tokenizer` - and give its path.

    Parameters
    ----------
    folder : Path
        Made if it does not exist.
    graph, words : optional
        What to write; of a str, the tokenizer.json as it is.
    place : str
        Path of the graph inside the folder.
    **changes
        As in ``load_card``.
    """
    path = folder / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((graph or encoder()).SerializeToString())
    text = words if isinstance(words, str) else (words or tokenizer()).to_str()
    (folder / "tokenizer.json").write_text(text, "utf8")
    files = {"model": _pinned(folder, place), "tokenizer": _pinned(folder, "tokenizer.json")}
    card = load_card(Card("tiny", "text", files, folder=folder), **changes)
    (folder / "card.json").write_text(json.dumps(card.to_dict()), "utf8")
    return str(folder)


def _pinned(folder: Path, name: str) -> ModelFile:
    return ModelFile(name, hub.sha256(folder / name), (folder / name).stat().st_size)


# ---------------------------------------------------------------------------------------------------------------------
# By hand


def states(text: str) -> np.ndarray:
    """Give the states of a text of words, special tokens included."""
    ids = [VOCABULARY.get(word, VOCABULARY["[UNK]"]) for word in text.split()]
    return TABLE[[CLS, *ids, SEP]].astype(np.float64)


def context(text: str) -> np.ndarray:
    """Give the states of a text of words, each with the sum of all."""
    return states(text) + states(text).sum(axis=0)


POOLED = {
    "mean": lambda s: s.mean(axis=0),
    "max": lambda s: s.max(axis=0),
    "cls": lambda s: s[0],
    "last": lambda s: s[-1],
    "gem": lambda s: np.cbrt((np.maximum(s, 1e-6) ** 3).mean(axis=0)),
}


def expected(texts: Sequence[str], pool: str = "mean", of: Callable[[str], np.ndarray] = states) -> np.ndarray:
    """Compute the embeddings of texts of words: a layer, pooled."""
    return np.array([POOLED[pool](of(text)) for text in texts])
