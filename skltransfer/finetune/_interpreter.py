"""The tail of an ONNX graph as a module of torch, node by node.

No converter is used: those that exist do not know the operators of today's exports, and give weights other names. Here
every weight keeps the name of its initializer, under which it is put back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from skltransfer._engine import graph
from skltransfer.errors import TuningError, need
from skltransfer.finetune import _operators

if TYPE_CHECKING:
    import onnx


def module(parts: graph.Parts, tail: graph.Tail) -> Any:
    """Return the tail as a module.

    Parameters
    ----------
    parts : graph.Parts
        The graph, in float32.
    tail : graph.Tail
        Its tail.

    Returns
    -------
    torch.nn.Module
        Its `forward` takes a dictionary of tensors by name: the cut, and `graph.INPUT` where masks or shapes are made
        of it. It returns rows (n, ...). Its parameters are the tail's weights, in their order, see `names`.

    Raises
    ------
    TuningError
        If an operator is not known.
    """
    torch = need("torch", extra="torch")
    table = _operators.table()
    unknown = sorted({_label(node) for node in tail.nodes if node.op_type not in table or node.domain not in DOMAINS})
    if unknown:
        raise TuningError(
            f"What lies behind {tail.cut!r} cannot be trained: it has operators that are not known here, "
            f"{', '.join(unknown)}. Choose fewer blocks, or another backbone."
        )

    class Interpreter(torch.nn.Module):  # type: ignore[misc,name-defined,unused-ignore]  # torch may be absent
        """Runs nodes in their order."""

        def __init__(self) -> None:
            super().__init__()
            self.names = list(tail.weights)
            self.weights = torch.nn.ParameterList(
                torch.nn.Parameter(_tensor(parts.constants[name])) for name in tail.weights
            )
            steps = [(table[one.op_type], _attributes(one), list(one.input), list(one.output)) for one in tail.nodes]
            self._fixed = _fixed(parts, tail, steps)
            self._steps = [step for step in steps if not set(step[3]) <= self._fixed.keys()]

        def forward(self, given: Mapping[str, Any]) -> Any:
            values: dict[str, Any] = {**self._fixed, **dict(zip(self.names, self.weights, strict=True)), **given}
            for function, attributes, inputs, outputs in self._steps:
                made = function(attributes, *(values[name] if name else None for name in inputs))
                values.update(zip(outputs, made if isinstance(made, (tuple, list)) else (made,), strict=False))
            return values[graph.OUTPUT]

        def _apply(self, function: Any, recurse: bool = True) -> Any:  # moves what is fixed along with the weights
            self._fixed = {name: function(value) for name, value in self._fixed.items()}
            return super()._apply(function, recurse)

    return Interpreter()


#: Names of the standard set of operators.
DOMAINS = ("", "ai.onnx")


def _label(node: onnx.NodeProto) -> str:
    return node.op_type if node.domain in DOMAINS else f"{node.domain}.{node.op_type}"


def _tensor(proto: onnx.TensorProto) -> Any:
    from onnx import numpy_helper

    return need("torch", extra="torch").from_numpy(np.array(numpy_helper.to_array(proto)))


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """Return the attributes of a node as values of Python; tensors as tensors of torch."""
    from onnx import AttributeProto, helper

    values: dict[str, Any] = {"outputs": len(node.output)}
    for attribute in node.attribute:
        value = helper.get_attribute_value(attribute)
        if attribute.type == AttributeProto.TENSOR:
            value = _tensor(value)
        values[attribute.name] = value.decode() if isinstance(value, bytes) else value
    if node.op_type == "Constant" and "value" not in values:
        (name,) = (attribute.name for attribute in node.attribute)
        values["value"] = need("torch", extra="torch").tensor(values[name])
    return values


def _fixed(parts: graph.Parts, tail: graph.Tail, steps: list[Any]) -> dict[str, Any]:
    """Return every tensor that depends on neither the samples nor a trained weight."""
    torch = need("torch", extra="torch")
    used = {name for _, _, inputs, _ in steps for name in inputs}
    values = {
        name: _tensor(proto) for name, proto in parts.constants.items() if name in used and name not in tail.weights
    }
    with torch.no_grad():
        for function, attributes, inputs, outputs in steps:
            if all(not name or name in values for name in inputs):
                made = function(attributes, *(values[name] if name else None for name in inputs))
                values.update(zip(outputs, made if isinstance(made, (tuple, list)) else (made,), strict=False))
    return values
