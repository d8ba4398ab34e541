"""A backbone of texts: states of tokens from a table, pooled."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from skltransfer.testing._graph import make_graph
from skltransfer.testing._words import CLS, SEP, TABLE, VOCABULARY

if TYPE_CHECKING:
    import onnx

Floats = npt.NDArray[np.float64]

#: Names and types of the inputs that the usual exporters of BERT write.
BERT_INPUTS = {"input_ids": "int64", "attention_mask": "int64", "token_type_ids": "int64"}
#: How the states of a text become its row, by the name of the pooling.
POOLED: dict[str, Callable[[Floats], Floats]] = {
    "mean": lambda s: s.mean(axis=0),
    "max": lambda s: s.max(axis=0),
    "cls": lambda s: s[0],
    "last": lambda s: s[-1],
    "gem": lambda s: np.cbrt((np.maximum(s, 1e-6) ** 3).mean(axis=0)),
}


def text_backbone(inputs: Mapping[str, str] = BERT_INPUTS, table: npt.NDArray[np.float32] = TABLE) -> onnx.ModelProto:
    """Build a backbone of texts: the state of a token is its row of a table.

    Its layers are ``states``, the output, float32 (n, tokens, d), and, where it takes a mask, ``embedding``, float32
    (n, d), the sum of the states of real tokens, and ``context``, float32 (n, tokens, d), the states plus that sum: a
    token that knows its text.

    Parameters
    ----------
    inputs : mapping of str to str
        Names and types of the inputs; the mask is told by "mask" in its name, token types by "type" or "segment".
        Token types other than zero would add 100 to a state.
    table : ndarray of float32, shape (tokens, d)
        State of every token.

    Returns
    -------
    onnx.ModelProto
        With inputs of shape (n, tokens).
    """
    from onnx import TensorProto, helper

    node = helper.make_node
    mask = next((name for name in inputs if "mask" in name), None)
    types = next((name for name in inputs if "type" in name or "segment" in name), None)
    ids = next(name for name in inputs if name not in (mask, types))
    nodes = [node("Gather", ["table", ids], ["states" if types is None else "words"])]
    weights: dict[str, Any] = {"table": table}
    if types is not None:
        nodes += [node("Gather", ["types", types], ["typed"]), node("Add", ["words", "typed"], ["states"])]
        weights["types"] = np.repeat(np.array([[0], [100]], np.float32), table.shape[1], axis=1)
    shapes = {name: (kind, ("n", "tokens")) for name, kind in inputs.items()}
    if mask is None:
        return make_graph(nodes, shapes, "states", **weights)
    nodes += [
        node("Cast", [mask], ["real"], to=TensorProto.FLOAT),
        node("Unsqueeze", ["real", "axis"], ["row"]),
        node("MatMul", ["row", "states"], ["sum"]),
        node("Squeeze", ["sum", "axis"], ["embedding"]),
        node("Add", ["states", "sum"], ["context"]),
    ]
    several = make_graph(nodes, shapes, "states", axis=np.array([1]), **weights)
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("embedding", "context")]
    several.graph.output.extend(outputs)
    return several


def token_states(text: str, layer: str = "states") -> Floats:
    """Compute by hand what a layer of `text_backbone` holds for a text.

    Parameters
    ----------
    text : str
        Words with white space between them; one that is not in `VOCABULARY` is ``[UNK]``.
    layer : {"states", "context"}
        Which layer.

    Returns
    -------
    ndarray of float64, shape (words + 2, 3)
        A row per token, those of ``[CLS]`` and ``[SEP]`` included.
    """
    ids = [VOCABULARY.get(word, VOCABULARY["[UNK]"]) for word in text.split()]
    states: Floats = TABLE[[CLS, *ids, SEP]].astype(np.float64)
    layers: dict[str, Floats] = {"states": states, "context": states + states.sum(axis=0)}
    return layers[layer]


def text_rows(texts: Sequence[str], pool: str = "mean", layer: str = "states") -> Floats:
    """Compute by hand what `text_backbone` makes of texts.

    Parameters
    ----------
    texts : sequence of str
        Of words with white space between them.
    pool : {"mean", "max", "cls", "last", "gem"}
        How the states of a text become its row.
    layer : {"states", "context"}
        Which layer.

    Returns
    -------
    ndarray of float64, shape (n, 3)
        The pooled states.
    """
    return np.array([POOLED[pool](token_states(text, layer)) for text in texts])
