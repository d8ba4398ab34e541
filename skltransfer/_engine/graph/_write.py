"""Serialize a graph in pieces, without copying its weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from skltransfer.errors import ModelError

if TYPE_CHECKING:
    import onnx

#: Tensors with more numbers than this are large weights; constants of shape computations are far smaller.
LARGE = 1024
#: Largest size of a protobuf message.
MAX_BYTES = 2**31 - 1

#: Protobuf tags of the fields ModelProto.graph, GraphProto.initializer and TensorProto.raw_data.
GRAPH, INITIALIZER, RAW_DATA = (bytes([number << 3 | 2]) for number in (7, 5, 9))


def pieces(model: onnx.ModelProto) -> Iterator[bytes]:
    """Yield a serialized model in pieces: everything but its weights, then one weight after the other.

    Serializing it at once would hold two more copies of all weights in memory. A protobuf message may be divided
    between fields: messages that follow each other are merged, and repeated fields, such as weights, concatenated
    [1]_.

    Raises
    ------
    ModelError
        If the model has more than `MAX_BYTES` of weights.

    References
    ----------
    .. [1] https://protobuf.dev/programming-guides/encoding/#last-one-wins
    """
    yield without_weights(model).SerializeToString()
    written = 0
    for tensor in weights(model):
        numbers = tensor.raw_data
        rest = hollow(tensor).SerializeToString() if numbers else tensor.SerializeToString()
        field = rest + (RAW_DATA + _varint(len(numbers)) if numbers else b"")
        length = len(field) + len(numbers)
        written += length
        if written > MAX_BYTES:
            raise ModelError(
                f"The graph has more weights than the {MAX_BYTES:,} bytes of an ONNX file without external data."
            )
        inside = INITIALIZER + _varint(length)
        yield GRAPH + _varint(len(inside) + length) + inside + field
        yield numbers


def weights(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Return the large initializers."""
    return (tensor for tensor in model.graph.initializer if is_large(tensor))


def is_large(tensor: onnx.TensorProto) -> bool:
    return bool(math.prod(tensor.dims) > LARGE)  # ByteSize() would serialize it


def hollow(tensor: onnx.TensorProto) -> onnx.TensorProto:
    """Return a tensor with the same name, type and shape, and without values."""
    import onnx

    return onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)


def without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of a model without its large initializers."""
    import onnx

    bare = onnx.ModelProto()
    for field, value in model.ListFields():
        if field.name != "graph":
            bare.MergeFrom(onnx.ModelProto(**{field.name: value}))
    for field, value in model.graph.ListFields():
        if field.name != "initializer":
            bare.graph.MergeFrom(onnx.GraphProto(**{field.name: value}))
    bare.graph.initializer.extend(t for t in model.graph.initializer if not is_large(t))
    return bare


def _varint(number: int) -> bytes:
    """Encode a number as protobuf varint: groups of seven bits, the lowest first, all but the last marked."""
    groups = []
    while number > 127:
        groups.append(number & 127 | 128)
        number >>= 7
    return bytes([*groups, number])
