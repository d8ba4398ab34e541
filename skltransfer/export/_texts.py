"""Texts to token ids inside the file, by onnxruntime-extensions: tokenizers of BERT and byte pairs, in a loop."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from skltransfer._engine.modalities import text as text_samples
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
        If its tokenizer is of another kind, or is used in a way that the operators do not know.
    """
    from onnx import helper

    spec = plan.recipe.input
    facts = json.loads(plan.files()["tokenizer"].read())
    _check(facts, spec)
    graph.domains.setdefault(DOMAIN, 1)
    body = _body(graph, texts, facts, plan)
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


def _body(graph: Graph, texts: str, facts: Mapping[str, Any], plan: Any) -> onnx.GraphProto:
    """Return the body of the loop: the ids of one text, filled up with `PADDING` to max_length."""
    from onnx import TensorProto, helper

    most = plan.recipe.input.max_length
    body = Graph(graph.opset, scope="text/")
    place, going = body.name("place"), body.name("going")
    text = body.add("Gather", texts, body.add("Reshape", place, body.const([1], np.int64)), axis=0)
    ids = _truncated(body, KINDS[facts["model"]["type"]](body, text, facts, plan), plan)
    filler = body.const(np.full(most, PADDING), np.int64)
    filled = _slice(body, body.add("Concat", ids, filler, axis=0), 0, most)
    still = body.add("Identity", going)
    inputs = [
        helper.make_tensor_value_info(place, TensorProto.INT64, []),
        helper.make_tensor_value_info(going, TensorProto.BOOL, []),
    ]
    outputs = [
        helper.make_tensor_value_info(still, TensorProto.BOOL, []),
        helper.make_tensor_value_info(filled, TensorProto.INT64, [most]),
    ]
    return helper.make_graph(body.nodes, "one_text", inputs, outputs, body.initializers)


def _slice(graph: Graph, tensor: str, start: int, end: int) -> str:
    """Add a slice of a row of tokens."""
    return graph.add("Slice", tensor, *(graph.const([n], np.int64) for n in (start, end, 0)))


def _ends(plan: Any) -> tuple[list[int], list[int]]:
    """Return the special tokens that the backbone wants before and behind a text."""
    tokenizer = text_samples.open_tokenizer(plan.files()["tokenizer"], plan.recipe.input)
    encoding = tokenizer.encode("a")
    places = [place for place, special in enumerate(encoding.special_tokens_mask) if not special]
    return encoding.ids[: places[0]], encoding.ids[places[-1] + 1 :]


def _truncated(body: Graph, ids: str, plan: Any) -> str:
    """Cut off what is longer than max_length, and put special tokens at both ends.

    A text without a token becomes one token of padding where there are no special ones, as in `modalities`.
    """
    spec, (first, last) = plan.recipe.input, _ends(plan)
    room = spec.max_length - len(first) - len(last)
    inner = _slice(body, ids, *((0, room) if spec.truncation == "right" else (-room, END)))
    if first or last:
        return body.add("Concat", body.const(first, np.int64), inner, body.const(last, np.int64), axis=0)
    empty = body.add("Equal", body.add("Size", inner), body.const(0, np.int64))
    count = body.add("Reshape", body.cast(empty, "int64"), body.const([1], np.int64))
    return body.add("Concat", inner, body.add("Expand", body.const([spec.pad], np.int64), count), axis=0)


def _bert(body: Graph, text: str, facts: Mapping[str, Any], plan: Any) -> str:
    """Add BERT's tokenizer; the special token that it puts at each end is taken off."""
    spec, normalizer = plan.recipe.input, facts["normalizer"]
    lowercase = normalizer["lowercase"] if spec.lowercase is None else spec.lowercase
    accents = normalizer["strip_accents"]
    words = sorted(facts["model"]["vocab"].items(), key=lambda pair: pair[1])
    choices = {
        "vocab_file": "\n".join(word for word, _ in words),
        "do_lower_case": int(lowercase),
        "strip_accents": int(lowercase if accents is None else accents),
        "tokenize_chinese_chars": int(normalizer["handle_chinese_chars"]),
        "suffix_indicator": facts["model"]["continuing_subword_prefix"],
        "unk_token": facts["model"]["unk_token"],
    }
    return _slice(body, body.add_many("BertTokenizer", [text], 3, domain=DOMAIN, **choices)[0], 1, -1)


def _bpe(body: Graph, text: str, facts: Mapping[str, Any], plan: Any) -> str:
    """Add a tokenizer of byte pairs, which reads tokenizer.json itself, and knows no template of special tokens."""
    content = json.dumps({**facts, "truncation": None, "padding": None}, ensure_ascii=False)
    settings = json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False})
    ids = body.add("HfJsonTokenizer", text, domain=DOMAIN, tokenizer_vocab=content, tokenizer_config=settings)
    return body.add("Reshape", ids, body.const([-1], np.int64))


#: Operators by the kind of tokenizer.json's model.
KINDS: dict[str, Callable[[Graph, str, Mapping[str, Any], Any], str]] = {"WordPiece": _bert, "BPE": _bpe}


def _check(facts: Mapping[str, Any], spec: Any) -> None:
    """Refuse tokenizers that the operators are not, and choices that they do not know."""
    kinds = {part: (facts.get(part) or {}).get("type") for part in ("model", "normalizer", "pre_tokenizer")}
    bert = {"model": "WordPiece", "normalizer": "BertNormalizer", "pre_tokenizer": "BertPreTokenizer"}
    if kinds != bert and kinds["model"] != "BPE":
        raise ExportError(
            f"level='bytes' knows tokenizers of BERT and byte pairs (BPE), and this one is of "
            f"{', '.join(map(str, kinds.values()))}. Export with level='tensors', and tokenize with the tokenizer.json "
            "beside the file."
        )
    words = facts["model"]["vocab"]
    if kinds == bert and (sorted(words.values()) != list(range(len(words))) or any("\n" in word for word in words)):
        raise ExportError("level='bytes' needs a vocabulary numbered from 0 on, and this one has gaps.")
    unknown = {"prefix": "", "fill": False, **({"lowercase": None} if kinds != bert else {})}
    for name, wanted in unknown.items():
        if getattr(spec, name) != wanted:
            raise ExportError(f"level='bytes' cannot do {name}={getattr(spec, name)!r} of the card; use 'tensors'.")


def library() -> str:
    """Return the path of the operators' library, for sessions that run such a file."""
    return str(need("onnxruntime_extensions", extra="export").get_library_path())
