"""Write a graph without copying its weights: pieces that are a serialized model once they stand one after the other."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from skltransfer.errors import ModelError

if TYPE_CHECKING:
    import onnx

#: Numbers beyond which a tensor is a weight; those that shapes are computed from are far smaller.
LARGE = 1024
#: What a protobuf message may have, and ONNX Runtime reads.
MOST_BYTES = 2**31 - 1

#: Tags in ONNX's own file format: the graph of a model, an initializer of a graph, the raw data of a tensor.
GRAPH, INITIALIZER, RAW_DATA = (bytes([number << 3 | 2]) for number in (7, 5, 9))


def pieces(model: onnx.ModelProto) -> Iterator[bytes]:
    """Serialize a model piece by piece: everything but its weights, then one weight after the other.

    Serializing it at once would hold two more copies of all weights in memory. Messages of protobuf may be cut anywhere
    between fields: one that follows another is merged with it, and repeated fields such as weights are joined [1]_.

    Raises
    ------
    ModelError
        If the model is larger than a file of this kind may be.

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
        if written > MOST_BYTES:
            raise ModelError(f"The graph has more weights than the {MOST_BYTES:,} bytes a file with both may have.")
        inside = INITIALIZER + _varint(length)
        yield GRAPH + _varint(len(inside) + length) + inside + field
        yield numbers


def weights(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Give the initializers that are large."""
    return (tensor for tensor in model.graph.initializer if _is_large(tensor))


def _is_large(tensor: onnx.TensorProto) -> bool:
    return bool(math.prod(tensor.dims) > LARGE)  # its ByteSize() would serialize it, to see


def hollow(tensor: onnx.TensorProto) -> onnx.TensorProto:
    """Copy a tensor's name, type and shape, and none of its numbers."""
    import onnx

    return onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)


def without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Copy everything but the large initializers."""
    import onnx

    bare = onnx.ModelProto()
    for field, value in model.ListFields():
        if field.name != "graph":
            bare.MergeFrom(onnx.ModelProto(**{field.name: value}))
    for field, value in model.graph.ListFields():
        if field.name != "initializer":
            bare.graph.MergeFrom(onnx.GraphProto(**{field.name: value}))
    bare.graph.initializer.extend(t for t in model.graph.initializer if not _is_large(t))
    return bare


def _varint(number: int) -> bytes:
    """Write a number in groups of seven bits, the lowest first, each but the last marked."""
    groups = []
    while number > 127:
        groups.append(number & 127 | 128)
        number >>= 7
    return bytes([*groups, number])
