"""Texts to token ids inside the file, by onnxruntime-extensions: tokenizers of BERT, one text at a time in a loop."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from skltransfer.errors import ExportError, need
from skltransfer.export._graph import Graph

if TYPE_CHECKING:
    import onnx

#: Domain of the operators of onnxruntime-extensions.
DOMAIN = "ai.onnx.contrib"
#: Fills up the tokens of shorter texts; `modalities` has the same number.
PADDING = -1
#: Beyond any length, as the end of a slice.
END = np.iinfo(np.int64).max


def tokens(graph: Graph, texts: str, plan: Any) -> str:
    """Add the nodes from texts (batch,) to what the backbone takes, int32 (batch, tokens).

    Parameters
    ----------
    graph : Graph
        Takes the nodes.
    texts : str
        Tensor of strings.
    plan : Plan
        Of the backbone.

    Raises
    ------
    ExportError
        If its tokenizer is not one of BERT, or it is used in a way that the operators do not know.
    """
    from onnx import helper

    spec = plan.recipe.input
    facts = json.loads(plan.files()["tokenizer"].read())
    _check(facts, spec)
    graph.domains.setdefault(DOMAIN, 1)
    body = _body(graph, texts, facts, spec)
    zero = graph.const([0], np.int64)
    count = graph.add("Gather", graph.add("Shape", texts), graph.const(0, np.int64), axis=0)
    all_ids = graph.name("loop")
    graph.nodes.append(helper.make_node("Loop", [count, ""], [all_ids], name=all_ids, body=body))
    # Every text was filled up to max_length; the longest of the batch decides how many tokens are run.
    real = graph.cast(graph.add("GreaterOrEqual", all_ids, graph.const(0, np.int64)), "int64")
    lengths = graph.add("ReduceSum", real, graph.const([1], np.int64), keepdims=0)
    if graph.opset >= 18:
        longest = graph.add("ReduceMax", lengths, zero, keepdims=1)
    else:
        longest = graph.add("ReduceMax", lengths, axes=[0], keepdims=1)
    cut = graph.add("Slice", all_ids, zero, longest, graph.const([1], np.int64))
    return graph.cast(cut, "int32")


def _body(graph: Graph, texts: str, facts: Mapping[str, Any], spec: Any) -> onnx.GraphProto:
    """Return the body of the loop: the ids of one text, filled up with `PADDING` to max_length."""
    from onnx import TensorProto, helper

    body = Graph(graph.opset, scope="text/")
    place, going = body.name("place"), body.name("going")
    one = body.const([1], np.int64)
    text = body.add("Gather", texts, body.add("Reshape", place, one), axis=0)
    ids = body.add_many("BertTokenizer", [text], 3, domain=DOMAIN, **_attributes(facts, spec))[0]
    ids = _truncated(body, ids, special=facts["post_processor"] is not None, spec=spec)
    filler = body.const(np.full(spec.max_length, PADDING), np.int64)
    filled = body.add("Slice", body.add("Concat", ids, filler, axis=0), *_span(body, 0, spec.max_length))
    still = body.add("Identity", going)
    inputs = [
        helper.make_tensor_value_info(place, TensorProto.INT64, []),
        helper.make_tensor_value_info(going, TensorProto.BOOL, []),
    ]
    outputs = [
        helper.make_tensor_value_info(still, TensorProto.BOOL, []),
        helper.make_tensor_value_info(filled, TensorProto.INT64, [spec.max_length]),
    ]
    return helper.make_graph(body.nodes, "one_text", inputs, outputs, body.initializers)


def _span(graph: Graph, start: int, end: int) -> tuple[str, str, str]:
    start_, end_, axis = (graph.const([n], np.int64) for n in (start, end, 0))
    return start_, end_, axis


def _truncated(body: Graph, ids: str, *, special: bool, spec: Any) -> str:
    """Cut off what is longer than max_length, the special tokens at both ends apart.

    A text without a token becomes one token of padding where there are no special ones, as in `modalities`.
    """
    inner = body.add("Slice", ids, *_span(body, 1, -1))
    room = spec.max_length - 2 * special
    span = (0, room) if spec.truncation == "right" else (-room, END)
    inner = body.add("Slice", inner, *_span(body, *span))
    if special:
        first, last = (body.add("Slice", ids, *_span(body, *ends)) for ends in ((0, 1), (-1, END)))
        return body.add("Concat", first, inner, last, axis=0)
    empty = body.add("Equal", body.add("Size", inner), body.const(0, np.int64))
    count = body.add("Reshape", body.cast(empty, "int64"), body.const([1], np.int64))
    pad = body.add("Expand", body.const([spec.pad], np.int64), count)
    return body.add("Concat", inner, pad, axis=0)


def _attributes(facts: Mapping[str, Any], spec: Any) -> dict[str, Any]:
    normalizer = facts["normalizer"]
    lowercase = normalizer["lowercase"] if spec.lowercase is None else spec.lowercase
    accents = normalizer["strip_accents"]
    words = sorted(facts["model"]["vocab"].items(), key=lambda pair: pair[1])
    return {
        "vocab_file": "\n".join(word for word, _ in words),
        "do_lower_case": int(lowercase),
        "strip_accents": int(lowercase if accents is None else accents),
        "tokenize_chinese_chars": int(normalizer["handle_chinese_chars"]),
        "suffix_indicator": facts["model"]["continuing_subword_prefix"],
        "unk_token": facts["model"]["unk_token"],
    }


def _check(facts: Mapping[str, Any], spec: Any) -> None:
    """Refuse tokenizers that `BertTokenizer` is not, each with what it would get wrong."""
    kinds = {part: (facts.get(part) or {}).get("type") for part in ("model", "normalizer", "pre_tokenizer")}
    if kinds != {"model": "WordPiece", "normalizer": "BertNormalizer", "pre_tokenizer": "BertPreTokenizer"}:
        raise ExportError(
            f"level='bytes' knows tokenizers of BERT, and this one is of {', '.join(map(str, kinds.values()))}. Export "
            "with level='tensors', and tokenize with the tokenizer.json beside the file."
        )
    words = facts["model"]["vocab"]
    if sorted(words.values()) != list(range(len(words))) or any("\n" in word for word in words):
        raise ExportError("level='bytes' needs a vocabulary numbered from 0 on, and this one has gaps.")
    for name, wanted in (("prefix", ""), ("fill", False)):
        if getattr(spec, name) != wanted:
            raise ExportError(f"level='bytes' cannot do {name}={getattr(spec, name)!r} of the card; use 'tensors'.")


def library() -> str:
    """Return the path of the operators' library, for sessions that run such a file."""
    return str(need("onnxruntime_extensions", extra="export").get_library_path())
