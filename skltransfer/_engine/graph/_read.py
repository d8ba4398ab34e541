"""Load a graph, and refuse an unsafe one."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skltransfer._engine.graph._squeeze import name_squeezed_axes
from skltransfer.cards import check_link
from skltransfer.errors import ModelError, UnsafeModelError

if TYPE_CHECKING:
    import onnx

#: Domains of the operators that ONNX defines or ONNX Runtime has built in.
DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
#: Domains of built-in operators whose tensors have another order of numbers than their shapes say.
BLOCKED = frozenset({"com.microsoft.nchwc", "com.ms.internal.nhwc"})
#: Built-in operators that open files or run external code.
REFUSED_OPERATORS = frozenset({"EPContext", "PyOp", "PyOpScan"})
#: Most nodes after expanding every function; real graphs have up to some ten thousand.
MAX_NODES = 1_000_000


def load(
    path: Path, manifest: Collection[str] = (), read_bytes: Callable[[Path], bytes] = Path.read_bytes
) -> onnx.ModelProto:
    """Load a graph with its external data, after `scan` has accepted it; every file is read once.

    A Squeeze without axes is given them, see `name_squeezed_axes`.

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
    name_squeezed_axes(model)
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
            if node.domain in BLOCKED:
                raise UnsafeModelError(
                    f"Operator {node.op_type!r} of the domain {node.domain!r} keeps channels in blocks that suit one "
                    "processor: ONNX Runtime has optimized this graph for the machine that saved it. Use the original "
                    "file, or save with graph_optimization_level=ORT_ENABLE_EXTENDED."
                )
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
