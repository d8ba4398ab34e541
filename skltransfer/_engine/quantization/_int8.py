"""Conversion of weights and activations to integers of 8 bits, never with scales that depend on the batch.

Operators that compute activation scales from the whole batch (DynamicQuantizeLinear) are not used, because a row would
depend on the other samples of its batch.
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

#: Numbers of first convolutions that stay in float32, in the order in which they are tried. On mobilenet_v2 leaving out
#: the first five raises the cosine on small images from 0.93 to 0.99 and costs no time: with few channels int8 is not
#: faster.
SKIPPED = (5, 12, 24)
#: Numbers of weights that share a scale, tried where a scale per row and column is too coarse. On MiniLM blocks of 128
#: are 1.0 to 1.4 times as fast as float32, depending on the processor, and rows 2 times; the mean cosine is 0.998 with
#: rows and 0.999 with blocks.
BLOCKS = (128, 32)
#: ``accuracy_level`` of MatMulNBits that also rounds activations to 8 bits, for each row and block; the fastest.
INTEGERS = 4


def candidates(model: onnx.ModelProto, inputs: Callable[[], Iterator[np.ndarray]]) -> Iterator[onnx.ModelProto]:
    """Yield candidates, the fastest first.

    Parameters
    ----------
    model : onnx.ModelProto
        From `graph.typed`, which infers the types of its tensors; changed in place.
    inputs : callable
        Returns, at each call, an iterator over inputs of the graph, arrays of one sample.
    """
    graph.float16_to_float32(model)
    found = graph.matmuls(model)
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    if not found and not convolutions:
        raise ConversionError("The graph has no Conv or MatMul weights to quantize; take precision='fp16'.")
    if len(found) > len(convolutions):
        if graph.opset(model) >= graph.OLDEST_OF_ROWS:
            yield graph.quantize_per_row(copy.deepcopy(model))
        for block in BLOCKS:
            yield graph.quantize_blockwise(copy.deepcopy(model), block, level=INTEGERS)
    else:
        yield from _calibrated(model, inputs)


def _calibrated(model: onnx.ModelProto, inputs: Callable[[], Iterator[np.ndarray]]) -> Iterator[onnx.ModelProto]:
    """Quantize weights and activations with static scales, calibrated on samples by ONNX Runtime's own tool."""
    import_onnxruntime()
    from onnxruntime import quantization
    from onnxruntime.quantization import quant_utils

    for i, node in enumerate(model.graph.node):  # the tool identifies nodes by name
        node.name = f"{node.op_type}_{i}"
    names = [node.name for node in model.graph.node if node.op_type == "Conv"]
    before = {name for node in model.graph.node for name in node.output}
    quant_utils.add_pre_process_metadata(model)  # else the tool would warn that the graph was not prepared
    fixed = {tensor.name for tensor in model.graph.initializer}
    name, *others = (value.name for value in model.graph.input if value.name not in fixed)
    if others:
        raise ConversionError(
            f"The graph takes {name!r} and {', '.join(others)}; int8 is calibrated on one input only. Take "
            "precision='fp16'."
        )
    with tempfile.TemporaryDirectory(prefix="skltransfer") as folder:
        file, quantized = Path(folder) / "model.onnx", Path(folder) / "int8.onnx"
        with file.open("wb") as opened:
            opened.writelines(graph.pieces(model))
        for skipped in [n for n in SKIPPED if n < len(names)] or [0]:
            with _conversion_errors():
                quantization.quantize_static(
                    str(file),
                    str(quantized),
                    _reader(quantization.CalibrationDataReader, name, inputs()),
                    per_channel=True,
                    activation_type=quantization.QuantType.QUInt8,
                    nodes_to_exclude=names[:skipped],
                )
            yield graph.with_old_names(graph.load(quantized), before)


@contextmanager
def _conversion_errors() -> Iterator[None]:
    """Raise the tool's errors as `ConversionError`, and keep its warnings from adding a handler to the root logger."""
    root, idle = logging.getLogger(), logging.NullHandler()
    root.addHandler(idle)
    try:
        yield
    except SklTransferError:  # a sample that cannot be read
        raise
    except Exception as err:
        raise ConversionError(f"ONNX Runtime cannot quantize the graph: {type(err).__name__}: {err}") from err
    finally:
        root.removeHandler(idle)


def _reader(base: Any, name: str, inputs: Iterator[np.ndarray]) -> object:
    """Return a reader that passes samples to ONNX Runtime's calibration one by one."""

    class Reader(base):
        def get_next(self) -> dict[str, np.ndarray] | None:
            sample = next(inputs, None)
            return None if sample is None else {name: sample}

    return Reader()
