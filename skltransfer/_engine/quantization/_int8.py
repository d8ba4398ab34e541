"""Weights, and activations where that pays, as integers of 8 bits; never with scales that a batch decides.

Operators whose activation scales are made of the whole batch (DynamicQuantizeLinear) are not used: a row would depend
on its batch mates.
"""

from __future__ import annotations

import copy
import logging
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from skltransfer._engine import graph
from skltransfer._engine.runtime import import_onnxruntime
from skltransfer.errors import ConversionError, SklTransferError

if TYPE_CHECKING:
    import onnx

#: Convolutions from the first on that stay in float32, fewest first. On mobilenet_v2 the five first raise the cosine on
#: small images from 0.93 to 0.99, and cost no time: with few channels integers gain nothing.
KEPT = (5, 12, 24)
#: Weights that share a scale, where one for each row and column is too coarse. On MiniLM blocks of 128 are 1.0 to 1.4
#: times as fast as float32, as the processor goes, and rows 2 times; of rows the mean cosine is 0.998, of blocks 0.999.
BLOCKS = (128, 32)
#: "Activations are rounded to 8 bits, too, for each row and block": MatMulNBits' most integer way to compute.
INTEGERS = 4


def candidates(model: onnx.ModelProto, inputs: Callable[[], Iterator[np.ndarray]]) -> Iterator[onnx.ModelProto]:
    """Give candidates, the fastest first.

    Parameters
    ----------
    model : onnx.ModelProto
        With the types of its tensors, from `graph.typed`; changed in place.
    inputs : callable
        Gives, each time it is called, what goes into the graph, arrays of one sample.
    """
    graph.float16_to_float32(model)
    found = graph.matmuls(model)
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    if not found and not convolutions:
        raise ConversionError("The graph has neither convolutions nor matrix products with weights; int8 is of those.")
    if len(found) > len(convolutions):
        if graph.opset(model) >= graph.OLDEST_OF_ROWS:
            yield graph.quantize_per_row(copy.deepcopy(model))
        for block in BLOCKS:
            yield graph.quantize_blockwise(copy.deepcopy(model), block, level=INTEGERS)
    else:
        yield from _calibrated(model, inputs)


def _calibrated(model: onnx.ModelProto, inputs: Callable[[], Iterator[np.ndarray]]) -> Iterator[onnx.ModelProto]:
    """Quantise weights and activations, with scales that samples fix beforehand, by ONNX Runtime's own tool."""
    import_onnxruntime()
    from onnxruntime import quantization
    from onnxruntime.quantization import quant_utils

    for i, node in enumerate(model.graph.node):  # the tool knows nodes by their names
        node.name = f"{node.op_type}_{i}"
    names = [node.name for node in model.graph.node if node.op_type == "Conv"]
    before = {name for node in model.graph.node for name in node.output}
    quant_utils.add_pre_process_metadata(model)  # it is prepared; else the tool would warn
    fixed = {tensor.name for tensor in model.graph.initializer}
    name = next(value.name for value in model.graph.input if value.name not in fixed)
    with tempfile.TemporaryDirectory(prefix="skltransfer") as folder:
        file, made = Path(folder) / "model.onnx", Path(folder) / "int8.onnx"
        with file.open("wb") as opened:
            opened.writelines(graph.pieces(model))
        for kept in [n for n in KEPT if n < len(names)] or [0]:
            with _refusing():
                quantization.quantize_static(
                    str(file),
                    str(made),
                    _reader(quantization.CalibrationDataReader, name, inputs()),
                    per_channel=True,
                    activation_type=quantization.QuantType.QUInt8,
                    nodes_to_exclude=names[:kept],
                )
            yield graph.with_old_names(graph.load(made), before)


@contextmanager
def _refusing() -> Iterator[None]:
    """Make what the tool throws ours; its warnings go to the root logger, which must not make a handler."""
    root, idle = logging.getLogger(), logging.NullHandler()
    root.addHandler(idle)
    try:
        yield
    except SklTransferError:  # of the samples
        raise
    except Exception as err:
        raise ConversionError(f"ONNX Runtime cannot quantise the graph: {type(err).__name__}: {err}") from err
    finally:
        root.removeHandler(idle)


def _reader(base: Any, name: str, inputs: Iterator[np.ndarray]) -> object:
    """Hand samples to ONNX Runtime's calibration one by one."""

    class Reader(base):
        def get_next(self) -> dict[str, np.ndarray] | None:
            sample = next(inputs, None)
            return None if sample is None else {name: sample}

    return Reader()
