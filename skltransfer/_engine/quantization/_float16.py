"""Conversion of weights and arithmetic to float16, with ONNX Runtime's own converter."""

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
    """Yield the only candidate. Its inputs and outputs stay float32, and so do operators without a float16 version.

    Parameters
    ----------
    model : onnx.ModelProto
        From `graph.typed`, which infers the types of its tensors; changed in place.
    inputs : callable
        Not used: nothing is calibrated.
    """
    graph.float16_to_float32(model)  # some graphs store float16 weights and cast them
    import_onnxruntime()
    from onnxruntime.transformers.float16 import convert_float_to_float16

    try:
        yield convert_float_to_float16(model, keep_io_types=True, disable_shape_infer=True)
    except (ValueError, TypeError, AttributeError, KeyError) as err:
        raise ConversionError(f"The graph cannot be converted to 16 bits: {err}") from err
