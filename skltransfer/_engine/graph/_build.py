"""Build the graph that computes final rows from prepared samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from skltransfer._engine.graph._editor import INPUT, Editor, keep, replace
from skltransfer._engine.graph._pool import append_pooling
from skltransfer._engine.graph._precision import float16_to_float32
from skltransfer._engine.graph._read import GraphInfo, Shape, first_axis, read
from skltransfer.cards import ArraySpec, ImageSpec, InputSpec, TextSpec
from skltransfer.errors import CardError, LayerError, nearest

if TYPE_CHECKING:
    import onnx


def build(
    model: onnx.ModelProto,
    spec: InputSpec,
    layers: Sequence[str],
    *,
    pool: str,
    normalize: bool,
    precision: str = "auto",
    free_batch: bool = True,
) -> onnx.ModelProto:
    """Build the graph that computes final rows from prepared samples.

    Parameters
    ----------
    model : onnx.ModelProto
        The backbone, from `load`; changed in place.
    spec : ImageSpec or ArraySpec
        Preparation of the samples. Prepared images are uint8 (n, height, width, 3), RGB.
    layers : sequence of str
        Tensors to pool; their columns are concatenated.
    pool : str
        One of `cards.POOLS`, except ``"auto"``.
    normalize : bool
        Whether to scale rows to unit L2 norm.
    precision : str
        ``"fp32"`` converts a float16 graph to float32; ``"auto"`` leaves it.
    free_batch : bool
        Whether to free a batch size that was fixed at export. Check the rows afterwards: some graphs depend on it.

    Returns
    -------
    onnx.ModelProto
        The same model, now with the input `INPUT` and the output `OUTPUT`, float32 (n, columns), self-contained.

    Raises
    ------
    LayerError
        If a layer does not exist or cannot be pooled.
    CardError
        If the card's input contradicts the graph's.
    """
    facts = read(model)
    check_layers(layers, facts.layers)
    _check_input(spec, facts)
    if facts.frozen_batch is not None and free_batch:
        _free_batch(model, facts.frozen_batch)
    _cut(model, layers)
    editor = Editor(model, batch="batch" if free_batch else facts.frozen_batch)
    PREPROCESSING[type(spec)](editor, spec, facts)
    append_pooling(editor, [(name, facts.layers[name]) for name in layers], pool, normalize, spec.layout)
    if precision == "fp32":
        float16_to_float32(model)
    return model


def filled(model: onnx.ModelProto, facts: GraphInfo, lengths: Sequence[int]) -> onnx.ModelProto:
    """Set further inputs of a backbone, such as a mask, to ones, so that it takes a single array.

    Parameters
    ----------
    model : onnx.ModelProto
        From `load`; changed in place.
    facts : GraphInfo
        From `read`.
    lengths : sequence of int
        Shape of the array that it will be run with.
    """
    from onnx import numpy_helper

    for name, dtype in facts.others.items():
        model.graph.initializer.append(numpy_helper.from_array(np.ones(lengths, dtype), name))
    return model


def check_layers(layers: Sequence[str], known: Mapping[str, Shape]) -> None:
    """Check that the graph has these layers; the error suggests similar names."""
    for name in layers:
        if name not in known:
            raise LayerError(
                f"The graph has no layer {name!r}.{nearest(name, known)} List its {len(known)} layers with: "
                "skltransfer models layers NAME, or load_card(NAME).layers()"
            )


def _check_input(spec: InputSpec, facts: GraphInfo) -> None:
    """Check that the card's input fits the graph's."""
    if facts.others and not isinstance(spec, TextSpec):
        raise CardError(f"The graph has several inputs ({facts.input}, {', '.join(facts.others)}); export it with one.")
    if not isinstance(spec, ImageSpec):
        return
    if len(facts.shape) != 4:
        raise CardError(f"The graph's input {facts.input!r} has the shape {facts.shape}; images need four axes.")
    channel = 1 if spec.layout == "NCHW" else 3
    if facts.shape[channel] not in (3, None):
        raise CardError(
            f"The graph's input has the shape {facts.shape}, but layout {spec.layout!r} needs 3 channels at axis "
            f"{channel}. Set input.layout of the card to the other one."
        )
    size = facts.shape[2:] if spec.layout == "NCHW" else facts.shape[1:3]
    if any(have is not None and have != want for have, want in zip(size, spec.size, strict=True)):
        raise CardError(f"The graph takes images of size {size}, but input.size of the card is {spec.size}.")


def _free_batch(model: onnx.ModelProto, frozen: int) -> None:
    """Free the batch axis: the first axis of inputs and outputs, and Reshape targets that repeat its length."""
    from onnx import numpy_helper

    for value in (*model.graph.input, *model.graph.output):
        if value.type.tensor_type.shape.dim and first_axis(value) == frozen:
            value.type.tensor_type.shape.dim[0].dim_param = "batch"
    del model.graph.value_info[:]
    reshaped = {name for node in model.graph.node if node.op_type == "Reshape" for name in node.input[1:]}
    constants = [t for t in model.graph.initializer if t.name in reshaped]
    nodes = [n for n in model.graph.node if n.op_type == "Constant" and n.output[0] in reshaped]
    constants += [a.t for n in nodes for a in n.attribute if a.HasField("t")]
    for numbers in (a.ints for n in nodes for a in n.attribute if a.name == "value_ints"):
        if len(numbers) > 1 and numbers[0] == frozen:
            numbers[0] = 0
    for tensor in constants:
        target = numpy_helper.to_array(tensor).copy()
        if target.ndim == 1 and len(target) > 1 and target[0] == frozen:
            target[0] = 0  # Reshape copies this length from its input
            tensor.CopyFrom(numpy_helper.from_array(target, tensor.name))


def _cut(model: onnx.ModelProto, layers: Sequence[str]) -> None:
    """Remove the nodes and weights that the layers do not need, and make the layers the outputs."""
    import onnx

    graph = model.graph
    maker = {name: node for node in graph.node for name in node.output}
    needed: set[str] = set()
    waiting = list(layers)
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting += _reads(maker[name]) if name in maker else []
    keep(graph.node, lambda node: bool(needed.intersection(node.output)))
    keep(graph.initializer, lambda tensor: tensor.name in needed)
    keep(graph.sparse_initializer, lambda tensor: tensor.values.name in needed)
    keep(graph.input, lambda value: value.name in needed)
    replace(graph.output, [onnx.ValueInfoProto(name=name) for name in layers])
    del graph.value_info[:]
    del model.training_info[:]


def _reads(node: onnx.NodeProto) -> list[str]:
    """List the tensors that a node reads, including those that its subgraphs take from outside."""
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


def _preprocess_image(editor: Editor, spec: ImageSpec, facts: GraphInfo) -> None:
    """Add the nodes from pixels to the backbone's input: cast, transpose, channel order, mean and std.

    The cast comes before the transpose, the fastest order measured on the CPU. The arithmetic is done with channels
    first for both layouts, because broadcasting along a last axis of length 3 is twenty times slower on the CPU.
    """
    from onnx import TensorProto, helper

    target = helper.np_dtype_to_tensor_dtype(np.dtype(facts.dtype))
    scale = np.array([spec.range / 255 / s for s in spec.std], np.float32).reshape(1, 3, 1, 1)
    shift = np.array([m * 255 / spec.range for m in spec.mean], np.float32).reshape(1, 3, 1, 1)
    editor.set_input(TensorProto.UINT8, [*spec.size, 3])
    tensor = editor.add("Cast", INPUT, to=TensorProto.FLOAT, front=True)
    tensor = editor.add("Transpose", tensor, perm=[0, 3, 1, 2], front=True)
    if spec.color == "BGR":
        tensor = editor.add("Gather", tensor, editor.const(np.array([2, 1, 0])), axis=1, front=True)
    if shift.any():
        tensor = editor.add("Sub", tensor, editor.const(shift), front=True)
    if (scale != 1).any():
        tensor = editor.add("Mul", tensor, editor.const(scale), front=True)
    if spec.layout == "NHWC":
        tensor = editor.add("Transpose", tensor, perm=[0, 2, 3, 1], front=True)
    editor.add("Cast", tensor, to=target, output=facts.input, front=True)
    editor.finish_front()


def _preprocess_array(editor: Editor, spec: ArraySpec, facts: GraphInfo) -> None:
    """Add the cast from numbers to the backbone's input."""
    from onnx import TensorProto, helper

    editor.set_input(TensorProto.FLOAT, facts.shape[1:])
    target = helper.np_dtype_to_tensor_dtype(np.dtype(facts.dtype))
    editor.add("Cast", INPUT, to=target, output=facts.input, front=True)
    editor.finish_front()


#: Values of the further inputs of a text encoder, by a part of their name.
TEXT_INPUTS: dict[str, Callable[[Editor, str, str], str]] = {
    "mask": lambda editor, ids, mask: mask,
    "type": lambda editor, ids, mask: editor.add(
        "Sub", ids, ids, front=True
    ),  # zeros: all tokens are of the first segment
    "segment": lambda editor, ids, mask: editor.add("Sub", ids, ids, front=True),
}


def _preprocess_text(editor: Editor, spec: TextSpec, facts: GraphInfo) -> None:
    """Add the nodes from token ids, padded with -1, to the backbone's inputs: ids, attention mask, token types."""
    from onnx import TensorProto, helper

    editor.set_input(TensorProto.INT32, ["tokens"])
    zero, pad = (editor.const(np.array(value, np.int32)) for value in (0, spec.pad))
    real = editor.add("Not", editor.add("Less", INPUT, zero, front=True), front=True)
    ids = editor.add("Where", real, INPUT, pad, front=True)
    mask = editor.add("Cast", real, to=TensorProto.INT32, front=True)
    editor.mask = editor.add("Cast", real, to=TensorProto.FLOAT, front=True)
    inputs = {facts.input: facts.dtype, **facts.others}
    makers = {name: next((make for part, make in TEXT_INPUTS.items() if part in name), None) for name in inputs}
    if list(makers.values()).count(None) != 1:
        raise CardError(
            f"The graph's inputs are {', '.join(inputs)}; one must be token ids, the others an attention mask and "
            "token types ('mask', 'type' or 'segment' in their names)."
        )
    for name, make in makers.items():
        value = ids if make is None else make(editor, ids, mask)
        target = helper.np_dtype_to_tensor_dtype(np.dtype(inputs[name]))
        editor.add("Cast", value, to=target, output=name, front=True)
    editor.finish_front()


PREPROCESSING: dict[type, Callable[[Editor, Any, GraphInfo], None]] = {
    ImageSpec: _preprocess_image,
    ArraySpec: _preprocess_array,
    TextSpec: _preprocess_text,
}
