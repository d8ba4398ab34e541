"""Load a graph, refuse an unsafe one, and read its inputs, outputs and layers."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skltransfer._engine.graph._positions import positions
from skltransfer._engine.graph._write import hollow, weights, without_weights
from skltransfer.cards import GraphInfo, Shape, check_link
from skltransfer.errors import ModelError, UnsafeModelError

if TYPE_CHECKING:
    import onnx

#: Domains of the operators that ONNX defines or ONNX Runtime has built in.
DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
#: Built-in operators that open files or run external code.
REFUSED_OPERATORS = frozenset({"EPContext", "PyOp", "PyOpScan"})
#: Most nodes after expanding every function; real graphs have up to some ten thousand.
MAX_NODES = 1_000_000

#: Operators that have weights.
WEIGHTED = ("Conv", "Gemm", "MatMul")


def load(
    path: Path, manifest: Collection[str] = (), read_bytes: Callable[[Path], bytes] = Path.read_bytes
) -> onnx.ModelProto:
    """Load a graph with its external data, after `scan` has accepted it; every file is read once.

    Parameters
    ----------
    path : Path
        The ``.onnx`` file.
    manifest : collection of str
        Names of the external data files that the card lists; no other file is opened.
    read_bytes : callable
        Reads a file, and may check what it read, see `hub.reader`.

    Raises
    ------
    UnsafeModelError
        See `scan`.
    ModelError
        If the file is not an ONNX graph.
    """
    import onnx
    from google.protobuf.message import DecodeError

    data = read_bytes(path)
    try:
        model = onnx.load_model_from_string(data)
    except (DecodeError, ValueError) as err:
        raise ModelError(f"{path.name!r} is not an ONNX graph: {err}. Its first bytes are {data[:16]!r}.") from err
    if not model.graph.node:
        raise ModelError(f"{path.name!r} is an ONNX file without nodes. Its first bytes are {data[:16]!r}.")
    if scan(model, path.parent, manifest):
        _load_external(model, path, read_bytes)
    return model


def _load_external(model: onnx.ModelProto, path: Path, read_bytes: Callable[[Path], bytes]) -> None:
    """Load all external data: ONNX Runtime would look for the rest in the current folder."""
    contents: dict[str, bytes] = {}
    for tensor in filter(_is_external, tensors(model)):
        told = {entry.key: entry.value for entry in tensor.external_data}
        name = told["location"]
        try:
            if name not in contents:
                contents[name] = read_bytes(path.parent / name)
            tensor.raw_data = _part(contents[name], told)
        except (ValueError, OSError) as err:
            raise ModelError(f"{path.name!r}: the external weights {tensor.name!r} cannot be read: {err}") from err
        tensor.data_location = tensor.DEFAULT
        del tensor.external_data[:]


def _part(content: bytes, told: Mapping[str, str]) -> bytes:
    """Cut a tensor's numbers out of a file, as its offset and length tell."""
    offset = int(told.get("offset", 0))
    end = offset + int(told["length"]) if "length" in told else len(content)
    if not 0 <= offset <= end <= len(content):
        raise ValueError(f"bytes {offset} to {end} of {told['location']!r}, which has {len(content)}")
    return content[offset:end]


def scan(model: onnx.ModelProto, folder: Path, manifest: Collection[str] = ()) -> bool:
    """Refuse an unsafe graph, without running or expanding it.

    Parameters
    ----------
    model : onnx.ModelProto
        The graph, without its external data.
    folder : Path
        Folder of the graph.
    manifest : collection of str
        Names, relative to the folder, of the external data files that the card lists.

    Returns
    -------
    bool
        Whether the graph has external data.

    Raises
    ------
    UnsafeModelError
        If it refers to files outside the manifest, has operators of other domains than `DOMAINS`, or functions that
        expand without end.
    """
    local = {_function(f.domain, f.name, f) for f in model.functions}
    for node in _nodes(model):
        if node.op_type in REFUSED_OPERATORS:
            raise UnsafeModelError(f"Operator {node.op_type!r} loads files or code, and is refused.")
        if node.domain not in DOMAINS and _function(node.domain, node.op_type, node) not in local:
            raise UnsafeModelError(
                f"Operator {node.op_type!r} comes from the custom domain {node.domain!r}, which needs external code; "
                f"allowed domains are {', '.join(sorted(filter(None, DOMAINS)))}."
            )
    _check_expansion(model)
    locations = {location for tensor in filter(_is_external, tensors(model)) for location in _locations(tensor)}
    for location in locations:
        _check_location(location, folder, manifest)
    return bool(locations)


def _check_location(location: str, folder: Path, manifest: Collection[str]) -> None:
    """Check that a file is listed by the card, and lies in its folder or, for a cache of the Hub, in that cache."""
    if location not in manifest:
        raise UnsafeModelError(
            f"The graph keeps weights in {location!r}, which its card does not list"
            + (f" (it lists {', '.join(sorted(manifest))})" if manifest else "")
            + ". List it, with its SHA-256: skltransfer models card FILE.onnx --external NAME"
        )
    if not Path(os.path.normpath(folder / location)).is_relative_to(os.path.normpath(folder)):
        raise UnsafeModelError(f"External data {location!r} leads outside the model's folder; copy the file there.")
    check_link(folder / location, folder)


def _is_external(tensor: onnx.TensorProto) -> bool:
    return bool(tensor.data_location == tensor.EXTERNAL)


def _locations(tensor: onnx.TensorProto) -> list[str]:
    """Return all locations of a tensor: if there are several, readers differ in which one they use."""
    return [entry.value for entry in tensor.external_data if entry.key == "location"] or [""]


def _function(domain: str, name: str, of: Any) -> tuple[str, str, str]:
    """Return the key of a function; the two names of the ONNX domain are one."""
    return "" if domain == "ai.onnx" else domain, name, getattr(of, "overload", "")


def _attributes(body: Any) -> Iterator[onnx.AttributeProto]:
    """Yield the attributes of the nodes of a body and, for a function, the defaults of its own attributes."""
    yield from getattr(body, "attribute_proto", ())
    for node in body.node:
        yield from node.attribute


def bodies(model: onnx.ModelProto) -> Iterator[Any]:
    """Yield the graph, its functions and every nested subgraph, without recursion."""
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
    """Yield every tensor of the file: initializers, sparse ones, and attributes of nodes."""
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
    """Check the size of the graph with its functions expanded: 40 that double each other make 10^12 nodes."""
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
    """Return the inputs, outputs and layers of a graph.

    Raises
    ------
    ModelError
        If it has no input, no output, or an input without type or shape.
    """
    bare = inferred(model)
    fixed = {i.name for i in model.graph.initializer}
    inputs = [i for i in bare.graph.input if i.name not in fixed]
    main = next((i for i in inputs if i.name.endswith("ids")), inputs[0] if inputs else None)
    if main is None or not bare.graph.output:
        raise ModelError(f"The graph has no {'inputs' if main is None else 'outputs'}.")
    for value in inputs:
        if not _shape(value) or not value.type.tensor_type.elem_type:
            raise ModelError(f"The graph has no type or no shape for its input {value.name!r}; export it again.")
    known = {v.name: v for v in (*bare.graph.value_info, *bare.graph.output)}
    produced = [name for node in bare.graph.node for name in node.output if name in known]
    layers = {name: _shape(known[name])[1:] for name in produced if _is_layer(known[name], first_axis(main))}
    others = {i.name: _dtype(i) for i in inputs if i.name != main.name}
    outputs, features = [value.name for value in bare.graph.output], _features(bare.graph)
    return GraphInfo(
        main.name,
        _dtype(main),
        _shape(main),
        outputs[0],
        layers,
        others,
        features if features in layers else None,
        tuple(outputs),
        positions(bare.graph),
    )


def inferred(model: onnx.ModelProto) -> onnx.ModelProto:
    """Infer the type and shape of every tensor; the result has no values of large weights.

    Raises
    ------
    ModelError
        If types or shapes contradict each other.
    """
    import onnx

    bare = without_weights(model)  # inference copies its argument three times
    bare.graph.initializer.extend(map(hollow, weights(model)))
    try:
        return onnx.shape_inference.infer_shapes(bare, data_prop=True)
    except onnx.shape_inference.InferenceError as err:
        raise ModelError(f"The shapes of the graph contradict each other: {err}") from err


def _features(graph: onnx.GraphProto) -> str | None:
    """Return the name of the input of the last operator with weights, searched from the first output on."""
    made_by = {name: node for node in graph.node for name in node.output}
    fixed = {tensor.name for tensor in graph.initializer}
    for node in graph.node:  # in topological order: weights may be stored in float16, and cast
        if node.input and fixed.issuperset(node.input):
            fixed.update(node.output)
    name = graph.output[0].name
    while name in made_by:
        node = made_by[name]
        moving = [i for i in node.input if i and i not in fixed]
        if not moving or (node.op_type in WEIGHTED and len(moving) < len(node.input)):
            return moving[0] if moving else None
        name = moving[0]
    return None


def _dtype(value: onnx.ValueInfoProto) -> str:
    import onnx

    return str(onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type).name)


def first_axis(value: onnx.ValueInfoProto) -> str | int | None:
    """Return the first axis as the file has it: a symbol, a number or None."""
    dims = value.type.tensor_type.shape.dim
    if not dims:
        return None
    return dims[0].dim_param or _length(dims[0])


def _shape(value: onnx.ValueInfoProto) -> Shape:
    return tuple(map(_length, value.type.tensor_type.shape.dim))


def _length(dim: Any) -> int | None:
    """Return the length of an axis, None if it is free; old exporters write -1 for a free one."""
    return int(dim.dim_value) if dim.dim_value > 0 else None


def _is_layer(value: onnx.ValueInfoProto, batch: str | int | None) -> bool:
    """Check whether a tensor is a layer: floating point, with the batch as first axis."""
    import onnx

    floats = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16, onnx.TensorProto.DOUBLE}
    axis = first_axis(value)
    return (
        value.type.tensor_type.elem_type in floats
        and bool(_shape(value))
        and (axis == batch or isinstance(axis, str | None))
    )
