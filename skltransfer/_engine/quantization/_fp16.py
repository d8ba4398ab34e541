"""Weights and arithmetic in 16 bits, by the converter that comes with ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from skltransfer._engine import graph
from skltransfer._engine.runtime import import_onnxruntime
from skltransfer.errors import ConversionError

if TYPE_CHECKING:
    import onnx


def candidates(model: onnx.ModelProto, inputs: Callable[[], Iterator[np.ndarray]]) -> Iterator[onnx.ModelProto]:
    """Give the one candidate: its inputs and outputs stay as they are, as do operators that have no 16 bits.

    Parameters
    ----------
    model : onnx.ModelProto
        With the types of its tensors, from `graph.typed`; changed in place.
    inputs : callable
        Not needed: nothing is calibrated.
    """
    graph.float16_to_float32(model)  # weights that are stored in 16 bits, and cast
    import_onnxruntime()
    from onnxruntime.transformers.float16 import convert_float_to_float16

    try:
        yield convert_float_to_float16(model, keep_io_types=True, disable_shape_infer=True)
    except (ValueError, TypeError, AttributeError, KeyError) as err:
        raise ConversionError(f"The graph cannot be converted to 16 bits: {err}") from err
