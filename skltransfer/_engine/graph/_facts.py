"""Read the inputs, outputs and layers of a graph, and where samples and channels lie in them."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from skltransfer._engine.graph._axes import BATCH, CHANNELS, JOINED, PLACES, RULE, SHAPE, Dim, Network
from skltransfer._engine.graph._cut import reads
from skltransfer._engine.graph._measure import NOT_SAMPLES
from skltransfer._engine.graph._operators import follow
from skltransfer._engine.graph._positions import positions
from skltransfer._engine.graph._write import hollow, is_large, weights, without_weights
from skltransfer.cards import GraphInfo, InputInfo, Shape, main_input
from skltransfer.errors import ModelError

if TYPE_CHECKING:
    import onnx

#: Operators that have weights.
WEIGHTED = ("Conv", "Gemm", "MatMul")
#: Operators that look at shapes alone.
SHAPES_ONLY = frozenset({"Shape", "Size"})
#: NumPy's names of the types that a layer may have.
FLOATS = frozenset({"float32", "float16", "bfloat16", "float64"})
#: Type and lengths of tensors that were found by running; the batch axis has the length None.
Measured = Mapping[str, tuple[str, Shape]]


class _Tensors:
    """Types, shapes and origins of the tensors of a graph."""

    def __init__(self, model: onnx.ModelProto, measured: Measured) -> None:
        self.graph = graph = inferred(model).graph
        self.nodes = _in_order(graph)
        given = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
        given |= {sparse.values.name: tuple(sparse.dims) for sparse in graph.sparse_initializer}
        self.inputs = {value.name: _input(value) for value in graph.input if value.name not in given}
        known = {value.name: value for value in (*graph.input, *graph.value_info, *graph.output)}
        self.shapes: dict[str, Sequence[Dim]] = {n: dims(v) for n, v in known.items() if _has_shape(v)}
        self.dtypes = {name: _dtype(value) for name, value in known.items()}
        self.made = [name for node in self.nodes for name in node.output if name]
        self.fixed = {**given, **self._constants(set(given))}
        self.needs, self.data = self._origins(()), self._origins(SHAPES_ONLY)
        for name, (dtype, shape) in measured.items():
            self.dtypes[name], self.shapes[name] = dtype, shape

    def _constants(self, fixed: set[str]) -> dict[str, tuple[int, ...]]:
        """Return the shapes of tensors that are computed of weights alone, such as weights that are cast."""
        found = {}
        for node in self.nodes:
            if fixed.issuperset(filter(None, node.input)) and fixed.issuperset(reads(node)):
                fixed.update(node.output)
                for name in node.output:
                    lengths = self.shapes.get(name, ())
                    found[name] = tuple(n if isinstance(n, int) else 0 for n in lengths)
        return found

    def _origins(self, blind: frozenset[str] | tuple[()]) -> dict[str, frozenset[str]]:
        """Return the inputs that each tensor is computed of; operators that are `blind` use none."""
        origins = {name: frozenset({name}) for name in self.inputs}
        nothing: frozenset[str] = frozenset()
        for node in self.nodes:
            parts = {origins.get(name, nothing) for name in reads(node)} if node.op_type not in blind else set()
            union = next(iter(parts)) if len(parts) == 1 else nothing.union(*parts)
            origins.update(dict.fromkeys(node.output, union))
        return origins


def _in_order(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Return the nodes, each behind those it reads, else as they are: converters append theirs at the end."""
    made_by = {name: i for i, node in enumerate(graph.node) for name in node.output if name}
    left = [{made_by[name] for name in reads(node) if name in made_by} for node in graph.node]
    users: dict[int, list[int]] = {}
    for i, needed in enumerate(left):
        for other in needed:
            users.setdefault(other, []).append(i)
    ready, order = [i for i, needed in enumerate(left) if not needed], []
    while ready:  # sorted at first, hence a heap
        order.append(i := heapq.heappop(ready))
        for user in users.get(i, ()):
            left[user].discard(i)
            if not left[user]:
                heapq.heappush(ready, user)
    if len(order) < len(left):
        raise ModelError("The nodes of the graph read each other in a circle.")
    return [graph.node[i] for i in order]


def read(model: onnx.ModelProto, measured: Measured | None = None) -> GraphInfo:
    """Return the inputs, outputs and layers of a graph.

    Parameters
    ----------
    model : onnx.ModelProto
        From `load`.
    measured : mapping, optional
        Types and shapes, from a run, of tensors that an earlier reading listed as ``unknown``.

    Raises
    ------
    ModelError
        If it has no input, no output, or no input with a type and a shape.
    """
    tensors = _Tensors(model, measured or {})
    outputs = tuple(value.name for value in tensors.graph.output)
    if not tensors.inputs or not outputs:
        raise ModelError(f"The graph has no {'outputs' if tensors.inputs else 'inputs'}.")
    usable = {name: info for name, info in tensors.inputs.items() if info.dtype and info.shape}
    if not usable:
        raise ModelError(
            f"The graph has no type or no shape for its input {next(iter(tensors.inputs))!r}; export it again."
        )
    main = main_input(usable)
    net = _network(model, tensors, main)
    refused = {name: why for name in tensors.made if (why := _why_no_layer(name, tensors, net))}
    unknown = tuple(name for name, why in refused.items() if why == UNKNOWN)
    made = [name for name in tensors.made if name not in refused]
    bare = tuple(name for name in made if _is_bare(name, tensors, net))
    layers = {name: _lengths(tensors.shapes[name])[0 if name in bare else 1 :] for name in made}
    deep = [name for name, shape in layers.items() if len(shape) > 1]
    deep += [name for name, info in tensors.inputs.items() if len(info.shape) > 2]
    channels = {name: axis for name in deep if (axis := net.channels(name)) is not None}
    depths = {name: net.depth((name, channels[name])) for name in tensors.inputs.keys() & channels.keys()}
    features = _features(tensors.graph)
    return GraphInfo(
        input=main,
        dtype=tensors.inputs[main].dtype,
        shape=tensors.inputs[main].shape,
        output=outputs[0],
        layers=layers,
        others={name: info.dtype for name, info in tensors.inputs.items() if name != main},
        features=features if features in layers else None,
        channels=channels,
        inputs=tensors.inputs,
        needs={name: tuple(n for n in tensors.inputs if n in tensors.needs[name]) for name in layers},
        refused=refused,
        unknown=unknown,
        single=tuple(name for name in layers if _is_single(name, tensors)),
        bare=bare,
        outputs=outputs,
        positions=positions(tensors.graph),
        depths={name: depth for name, depth in depths.items() if depth is not None},
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
    for value in bare.graph.input:  # an axis without a name could not be recognized behind the first operator
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if not dim.dim_param and dim.dim_value <= 0:
                dim.dim_param = f"{FREE}_{value.name}_{axis}"
    try:
        return onnx.shape_inference.infer_shapes(bare, data_prop=True)
    except onnx.shape_inference.InferenceError as err:
        raise ModelError(f"The shapes of the graph contradict each other: {err}") from err


#: Begins the symbols of free axes that have no name.
FREE = "skltransfer_free"

# ---------------------------------------------------------------------------------------------------------------------
# Axes


def _network(model: onnx.ModelProto, tensors: _Tensors, main: str) -> Network:
    """Follow every axis through the graph."""
    from onnx import numpy_helper

    net = Network(tensors.shapes, tensors.fixed)
    small = [tensor for tensor in model.graph.initializer if not is_large(tensor)]
    net.values = {t.name: numpy_helper.to_array(t).reshape(-1).tolist() for t in small if t.data_type in (6, 7)}
    for node in tensors.graph.node:
        if node.op_type == "Constant":
            net.values.update(_constant(node))
    _sign_inputs(net, tensors, main)
    for node in tensors.graph.node:
        if any(net.rank(name) for name in node.output):
            follow(net, node)
    net.settle()
    return net


def _constant(node: onnx.NodeProto) -> Iterator[tuple[str, list[int]]]:
    """Yield the name and the integers of a Constant node that holds some."""
    from onnx import numpy_helper

    for each in node.attribute:
        if each.name == "value_ints":
            yield node.output[0], list(each.ints)
        elif each.name == "value_int":
            yield node.output[0], [each.i]
        elif each.name == "value" and each.t.data_type in (6, 7):
            yield node.output[0], numpy_helper.to_array(each.t).reshape(-1).tolist()


def _sign_inputs(net: Network, tensors: _Tensors, main: str) -> None:
    """Note where the inputs have samples, and what their shapes say: three channels of an image, numbers in a row."""
    batch = tensors.shapes[main][0]
    for name, info in tensors.inputs.items():
        shape = tensors.shapes.get(name, ())
        free = [axis for axis, n in enumerate(shape) if n == batch and isinstance(n, str)]
        for axis in free or ([0] if shape and (len(shape) == len(tensors.shapes[main]) or shape[0] == batch) else []):
            net.sign((name, axis), BATCH, RULE)
        if len(shape) == 2 and info.dtype in FLOATS:
            net.sign((name, 1), CHANNELS, SHAPE)
        if len(shape) == 4 and (shape[1] == 3) != (shape[3] == 3):
            channels = 1 if shape[1] == 3 else 3
            for axis in (1, 2, 3):
                net.sign((name, axis), CHANNELS if axis == channels else PLACES, SHAPE)


# ---------------------------------------------------------------------------------------------------------------------
# Layers

UNKNOWN = "the graph does not say how many axes it has"


def _why_no_layer(name: str, tensors: _Tensors, net: Network) -> str:
    """Return why a tensor is no layer; empty for one: floating point, of samples, which lie along its first axis."""
    dtype, shape = tensors.dtypes.get(name, ""), tensors.shapes.get(name)
    if not tensors.data.get(name):
        return "it does not depend on the samples"
    if shape is None or not dtype:
        return UNKNOWN
    if dtype not in FLOATS:
        return f"it holds {dtype}, not floating-point numbers"
    if not shape:
        return "it is one number for a whole batch"
    kinds = [net.kind((name, axis)) for axis in range(len(shape))]
    if BATCH in kinds[1:] and kinds[0] != BATCH:
        return f"its samples lie along axis {kinds.index(BATCH)}, not along the first"
    if _is_bare(name, tensors, net):
        return ""
    if kinds[0] == JOINED or shape[0] == NOT_SAMPLES:
        return "its first axis joins samples with something else"
    batch = _batches(name, tensors)
    if isinstance(shape[0], int) and shape[0] not in batch and shape[0] != 1:
        return f"its first axis has the length {shape[0]}, whatever the number of samples"
    return ""


def _is_single(name: str, tensors: _Tensors) -> bool:
    """Return whether a layer's first axis has the length one although that of the samples is free."""
    return tensors.shapes[name][0] == 1 and 1 not in _batches(name, tensors)


def _is_bare(name: str, tensors: _Tensors, net: Network) -> bool:
    """Return whether a tensor of one axis holds all numbers of a batch: the row of a sample, if it is alone."""
    shape = tensors.shapes[name]
    if len(shape) != 1:
        return False
    joined = net.kind((name, 0)) == JOINED
    return joined or (_batches(name, tensors) == {1} and isinstance(shape[0], int) and shape[0] > 1)


def _batches(name: str, tensors: _Tensors) -> set[Dim]:
    """Return the lengths of the first axes of the inputs that a tensor is computed of."""
    return {tensors.shapes[n][0] for n in tensors.needs[name] if tensors.shapes.get(n)}


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


# ---------------------------------------------------------------------------------------------------------------------
# Types and shapes


def _input(value: onnx.ValueInfoProto) -> InputInfo:
    """Describe an input; one without type or shape has no type."""
    if not _has_shape(value) or not value.type.tensor_type.elem_type:
        return InputInfo("", (), ())
    names = tuple("" if d.dim_param.startswith(FREE) else d.dim_param for d in value.type.tensor_type.shape.dim)
    return InputInfo(_dtype(value), _lengths(dims(value)), names)


def _has_shape(value: onnx.ValueInfoProto) -> bool:
    return bool(value.type.HasField("tensor_type") and value.type.tensor_type.HasField("shape"))


def _dtype(value: onnx.ValueInfoProto) -> str:
    import onnx

    kind = value.type.tensor_type.elem_type
    return str(onnx.helper.tensor_dtype_to_np_dtype(kind).name) if kind else ""


def dims(value: onnx.ValueInfoProto) -> tuple[Dim, ...]:
    """Return the lengths of axes as the file has them: a number, a symbol or None."""
    return tuple(map(_dim, value.type.tensor_type.shape.dim))


def _dim(dim: Any) -> Dim:
    return dim.dim_param or _length(dim)


def _lengths(dims: Sequence[Dim]) -> Shape:
    return tuple(n if isinstance(n, int) else None for n in dims)


def _length(dim: Any) -> int | None:
    """Return the length of an axis, None if it is free; old exporters write -1 for a free one."""
    return int(dim.dim_value) if dim.dim_value > 0 else None


def first_axis(value: onnx.ValueInfoProto) -> Dim:
    """Return the first axis as the file has it: a symbol, a number or None."""
    dims = value.type.tensor_type.shape.dim
    return _dim(dims[0]) if dims else None
