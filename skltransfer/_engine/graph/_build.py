"""Build the graph that computes final rows from prepared samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from skltransfer._engine.graph._constants import fix_inputs, model_inputs
from skltransfer._engine.graph._cut import cut
from skltransfer._engine.graph._editor import Editor
from skltransfer._engine.graph._facts import first_axis, read
from skltransfer._engine.graph._pool import append_pooling
from skltransfer._engine.graph._precision import float16_to_float32
from skltransfer._engine.graph._resize import other_size, resize_input
from skltransfer.cards import Axes, GraphInfo, Recipe, Shape
from skltransfer.errors import LayerError, nearest

if TYPE_CHECKING:
    import onnx


class Preprocessing(Protocol):
    """Part of `modalities.Modality` that `build` needs."""

    @property
    def check(self) -> Callable[[Any, GraphInfo], None]:
        """Refuse a specification that contradicts the graph."""

    @property
    def preprocess(self) -> Callable[[Any, Any, GraphInfo], None]:
        """Add the nodes that turn prepared samples into the graph's inputs."""


def build(
    model: onnx.ModelProto, recipe: Recipe, modality: Preprocessing, *, free_batch: bool = True
) -> onnx.ModelProto:
    """Build the graph that computes final rows from prepared samples.

    Parameters
    ----------
    model : onnx.ModelProto
        The backbone, from `load`; changed in place.
    recipe : Recipe
        Layers, pooling, normalization and precision. ``precision="fp32"`` turns a float16 graph into float32.
    modality : Preprocessing
        How prepared samples become the graph's input.
    free_batch : bool
        Whether to free a batch size that was fixed at export. Check the rows afterwards: some graphs depend on it.

    Returns
    -------
    onnx.ModelProto
        The same model, now with the input `INPUT` and the output `OUTPUT`, float32 (n, ...), self-contained.

    Raises
    ------
    LayerError
        If a layer does not exist or cannot be pooled.
    CardError
        If the card's input contradicts the graph's.
    """
    info = read(model)
    check_layers(recipe.layers, info)
    shapes = [info.layers.get(name, _ranked(axes)) for name, axes in zip(recipe.layers, recipe.axes, strict=True)]
    constants = dict(recipe.constants)
    part = info.at(recipe.layers, constants)
    modality.check(recipe.input, part)
    if free_batch:
        _free_batch(model, part.frozen_batch, of_one={*info.single} if {*recipe.layers} & {*info.single} else set())
    cut(model, recipe.layers)
    if (size := other_size(part, recipe.input)) is not None:
        resize_input(model, part.input, size, recipe.input.layout)
    editor = Editor(model, batch="batch" if free_batch else part.frozen_batch or 1)
    fix_inputs(editor, {name: info.inputs[name] for name in model_inputs(model)}, constants, part)
    modality.preprocess(editor, recipe.input, part)
    editor.finish_front()
    append_pooling(editor, recipe, shapes, bare=info.bare)
    if recipe.precision == "fp32":
        float16_to_float32(model)
    return model


def _ranked(axes: Axes) -> Shape:
    """Return the shape of a layer of which the axes that are pooled are all that is known."""
    return (None,) * (len(axes) + 1)


def check_layers(layers: Sequence[str], info: GraphInfo, *, run: bool = True) -> None:
    """Check that tensors of a graph are layers; the error says why one is not, and suggests similar names.

    Parameters
    ----------
    layers : sequence of str
        Their names.
    info : GraphInfo
        From `read`.
    run : bool
        Whether to let tensors pass whose shape only a run can tell.
    """
    for name in layers:
        if name in info.layers or (run and name in info.unknown):
            continue
        if name in info.refused:
            raise LayerError(
                f"{name!r} is a tensor of the graph, and cannot be a layer: {info.refused[name]}.{_instead(info)} "
                f"{LIST.format(n=len(info.layers))}"
            )
        raise LayerError(
            f"The graph has no layer {name!r}.{nearest(name, info.layers)} {LIST.format(n=len(info.layers))}"
        )


#: Names the ways to list layers.
LIST = "List its {n} layers with: skltransfer models layers NAME, or load_card(NAME).layers()"


def _instead(info: GraphInfo) -> str:
    """Name a layer near the end of the graph."""
    last = [name for name in info.outputs if name in info.layers] or [*info.layers][-1:]
    return f" Use another one, such as layer={last[0]!r}." if last else ""


def _free_batch(model: onnx.ModelProto, frozen: int | None, of_one: set[str]) -> None:
    """Free the batch axis: the first axis of inputs and outputs, and Reshape targets that repeat its length.

    Parameters
    ----------
    model : onnx.ModelProto
        Changed in place.
    frozen : int or None
        Its length; None if that of the input is free already.
    of_one : set of str
        Tensors that are made for one sample although the batch axis of the input is free.
    """
    from onnx import numpy_helper

    for value in (*model.graph.input, *model.graph.output) if frozen is not None else ():
        if value.type.tensor_type.shape.dim and first_axis(value) == frozen:
            value.type.tensor_type.shape.dim[0].dim_param = "batch"
    del model.graph.value_info[:]
    length = 1 if frozen is None else frozen
    shaping = [n for n in model.graph.node if n.op_type == "Reshape" and (frozen is not None or n.output[0] in of_one)]
    reshaped = {name for node in shaping for name in node.input[1:]}
    constants = [t for t in model.graph.initializer if t.name in reshaped]
    nodes = [n for n in model.graph.node if n.op_type == "Constant" and n.output[0] in reshaped]
    constants += [a.t for n in nodes for a in n.attribute if a.HasField("t")]
    for numbers in (a.ints for n in nodes for a in n.attribute if a.name == "value_ints"):
        if len(numbers) > 1 and numbers[0] == length:
            numbers[0] = 0
    for tensor in constants:
        target = numpy_helper.to_array(tensor).copy()
        if target.ndim == 1 and len(target) > 1 and target[0] == length:
            target[0] = 0  # Reshape copies this length from its input
            tensor.CopyFrom(numpy_helper.from_array(target, tensor.name))
