"""Hostile graphs and tokenizers: refused with a name in time, whoever pinned them, while the process goes on."""

import contextlib
import itertools
import json
import resource
import time

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from skltransfer import PretrainedEmbedder, testing
from skltransfer._engine import hub
from skltransfer.errors import ModelError, SampleError
from tests import graphs, hostile_graphs
from tests.graphs import node

SECONDS = 2.0


def endless_on(condition: str) -> onnx.ModelProto:
    """A loop that ends at once on zeros, and not in this life on samples that a condition picks."""
    graph = hostile_graphs.endless()
    tests = {
        "not zero": [node("Abs", ["x"], ["size"]), node("ReduceMax", ["size"], ["most"], keepdims=0)],
        "above 100": [node("ReduceMax", ["x"], ["largest"], keepdims=0), node("Sub", ["largest", "hundred"], ["most"])],
        "between 0 and 1": [node("ReduceMax", ["x"], ["most"], keepdims=0)],
    }[condition]
    more = [*tests, node("Greater", ["most", "nothing"], ["asked"])]
    loop = graph.graph.node[-1]
    loop.input[1] = "asked"
    graph.graph.node.remove(loop)
    graph.graph.node.extend([*more, loop])
    for name, value in {"nothing": 0.0, "hundred": 100.0}.items():
        graph.graph.initializer.append(onnx.numpy_helper.from_array(np.array(value, np.float32), name))
    return graph


def many_nodes(count: int = 5_000) -> onnx.ModelProto:
    names = ["x", *(f"n{i}" for i in range(count - 1)), "rows"]
    return graphs.model([node("Neg", [a], [b]) for a, b in itertools.pairwise(names)], ["n", 4], "rows")


def repeated(kind: str) -> onnx.ModelProto:
    """Ask for far more memory than there is, by a constant or by what is computed."""
    sizes = np.array([2**20, 2**20, 1] if kind == "constant" else [2**16, 2**16, 2**4])
    nodes = [
        node("ReduceSum", ["x"], ["sum"], keepdims=1),
        node(
            "ConstantOfShape" if kind == "constant" else "Expand",
            ["sizes"] if kind == "constant" else ["sum", "sizes"],
            ["big"],
        ),
        node("ReduceMax", ["big"], ["one"], keepdims=0),
        node("Add", ["x", "one"], ["rows"]),
    ]
    return graphs.model(nodes, ["n", 4], "rows", sizes=sizes)


def misdeclared(change) -> onnx.ModelProto:
    graph = graphs.products(4, 4, 1)
    change(graph)
    return graph


def _types(graph):
    graph.graph.input[0].type.tensor_type.elem_type = TensorProto.STRING


def _negative(graph):
    graph.graph.initializer[0].dims[:] = [-1, 5]


def _huge(graph):
    graph.graph.initializer[0].dims[:] = [2**40, 2**20]


def _no_input(graph):
    del graph.graph.input[:]


def _self(graph):
    graph.graph.node[0].input[0] = graph.graph.node[0].output[0]


def _twice(graph):
    graph.graph.node.append(graph.graph.node[0])


def _unknown(graph):
    graph.graph.node[0].op_type = "NoSuchOperator"


def _opset(graph):
    graph.opset_import[0].version = -5


def _long_name(graph):
    graph.graph.node[0].name = "\x1b[31m" + "a" * 10**6


def _nul(graph):
    graph.graph.input[0].name = "x\0y"


GRAPHS = {
    "endless": hostile_graphs.endless,
    "endless unless zero": lambda: endless_on("not zero"),
    "endless on pixels": lambda: endless_on("above 100"),
    "endless on normals": lambda: endless_on("between 0 and 1"),
    "memory, computed": hostile_graphs.hungry,
    "memory, constant": lambda: repeated("constant"),
    "memory, expanded": lambda: repeated("expanded"),
    "custom domain": hostile_graphs.custom_domain,
    "engine context": hostile_graphs.engine_context,
    "functions that double": hostile_graphs.doubling,
    "function that calls itself": hostile_graphs.recursive,
    "nested": hostile_graphs.nested,
    "many nodes": many_nodes,
    "strings": lambda: misdeclared(_types),
    "negative axis": lambda: misdeclared(_negative),
    "huge axis": lambda: misdeclared(_huge),
    "no input": lambda: misdeclared(_no_input),
    "node that reads itself": lambda: misdeclared(_self),
    "node that is there twice": lambda: misdeclared(_twice),
    "unknown operator": lambda: misdeclared(_unknown),
    "operator set -5": lambda: misdeclared(_opset),
    "NUL in a name": lambda: misdeclared(_nul),
}
#: Odd, and may be run.
HARMLESS = {"many nodes", "nested"}
FILES = {
    "empty file": b"",
    "text": b"not a graph" * 100,
    "zeros": bytes(10_000),
    "a wire type that does not exist": b"\xff" * 5000,
    "nested messages": b"\x3a\x7e" * 60,
}
QUICK = {"endless unless zero", "memory, computed", "custom domain", "huge axis", "text"}


def saved(content: bytes, folder, pin: bool):
    """A model folder as downloaded: with or without a card in which its author pins it."""
    path = testing.save_backbone(testing.array_backbone(), folder, "model", pin=pin)
    path.write_bytes(content)
    if pin:
        card = json.loads(path.with_suffix(".card.json").read_text())
        card["files"]["model"] = {"path": "model.onnx", "sha256": hub.sha256(path), "bytes": len(content)}
        path.with_suffix(".card.json").write_text(json.dumps(card))
    return path


CASES = [
    pytest.param(
        name,
        pin,
        id=f"{name}-{'pinned by its author' if pin else 'unpinned'}",
        marks=[] if name in QUICK else [pytest.mark.slow],
    )
    for name in (*GRAPHS, *FILES)
    for pin in (False, True)
]


@pytest.mark.parametrize(("name", "pin"), CASES)
def test_hostile_graph_is_refused_in_time_and_harms_nobody(tmp_path, monkeypatch, name, pin):
    monkeypatch.setenv("SKLTRANSFER_TRIAL_SECONDS", str(SECONDS))
    content = FILES[name] if name in FILES else GRAPHS[name]().SerializeToString()
    path = saved(content, tmp_path, pin)
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with contextlib.nullcontext() if name in HARMLESS else pytest.raises(ModelError, match=r"^.{1,2000}$"):
        rows = PretrainedEmbedder(path).transform(np.ones((2, 4), np.float32))
        assert np.isfinite(rows).all()
    assert time.monotonic() - start < 6 * SECONDS + 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 600 * 1024


# ---------------------------------------------------------------------------------------------------------------------
# Tokenizers


def tokenizer(change) -> str:
    data = json.loads(testing.word_tokenizer().to_str())
    change(data)
    return json.dumps(data)


TOKENIZERS = {
    "no JSON": "{",
    "no tokenizer": "{}",
    "nested": "[" * 100_000,
    "another model": tokenizer(lambda data: data.update(model={"type": "BPE", "vocab": {}, "merges": [["a", "b"]]})),
    "replace that grows": tokenizer(
        lambda data: data.update(
            normalizer={
                "type": "Sequence",
                "normalizers": [{"type": "Replace", "pattern": {"String": "a"}, "content": "aaaaaaaa"}] * 12,
            }
        )
    ),
    "pattern that backtracks": tokenizer(
        lambda data: data.update(
            pre_tokenizer={
                "type": "Split",
                "pattern": {"Regex": "(a+)+$|(a|a)*b"},
                "behavior": "Isolated",
                "invert": False,
            }
        )
    ),
    "ids out of range": tokenizer(lambda data: data["model"].update(vocab={"[UNK]": 2**31 - 1})),
}
QUICK_TOKENIZERS = {"no tokenizer", "replace that grows"}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n in QUICK_TOKENIZERS else [pytest.mark.slow]) for n in TOKENIZERS]
)
def test_hostile_tokenizer_is_refused_in_time_and_harms_nobody(tmp_path, monkeypatch, name):
    monkeypatch.setenv("SKLTRANSFER_TRIAL_SECONDS", str(SECONDS))
    folder = testing.save_text_backbone(testing.text_backbone(), tmp_path)
    (folder / "tokenizer.json").write_text(TOKENIZERS[name])
    card = json.loads((folder / "card.json").read_text())
    card["files"]["tokenizer"] = {"path": "tokenizer.json", "sha256": hub.sha256(folder / "tokenizer.json"), "bytes": 1}
    (folder / "card.json").write_text(json.dumps(card))
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    # A pattern backtracks on some texts only: the limit of steps of the library ends it, and the text is named.
    with pytest.raises(SampleError if name == "pattern that backtracks" else ModelError):
        PretrainedEmbedder(folder).transform(["one two", "a" * 20_000 + "c", "three"])
    assert time.monotonic() - start < 6 * SECONDS + 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 600 * 1024
