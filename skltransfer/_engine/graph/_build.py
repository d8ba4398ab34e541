"""Build the graph that computes final rows from prepared samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from skltransfer._engine.graph._cut import cut
from skltransfer._engine.graph._editor import Editor
from skltransfer._engine.graph._pool import append_pooling
from skltransfer._engine.graph._precision import float16_to_float32
from skltransfer._engine.graph._read import first_axis, read
from skltransfer._engine.graph._resize import other_size, resize_input
from skltransfer.cards import GraphInfo, Recipe, Shape
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
    check_layers(recipe.layers, info.layers)
    modality.check(recipe.input, info)
    if info.frozen_batch is not None and free_batch:
        _free_batch(model, info.frozen_batch)
    cut(model, recipe.layers)
    if (size := other_size(info, recipe.input)) is not None:
        resize_input(model, info.input, size, recipe.input.layout)
    editor = Editor(model, batch="batch" if free_batch else info.frozen_batch)
    modality.preprocess(editor, recipe.input, info)
    editor.finish_front()
    append_pooling(editor, recipe, [info.layers[name] for name in recipe.layers])
    if recipe.precision == "fp32":
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
