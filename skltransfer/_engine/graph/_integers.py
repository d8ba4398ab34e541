"""Quantization of matrix products to 8 bits: weights are rounded once, their inputs at every run.

No scale depends on the batch: a row of a product, such as a token or a patch, has its own scale, or one per block.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from skltransfer._engine.graph._editor import keep, opset, replace
from skltransfer._engine.graph._read import bodies

if TYPE_CHECKING:
    import onnx

#: Domain of ONNX Runtime's own operators.
CONTRIB = "com.microsoft"
#: Oldest operator set for `quantize_per_row`: QuantizeLinear has an axis since 13.
OLDEST_OF_ROWS = 13


def matmuls(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """List the MatMul nodes that multiply a tensor with a constant float32 matrix."""
    import onnx

    matrices = {t.name for t in model.graph.initializer if len(t.dims) == 2 and t.data_type == onnx.TensorProto.FLOAT}
    return [node for node in model.graph.node if node.op_type == "MatMul" and node.input[1] in matrices]


def quantize_per_row(model: onnx.ModelProto) -> onnx.ModelProto:
    """Quantize matrix products to 8 bits: weights with a scale per column, inputs with a scale per row.

    ``x @ W`` becomes ``(x / a) @ (W / b) * a * b``, both factors rounded. The scale ``a`` of a row is its largest
    absolute number over 127; it is computed at every run, and does not depend on other rows. The product is computed
    with integers (``MatMulIntegerToFloat`` [1]_), which is fast on processors that multiply 8-bit integers.

    Parameters
    ----------
    model : onnx.ModelProto
        Uses operator set `OLDEST_OF_ROWS` or newer; changed in place.

    References
    ----------
    .. [1] https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md#com.microsoft.MatMulIntegerToFloat
    """
    chosen, writer = {node.output[0] for node in matmuls(model)}, _Rows(model)
    for node in model.graph.node:
        if node.output[0] in chosen:
            writer.product(node)
        else:
            writer.nodes.append(node)
    replace(model.graph.node, writer.nodes)
    return _finished(model)


class _Rows:
    """Adds the nodes of `quantize_per_row`, in the order of the graph."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self._graph, self._opset, self._count = model.graph, opset(model), 0
        self._weights = {tensor.name: tensor for tensor in model.graph.initializer}
        #: Numbers, scales and shape of inputs that were rounded for an earlier product.
        self._rounded: dict[str, tuple[str, str, str]] = {}
        self._zero, self._one = self._const(np.array(128, np.uint8)), self._const(np.array(1, np.float32))

    def product(self, node: onnx.NodeProto) -> None:
        """Add the nodes that replace a product."""
        from onnx import numpy_helper

        matrix = numpy_helper.to_array(self._weights[node.input[1]])
        largest = np.abs(matrix).max(axis=0)
        scales = np.where(largest > 0, largest / 127, 1).astype(np.float32)
        weights, columns = self._const(np.rint(matrix / scales).astype(np.int8)), self._const(scales)
        numbers, rows, shape = self._round(node.input[0], len(matrix))
        sums = self._add("MatMulIntegerToFloat", numbers, weights, self._one, columns, self._zero, domain=CONTRIB)
        first = self._add("Slice", shape, self._const(np.array([0])), self._const(np.array([-1])))
        wanted = self._add("Concat", first, self._const(np.array([matrix.shape[1]])), axis=0)
        self._add("Reshape", self._add("Mul", sums, rows), wanted, output=node.output[0])

    def _round(self, tensor: str, columns: int) -> tuple[str, str, str]:
        """Add, once for all products, the nodes that round a tensor (rows, columns) to uint8 with zero point 128."""
        if tensor not in self._rounded:
            flat = self._add("Reshape", tensor, self._const(np.array([-1, columns])))
            least = self._add("Neg", self._reduce("ReduceMin", flat))
            tiny = self._const(np.array(np.finfo(np.float32).tiny * 127, np.float32))
            largest = self._add("Max", self._reduce("ReduceMax", flat), least, tiny)
            scales = self._add("Mul", largest, self._const(np.array(1 / 127, np.float32)))
            each = self._add("Reshape", scales, self._const(np.array([-1])))
            zeros = self._add("Expand", self._zero, self._add("Shape", each))
            numbers = self._add("QuantizeLinear", flat, each, zeros, axis=0)
            self._rounded[tensor] = numbers, scales, self._add("Shape", tensor)
        return self._rounded[tensor]

    def _reduce(self, kind: str, tensor: str) -> str:
        """Reduce the last axis, which is an input since opset 18 and an attribute before."""
        if self._opset >= 18:
            return self._add(kind, tensor, self._const(np.array([-1])), keepdims=1)
        return self._add(kind, tensor, axes=[-1], keepdims=1)

    def _add(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, [output or self._name()], **attributes))
        return str(self.nodes[-1].output[0])

    def _const(self, value: np.ndarray) -> str:
        from onnx import numpy_helper

        self._graph.initializer.append(numpy_helper.from_array(value, self._name()))
        return str(self._graph.initializer[-1].name)

    def _name(self) -> str:
        self._count += 1
        return f"skltransfer_row_{self._count}"


def quantize_blockwise(model: onnx.ModelProto, block: int, *, level: int) -> onnx.ModelProto:
    """Quantize the weights of matrix products to 8 bits in blocks, each with a scale (``MatMulNBits`` [1]_).

    Parameters
    ----------
    model : onnx.ModelProto
        Changed in place.
    block : int
        Number of weights of a column that share a scale: a power of two, at least 16.
    level : int
        ``accuracy_level``, the precision of the inputs: 1 is float32, 4 is 8-bit integers with a scale per row and
        block.

    References
    ----------
    .. [1] https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md#com.microsoft.MatMulNBits
    """
    from onnx import helper, numpy_helper

    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    for i, node in enumerate(matmuls(model)):
        matrix = numpy_helper.to_array(weights[node.input[1]])
        numbers, scales = _blocks(matrix, block)
        names = [f"skltransfer_{kind}_{i}" for kind in ("numbers", "scales")]
        new = zip((numbers, scales), names, strict=True)
        model.graph.initializer.extend(numpy_helper.from_array(array, name) for array, name in new)
        attributes = {
            "K": matrix.shape[0],
            "N": matrix.shape[1],
            "bits": 8,
            "block_size": block,
            "accuracy_level": level,
        }
        inputs = [node.input[0], *names]
        node.CopyFrom(helper.make_node("MatMulNBits", inputs, node.output, node.name, domain=CONTRIB, **attributes))
    return _finished(model)


def _finished(model: onnx.ModelProto) -> onnx.ModelProto:
    """Declare the domain of the new operators, and remove weights that are no longer used."""
    from onnx import helper

    if CONTRIB not in {opset.domain for opset in model.opset_import}:
        model.opset_import.append(helper.make_opsetid(CONTRIB, 1))
    used = {name for body in bodies(model) for node in body.node for name in node.input}
    keep(model.graph.initializer, lambda tensor: tensor.name in used)
    return model


def _blocks(matrix: np.ndarray, block: int) -> tuple[np.ndarray, np.ndarray]:
    """Round a matrix (k, n) to uint8 (n, blocks, block) with zero point 128, and scales (n, blocks)."""
    k, n = matrix.shape
    blocks = -(-k // block)
    columns = np.zeros((n, blocks * block), np.float32)
    columns[:, :k] = matrix.T
    columns = columns.reshape(n, blocks, block)
    largest = np.abs(columns).max(axis=2)
    scales = np.where(largest > 0, largest / 127, 1).astype(np.float32)
    return np.rint(columns / scales[..., np.newaxis] + 128).astype(np.uint8), scales
