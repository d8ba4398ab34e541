"""Read a graph's facts, after refusing what ONNX Runtime must not see."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skltransfer._engine.graph._write import hollow, weights, without_weights
from skltransfer.cards import GraphInfo, Shape
from skltransfer.errors import ModelError, UnsafeModelError

if TYPE_CHECKING:
    import onnx

#: Operators whose meaning is fixed by ONNX or built into ONNX Runtime.
DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
#: Built-in operators that open files or run foreign code.
REFUSED_OPERATORS = frozenset({"EPContext", "PyOp", "PyOpScan"})
#: Nodes after every function is expanded; the largest honest graphs have some ten thousand.
MAX_NODES = 1_000_000

#: Operators that have weights.
WEIGHED = ("Conv", "Gemm", "MatMul")


def load(path: Path, manifest: Collection[str] = ()) -> onnx.ModelProto:
    """Read a graph with its external data, after `scan` found nothing to refuse.

    Parameters
    ----------
    path : Path
        The ``.onnx`` file.
    manifest : collection of str
        Names of the external data files the card lists; no other is ever opened.

    Raises
    ------
    UnsafeModelError
        See `scan`.
    ModelError
        If the file is not an ONNX graph.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(str(path), format="protobuf", load_external_data=False)
    except (DecodeError, ValueError) as err:
        raise ModelError(f"{path.name!r} is not an ONNX graph: {err}. Its first bytes are {_head(path)!r}.") from err
    if not model.graph.node:
        raise ModelError(f"{path.name!r} holds no graph: no nodes. Its first bytes are {_head(path)!r}.")
    if scan(model, path.parent, manifest):
        _load_external(model, path)
    return model


def _load_external(model: onnx.ModelProto, path: Path) -> None:
    """Take every tensor in: one left outside would be looked for by ONNX Runtime, in the current folder."""
    from onnx.checker import ValidationError
    from onnx.external_data_helper import load_external_data_for_tensor

    for tensor in filter(_is_external, tensors(model)):
        try:
            load_external_data_for_tensor(tensor, str(path.parent))
        except (ValueError, OSError, ValidationError) as err:
            raise ModelError(f"{path.name!r}: the weights {tensor.name!r} outside it cannot be read: {err}") from err


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(16)


def scan(model: onnx.ModelProto, folder: Path, manifest: Collection[str] = ()) -> bool:
    """Refuse, without running or expanding anything, what ONNX Runtime must not see.

    Parameters
    ----------
    model : onnx.ModelProto
        The graph, its external data not loaded.
    folder : Path
        Where the graph lies.
    manifest : collection of str
        Relative names of the files the card allows it to refer to.

    Returns
    -------
    bool
        Whether it refers to external data.

    Raises
    ------
    UnsafeModelError
        For files outside the manifest, operators from foreign domains, functions that expand without end.
    """
    local = {_function(f.domain, f.name, f) for f in model.functions}
    for node in _nodes(model):
        if node.op_type in REFUSED_OPERATORS:
            raise UnsafeModelError(f"Operator {node.op_type!r} loads files or code of its own; it is refused.")
        if node.domain not in DOMAINS and _function(node.domain, node.op_type, node) not in local:
            raise UnsafeModelError(
                f"Operator {node.op_type!r} comes from the custom domain {node.domain!r}, which would need foreign "
                f"code; only {', '.join(sorted(filter(None, DOMAINS)))} are run."
            )
    _check_expansion(model)
    locations = {location for tensor in filter(_is_external, tensors(model)) for location in _locations(tensor)}
    for location in locations:
        _check_location(location, folder, manifest)
    return bool(locations)


def _check_location(location: str, folder: Path, manifest: Collection[str]) -> None:
    """Allow a plain file the card lists, inside the card's folder and not reached through a link."""
    if location not in manifest:
        raise UnsafeModelError(
            f"The graph keeps weights in {location!r}, which its card does not list"
            + (f" (it lists {', '.join(sorted(manifest))})" if manifest else "")
            + ". List it, with its SHA-256: skltransfer models card FILE.onnx --external NAME"
        )
    target = folder / location
    if target.is_symlink() or not target.resolve().is_relative_to(folder.resolve()):
        raise UnsafeModelError(f"External data {location!r} leads outside the model's folder; copy the file there.")


def _is_external(tensor: onnx.TensorProto) -> bool:
    return bool(tensor.data_location == tensor.EXTERNAL)


def _locations(tensor: onnx.TensorProto) -> list[str]:
    """Give every location of a tensor: of several, readers do not agree which one counts."""
    return [entry.value for entry in tensor.external_data if entry.key == "location"] or [""]


def _function(domain: str, name: str, of: Any) -> tuple[str, str, str]:
    """Give what identifies a function; the two names of ONNX' own domain are one."""
    return "" if domain == "ai.onnx" else domain, name, getattr(of, "overload", "")


def _attributes(body: Any) -> Iterator[onnx.AttributeProto]:
    """Walk the attributes of a body's nodes and, of a function, the defaults of its own."""
    yield from getattr(body, "attribute_proto", ())
    for node in body.node:
        yield from node.attribute


def bodies(model: onnx.ModelProto) -> Iterator[Any]:
    """Walk the graph, its functions and every nested subgraph, without recursion."""
    waiting: list[Any] = [model.graph, *model.functions, *(t.initialization for t in model.training_info)]
    waiting += [t.algorithm for t in model.training_info]
    while waiting:
        body = waiting.pop()
        yield body
        for attribute in _attributes(body):
            waiting += [attribute.g] if attribute.HasField("g") else []
            waiting += attribute.graphs


def _nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    for body in bodies(model):
        yield from body.node


def tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Walk every tensor the file holds: initializers, sparse ones, and attributes of nodes."""
    for body in bodies(model):
        yield from getattr(body, "initializer", ())
        for sparse in getattr(body, "sparse_initializer", ()):
            yield from (sparse.values, sparse.indices)
        for attribute in _attributes(body):
            yield from attribute.tensors
            yield from [attribute.t] if attribute.HasField("t") else []
            single = [attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []
            for sparse in (*attribute.sparse_tensors, *single):
                yield from (sparse.values, sparse.indices)


def _check_expansion(model: onnx.ModelProto) -> None:
    """Bound the size of the graph after its functions are expanded: 40 doublings already make a million million."""
    bodies = {_function(f.domain, f.name, f): f for f in model.functions}
    sizes: dict[tuple[str, str, str], int] = {}
    pending: set[tuple[str, str, str]] = set()

    def size(body: Any) -> int:
        total = 0
        for node in body.node:
            key = _function(node.domain, node.op_type, node)
            total += function_size(key) if key in bodies else 1
            total += sum(size(a.g) for a in node.attribute if a.HasField("g"))
            if total > MAX_NODES:
                raise UnsafeModelError(f"The graph's functions expand to more than {MAX_NODES:,} nodes.")
        return total

    def function_size(key: tuple[str, str, str]) -> int:
        if key in pending:
            raise UnsafeModelError(f"Function {key[1]!r} of the graph calls itself.")
        if key not in sizes:
            pending.add(key)
            sizes[key] = size(bodies[key])
            pending.discard(key)
        return sizes[key]

    try:
        size(model.graph)
    except RecursionError:
        raise UnsafeModelError("The graph's functions or subgraphs are nested too deeply.") from None


def read(model: onnx.ModelProto) -> GraphInfo:
    """Read the facts of a graph.

    Raises
    ------
    ModelError
        If it has no input with a batch axis.
    """
    bare = inferred(model)
    fixed = {i.name for i in model.graph.initializer}
    inputs = [i for i in bare.graph.input if i.name not in fixed]
    main = next((i for i in inputs if i.name.endswith("ids")), inputs[0] if inputs else None)
    if main is None or not bare.graph.output:
        raise ModelError(f"The graph has no {'inputs' if main is None else 'outputs'}.")
    for value in inputs:
        if not _shape(value) or not value.type.tensor_type.elem_type:
            raise ModelError(f"The graph says no type or no shape for its input {value.name!r}.")
    known = {v.name: v for v in (*bare.graph.value_info, *bare.graph.output)}
    made = [name for node in bare.graph.node for name in node.output if name in known]
    layers = {name: _shape(known[name])[1:] for name in made if _is_layer(known[name], first_axis(main))}
    others = {i.name: _dtype(i) for i in inputs if i.name != main.name}
    output, features = bare.graph.output[0].name, _features(bare.graph)
    return GraphInfo(
        main.name, _dtype(main), _shape(main), output, layers, others, features if features in layers else None
    )


def inferred(model: onnx.ModelProto) -> onnx.ModelProto:
    """Infer the type and shape of every tensor; what comes back is without the numbers of large weights.

    Raises
    ------
    ModelError
        If they contradict each other.
    """
    import onnx

    bare = without_weights(model)  # inference takes three copies of what it is given
    bare.graph.initializer.extend(map(hollow, weights(model)))
    try:
        return onnx.shape_inference.infer_shapes(bare, data_prop=True)
    except onnx.shape_inference.InferenceError as err:
        raise ModelError(f"The shapes of the graph contradict each other: {err}") from err


def _features(graph: onnx.GraphProto) -> str | None:
    """Walk back from the first output to the last operator with weights, and name what goes into it."""
    made_by = {name: node for node in graph.node for name in node.output}
    fixed = {tensor.name for tensor in graph.initializer}
    for node in graph.node:  # in topological order: weights may be stored in float16, and cast
        if node.input and fixed.issuperset(node.input):
            fixed.update(node.output)
    name = graph.output[0].name
    while name in made_by:
        node = made_by[name]
        moving = [i for i in node.input if i and i not in fixed]
        if not moving or (node.op_type in WEIGHED and len(moving) < len(node.input)):
            return moving[0] if moving else None
        name = moving[0]
    return None


def _dtype(value: onnx.ValueInfoProto) -> str:
    import onnx

    return str(onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type).name)


def first_axis(value: onnx.ValueInfoProto) -> str | int | None:
    """Give the first axis as the file has it: a symbol, a number or nothing."""
    dims = value.type.tensor_type.shape.dim
    if not dims:
        return None
    return dims[0].dim_param or _length(dims[0])


def _shape(value: onnx.ValueInfoProto) -> Shape:
    return tuple(map(_length, value.type.tensor_type.shape.dim))


def _length(dim: Any) -> int | None:
    """Give the length of an axis; old exporters write -1 for a free one."""
    return int(dim.dim_value) if dim.dim_value > 0 else None


def _is_layer(value: onnx.ValueInfoProto, batch: str | int | None) -> bool:
    """Tell whether a tensor holds one thing per sample: floating point, and its first axis is the batch."""
    import onnx

    floats = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16, onnx.TensorProto.DOUBLE}
    axis = first_axis(value)
    return (
        value.type.tensor_type.elem_type in floats
        and bool(_shape(value))
        and (axis == batch or isinstance(axis, str | None))
    )
