"""The tail of a graph: what lies behind a tensor, what of it may be trained, and trained weights put back.

A tensor is a valid cut if what lies behind it needs nothing else that was learned: no weight reaches the output past
it. Masks and shapes may, for they can be made again without the trunk.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from skltransfer._engine.graph._cut import reads
from skltransfer._engine.graph._editor import INPUT, OUTPUT, keep
from skltransfer._engine.graph._precision import float16_to_float32

if TYPE_CHECKING:
    import onnx

#: Numbers of a constant that a side path may read: scales and shapes have fewer, weights have more.
SMALL = 64
#: Largest number of a weight; masks hold larger ones, or infinity.
LARGEST = 1e4
#: Inputs that hold weights, by operator.
WEIGHTS: dict[str, tuple[int, ...]] = {
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "Gemm": (0, 1, 2),
    "MatMul": (0, 1),
    "LayerNormalization": (1, 2),
    "BatchNormalization": (1, 2),
    "InstanceNormalization": (1, 2),
    "GroupNormalization": (1, 2),
    "PRelu": (1,),
    "Add": (0, 1),
    "Mul": (0, 1),
}
#: Operators through which a weight reaches the node that uses it.
PASSED = {"Cast", "Transpose", "Reshape", "Identity", "Unsqueeze", "Squeeze"}
#: Operators that look at the shape of a tensor, not at its numbers.
SHAPES = {"Shape", "Size"}
#: Names that are given to what is added around a graph.
OURS = "skltransfer_"


@dataclass(frozen=True)
class Tail:
    """Part of a graph that lies behind a tensor.

    Attributes
    ----------
    cut : str
        The tensor.
    nodes : list of NodeProto
        Everything the rows need, masks and shapes included, in the order of the graph.
    behind : set of str
        Tensors that depend on the cut.
    weights : tuple of str
        Initializers that may be trained.
    """

    cut: str
    nodes: list[onnx.NodeProto]
    behind: set[str]
    weights: tuple[str, ...]


class Parts:
    """A graph that was built for rows, to be taken apart.

    Parameters
    ----------
    model : onnx.ModelProto
        From `build`, in float32.
    masked : bool
        Whether the samples say where padding is, so that side paths may look at them.
    """

    def __init__(self, model: onnx.ModelProto, *, masked: bool) -> None:
        self.model, self._masked = model, masked
        #: Tensors to the nodes that make them, in the order of the graph.
        self.made = {name: node for node in model.graph.node for name in node.output if not name.startswith(OURS)}
        self._maker = {name: node for node in model.graph.node for name in node.output}
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer}

    def tails(self, names: Sequence[str]) -> list[Tail]:
        """Return the tails of those tensors that are valid cuts and have something to train behind them."""
        found = (self.tail(name) for name in names if name in self.made)
        return [tail for tail in found if tail is not None and tail.weights]

    def tail(self, cut: str) -> Tail | None:
        """Return what lies behind a tensor, or None if that is not all: other weights reach the rows past it."""
        needed = self._needed(cut)
        nodes = [node for node in self.model.graph.node if needed.intersection(node.output)]
        behind = {cut}
        for node in nodes:
            if behind.intersection(reads(node)):
                behind.update(node.output)
        if OUTPUT not in behind or not self._is_clean(nodes, behind):
            return None
        return Tail(cut, nodes, behind, tuple(dict.fromkeys(self._weights(nodes, behind))))

    def joins(self) -> list[str]:
        """List the tensors where paths of activations meet: the ends of residual blocks, and concatenations."""
        live = {INPUT}
        for node in self.model.graph.node:
            if live.intersection(node.input) and node.op_type not in SHAPES:
                live.update(node.output)
        return [
            node.output[0]
            for node in self.model.graph.node
            if node.op_type in ("Add", "Concat") and len(live.intersection(node.input)) > 1
        ]

    def _needed(self, cut: str) -> set[str]:
        """Return the tensors that the rows need if the cut is given."""
        needed, waiting = {cut}, [OUTPUT]
        while waiting:
            name = waiting.pop()
            if name not in needed:
                needed.add(name)
                waiting += reads(self._maker[name]) if name in self._maker else []
        return needed - {cut}

    def _is_clean(self, nodes: Sequence[onnx.NodeProto], behind: set[str]) -> bool:
        """Return whether side paths read no weights, and of the samples no more than where they end."""
        looked = {INPUT}
        for node in nodes:
            if behind.intersection(node.output):
                if not self._masked and looked.intersection(reads(node)):
                    return False
                continue
            if not looked.intersection(reads(node)) or node.op_type in SHAPES:
                continue
            if any(_count(self.constants[name]) > SMALL for name in reads(node) if name in self.constants):
                return False
            looked.update(node.output)
        return True

    def _weights(self, nodes: Sequence[onnx.NodeProto], behind: set[str]) -> Iterator[str]:
        for node in nodes:
            if not behind.intersection(node.output):
                continue
            for place in WEIGHTS.get(node.op_type, ()):
                name = self._origin(node.input[place]) if place < len(node.input) else None
                if name is not None and self._is_weight(name):
                    yield name

    def _origin(self, name: str) -> str | None:
        """Return the initializer that a tensor is, or is made of by operators that keep its numbers."""
        while name not in self.constants:
            node = self._maker.get(name)
            if node is None or node.op_type not in PASSED:
                return None
            name = node.input[0]
        return name

    def _is_weight(self, name: str) -> bool:
        """Return whether a constant was learned: of several numbers, none of which says "nowhere"."""
        from onnx import numpy_helper

        if name.startswith(OURS) or _count(self.constants[name]) < 2:
            return False
        value = numpy_helper.to_array(self.constants[name])
        return value.dtype == np.float32 and bool((np.abs(value) < LARGEST).all())


def _count(tensor: onnx.TensorProto) -> int:
    return int(np.prod(tensor.dims, dtype=np.int64))


def write_back(model: onnx.ModelProto, weights: Mapping[str, np.ndarray], behind: set[str]) -> None:
    """Put trained weights into the graph they came from, in place; all others stay as they are, byte for byte.

    A weight that the trunk shares becomes two. One that is kept in float16 and widened before it is used is kept in
    float32; where it is used in float16, the whole graph becomes float32.

    Parameters
    ----------
    model : onnx.ModelProto
        As the backbone's own file holds it.
    weights : mapping of str to ndarray, float32
        By the names of initializers.
    behind : set of str
        From `Tail`.
    """
    from onnx import TensorProto, numpy_helper

    if any(_is_used_in_float16(model, name) for name in weights):
        float16_to_float32(model)
    held = {tensor.name: tensor for tensor in model.graph.initializer}
    casts = {
        node.output[0]: node.input[0]
        for node in model.graph.node
        if node.op_type == "Cast" and node.input[0] in weights and held[node.input[0]].data_type == TensorProto.FLOAT16
    }
    users = [node for node in model.graph.node if behind.intersection(node.output)]
    kept = {name for node in model.graph.node if not behind.intersection(node.output) for name in node.input}
    kept -= {casts[node.output[0]] for node in model.graph.node if node.output[0] in casts}
    for cast, name in casts.items():
        if any(cast in node.input for node in model.graph.node if not behind.intersection(node.output)):
            kept.add(name)
    new = {name: f"{name}_tuned" if name in kept else name for name in weights}
    renamed = {**new, **{cast: new[name] for cast, name in casts.items()}}
    for node in users:
        node.input[:] = [renamed.get(name, name) for name in node.input]
    for name, value in weights.items():
        tensor = numpy_helper.from_array(np.ascontiguousarray(value, np.float32), new[name])
        if name in kept:
            model.graph.initializer.append(tensor)
        else:
            held[name].CopyFrom(tensor)
    gone = {cast for cast, name in casts.items() if name not in kept}
    keep(model.graph.node, lambda node: node.output[0] not in gone)


def _is_used_in_float16(model: onnx.ModelProto, name: str) -> bool:
    from onnx import TensorProto

    kinds = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    if kinds[name] != TensorProto.FLOAT16:
        return False
    return not all(
        node.op_type == "Cast" and node.attribute[0].i == TensorProto.FLOAT
        for node in model.graph.node
        if name in node.input
    )
