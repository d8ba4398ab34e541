"""`Graph`, the ONNX graph that is written: nodes and constants are added, other graphs put in under new names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from skltransfer._engine.graph import reads
from skltransfer.errors import ExportError

if TYPE_CHECKING:
    import onnx

#: Name of the free axis of samples.
BATCH = "batch"
#: Domain of the operators of classical machine learning, which some runtimes lack.
ML = "ai.onnx.ml"


class Rows(NamedTuple):
    """A tensor of the graph, float32 (batch, width).

    Attributes
    ----------
    tensor : str
        Its name.
    width : int
        Number of columns.
    """

    tensor: str
    width: int


class Graph:
    """A graph under construction.

    Parameters
    ----------
    opset : int
        Version of ONNX's operators.
    pure : bool
        Whether operators of `ML` are refused.
    scope : str
        What new names begin with: of the body of a loop another than of the graph around it.
    """

    def __init__(self, opset: int, *, pure: bool = False, scope: str = "") -> None:
        self.opset, self.pure, self.scope = opset, pure, scope
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        #: Versions of operator sets by domain.
        self.domains: dict[str, int] = {"": opset}
        self.functions: list[onnx.FunctionProto] = []
        self._count = 0

    def name(self, word: str) -> str:
        """Return a new name; its slash keeps it apart from inputs and outputs, see `_inputs.named`."""
        self._count += 1
        return f"{self.scope}{word}/{self._count}"

    def const(self, value: npt.ArrayLike, dtype: Any = np.float32) -> str:
        """Add a constant and return its name."""
        from onnx import numpy_helper

        array = np.asarray(value)
        array = array.astype(object if array.dtype.kind in "OU" else dtype)
        self.initializers.append(numpy_helper.from_array(array, self.name("const")))
        return str(self.initializers[-1].name)

    def add(self, op: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Add a node with one output and return its name."""
        return self.add_many(op, inputs, 1, domain=domain, **attributes)[0]

    def add_many(self, op: str, inputs: Sequence[str], count: int, *, domain: str = "", **attributes: Any) -> list[str]:
        """Add a node with several outputs and return their names."""
        from onnx import helper

        outputs = [self.name(op.lower()) for _ in range(count)]
        self.nodes.append(helper.make_node(op, list(inputs), outputs, name=outputs[0], domain=domain, **attributes))
        return outputs

    def cast(self, tensor: str, dtype: str) -> str:
        """Add a cast to a type of NumPy's name."""
        return self.add("Cast", tensor, to=_onnx_type(dtype))

    def input(self, name: str, dtype: str, shape: Sequence[int | str | None]) -> str:
        """Add an input and return its name."""
        from onnx import helper

        self.inputs.append(helper.make_tensor_value_info(name, _onnx_type(dtype), list(shape)))
        return name

    def output(self, name: str, tensor: str, dtype: str, shape: Sequence[int | str | None]) -> None:
        """Call a tensor an output of the graph."""
        from onnx import helper

        self.nodes.append(helper.make_node("Identity", [tensor], [name], name=f"output/{name}"))
        self.outputs.append(helper.make_tensor_value_info(name, _onnx_type(dtype), [BATCH, *shape]))

    def inline(self, model: onnx.ModelProto, fed: Mapping[str, str]) -> dict[str, str]:
        """Put the nodes of a model in.

        Parameters
        ----------
        model : onnx.ModelProto
            Of this graph's version of operators; its tensors get new names, in place.
        fed : mapping of str to str
            Tensor of this graph for each input of the model.

        Returns
        -------
        dict of str to str
            Tensor of this graph for each output of the model.
        """
        self._merge_domains(model)
        outputs = [value.name for value in model.graph.output]
        prefix = self.name("part") + "/"
        _rename(model.graph, prefix, fed)
        self.nodes.extend(model.graph.node)
        self.initializers.extend(model.graph.initializer)
        self.functions.extend(model.functions)
        return {name: fed.get(name, prefix + name) for name in outputs}

    def _merge_domains(self, model: onnx.ModelProto) -> None:
        for entry in model.opset_import:
            domain = "" if entry.domain == "ai.onnx" else entry.domain
            known = self.domains.setdefault(domain, entry.version)
            if known != entry.version and domain != ML:
                raise ExportError(
                    f"Two parts need version {known} and version {entry.version} of the operators "
                    f"{domain or 'ai.onnx'!r}. Convert the backbone with onnx.version_converter, or pass "
                    f"opset={max(known, entry.version)}."
                )
            self.domains[domain] = max(known, entry.version)

    def model(self, metadata: Mapping[str, str]) -> onnx.ModelProto:
        """Return the finished model: checked, its free axes named, its IR version the oldest that has the operators.

        Raises
        ------
        ExportError
            If it is to be pure and is not, or is invalid.
        """
        import onnx
        from onnx import helper

        used = _domains(self.nodes)
        if self.pure and ML in used:
            raise ExportError(
                f"pure=True: {', '.join(sorted({n.op_type for n in self.nodes if n.domain == ML}))} of {ML} would be "
                "needed. Linear models and MLP need none; choose one of them, or pass pure=False."
            )
        graph = helper.make_graph(_in_order(self.nodes), "skltransfer", self.inputs, self.outputs, self.initializers)
        domains = [helper.make_opsetid(name, version) for name, version in self.domains.items() if name in {"", *used}]
        version = helper.find_min_ir_version_for([d for d in domains if d.domain in ("", ML)], ignore_unknown=True)
        model = helper.make_model(graph, opset_imports=domains, functions=self.functions, producer_name="skltransfer")
        model.ir_version = max(8, version)
        helper.set_model_props(model, dict(metadata))
        try:
            onnx.checker.check_model(model)
        except onnx.checker.ValidationError as err:
            raise ExportError(f"The graph of this pipeline is not valid: {err}") from err
        return model


def _in_order(nodes: list[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """Return nodes so that each stands behind those it reads: converters to float16 append some at the end."""
    maker = {name: place for place, node in enumerate(nodes) for name in node.output}
    needs = {place: {maker[name] for name in reads(node) if name in maker} for place, node in enumerate(nodes)}
    if all(max(before, default=-1) < place for place, before in needs.items()):
        return nodes
    return [nodes[place] for place in TopologicalSorter(needs).static_order()]


def _domains(nodes: Iterable[onnx.NodeProto]) -> set[str]:
    """Return the domains of nodes, those of the bodies of loops included."""
    bodies = [a.g for node in nodes for a in node.attribute if a.HasField("g")]
    return {node.domain for node in nodes}.union(*(_domains(body.node) for body in bodies))


def _onnx_type(dtype: str) -> int:
    from onnx import TensorProto, helper

    return int(TensorProto.STRING if dtype == "str" else helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


def _rename(graph: onnx.GraphProto, prefix: str, fed: Mapping[str, str]) -> None:
    """Put a prefix before every name of a graph and its subgraphs; inputs get the names that feed them."""

    def new(name: str) -> str:
        return fed.get(name, prefix + name) if name else name

    for tensor in graph.initializer:
        tensor.name = new(tensor.name)
    for value in (*graph.input, *graph.output):
        value.name = new(value.name)
    for node in graph.node:
        node.name = new(node.name)
        node.input[:] = map(new, node.input)
        node.output[:] = map(new, node.output)
        for attribute in node.attribute:
            for body in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                _rename(body, prefix, fed)
    del graph.value_info[:]
