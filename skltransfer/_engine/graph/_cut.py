"""The part of a graph that some of its tensors need."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from skltransfer._engine.graph._editor import keep, replace

if TYPE_CHECKING:
    import onnx


def cut(model: onnx.ModelProto, layers: Sequence[str]) -> None:
    """Keep the nodes and weights that the layers need, and make the layers the outputs."""
    import onnx

    graph = model.graph
    maker = {name: node for node in graph.node for name in node.output}
    needed: set[str] = set()
    waiting = list(layers)
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting += reads(maker[name]) if name in maker else []
    keep(graph.node, lambda node: bool(needed.intersection(node.output)))
    keep(graph.initializer, lambda tensor: tensor.name in needed)
    keep(graph.sparse_initializer, lambda tensor: tensor.values.name in needed)
    keep(graph.input, lambda value: value.name in needed)
    replace(graph.output, [onnx.ValueInfoProto(name=name) for name in layers])
    del graph.value_info[:]
    del model.training_info[:]


def reads(node: onnx.NodeProto) -> list[str]:
    """List the tensors a node reads, those its subgraphs take from outside included."""
    names = list(node.input)
    waiting = [a.g for a in node.attribute if a.HasField("g")] + [g for a in node.attribute for g in a.graphs]
    while waiting:
        body = waiting.pop()
        for inner in body.node:
            names += inner.input
            waiting += [a.g for a in inner.attribute if a.HasField("g")] + [
                g for a in inner.attribute for g in a.graphs
            ]
        names += [o.name for o in body.output]
    return [name for name in names if name]
