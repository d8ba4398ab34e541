"""Add nodes to a graph, at its front or at its end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from skltransfer.errors import ModelError

if TYPE_CHECKING:
    import onnx

INPUT, OUTPUT = "skltransfer_samples", "skltransfer_rows"

#: Oldest operator set in which the operators that are added broadcast their arguments as NumPy does.
OLDEST_OPSET = 8


def replace(repeated: Any, content: Sequence[Any]) -> None:
    """Replace the content of a repeated field; it is copied first, because it may be part of the field."""
    keep = [type(item).FromString(item.SerializeToString()) for item in content]
    del repeated[:]
    repeated.extend(keep)


def keep(repeated: Any, wanted: Callable[[Any], bool]) -> None:
    """Keep the wanted items of a repeated field, in place: weights are too large to copy."""
    for i in reversed([i for i, item in enumerate(repeated) if not wanted(item)]):
        del repeated[i]


def opset(model: onnx.ModelProto) -> int:
    """Return the version of the ONNX operator set that a model uses."""
    return max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)


class Editor:
    """Adds nodes to a graph, at its front or at its end.

    Parameters
    ----------
    model : onnx.ModelProto
        Changed in place.
    batch : str, int or None
        Length of the batch axis of the graph's input and output: a symbol, a number, or unknown.
    """

    def __init__(self, model: onnx.ModelProto, batch: str | int | None) -> None:
        self.graph = model.graph
        self.batch = batch
        self.opset = opset(model)
        if self.opset < OLDEST_OPSET:
            raise ModelError(
                f"The graph is of operator set {self.opset}, older than {OLDEST_OPSET}; convert it with: "
                "onnx.version_converter.convert_version(model, 17)"
            )
        self._count = 0
        self._front: list[onnx.NodeProto] = []
        #: float32 (n, tokens), 1 for a token and 0 for padding; None where nothing is padded.
        self.mask: str | None = None

    def const(self, value: np.ndarray) -> str:
        """Add a constant and return its name."""
        from onnx import numpy_helper

        self.graph.initializer.append(numpy_helper.from_array(value, self._name()))
        return str(self.graph.initializer[-1].name)

    def initialize(self, name: str, value: np.ndarray) -> None:
        """Turn an input of the graph into a constant."""
        from onnx import numpy_helper

        self.graph.initializer.append(numpy_helper.from_array(value, name))

    def add(self, op: str, *inputs: str, output: str = "", front: bool = False, **attributes: Any) -> str:
        """Add a node and return the name of its output."""
        from onnx import helper

        node = helper.make_node(op, inputs, [output or self._name()], **attributes)
        (self._front if front else self.graph.node).append(node)
        return str(node.output[0])

    def reduce(self, op: str, tensor: str, axes: Sequence[int], *, keepdims: bool = False) -> str:
        """Add a reduction; its axes are an input since opset 18, and an attribute before."""
        if self.opset >= 18:
            return self.add(op, tensor, self.const(np.array(axes, np.int64)), keepdims=int(keepdims))
        return self.add(op, tensor, axes=list(axes), keepdims=int(keepdims))

    def row(self, tensor: str) -> str:
        """Reshape (n, tokens) to (n, 1, tokens)."""
        return self.add("Reshape", tensor, self.const(np.array([0, 1, -1])))

    def column(self, tensor: str) -> str:
        """Reshape (n, tokens) to (n, tokens, 1)."""
        return self.add("Reshape", tensor, self.const(np.array([0, -1, 1])))

    def flat(self, tensor: str) -> str:
        """Reshape (n, 1, d) to (n, d)."""
        return self.add("Reshape", tensor, self.const(np.array([0, -1])))

    def finish_front(self) -> None:
        """Insert the nodes added at the front before all others."""
        replace(self.graph.node, [*self._front, *self.graph.node])
        self._front = []

    def cast(self, tensor: str, dtype: str, *, output: str = "", front: bool = False) -> str:
        """Add a cast to a type of NumPy's name."""
        return self.add("Cast", tensor, to=_onnx_type(dtype), output=output, front=front)

    def set_input(self, dtype: str, shape: Sequence[int | str | None]) -> str:
        """Replace the inputs of the graph by `INPUT`, of a type of NumPy's name, and return its name."""
        from onnx import helper

        replace(self.graph.input, [helper.make_tensor_value_info(INPUT, _onnx_type(dtype), [self.batch, *shape])])
        return INPUT

    def _name(self) -> str:
        self._count += 1
        return f"skltransfer_{self._count}"


def _onnx_type(dtype: str) -> int:
    from onnx import helper

    return int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
