"""Errors of ONNX Runtime, which are told apart by their messages only, as errors of this package."""

from __future__ import annotations

from skltransfer._engine.runtime._device import Device
from skltransfer.errors import ModelError, OutOfMemoryError, SklTransferError

#: Parts of the messages of ONNX Runtime, CUDA, cuBLAS, cuDNN and C++ when memory is short, in lower case.
OUT_OF_MEMORY = (
    "failed to allocate memory",
    "failed to find a free memory block",
    "is smaller than requested bytes",
    "allocation failed",
    "allocation_failed",
    "alloc_failed",
    "out of memory",
    "bad_alloc",
)


def is_out_of_memory(err: Exception) -> bool:
    """Check whether an error means that memory is short."""
    text = str(err).lower()
    return isinstance(err, MemoryError) or any(sign in text for sign in OUT_OF_MEMORY)


def open_error(device: Device, err: Exception) -> SklTransferError:
    """Return the error to raise for a graph that cannot be opened."""
    if is_out_of_memory(err):
        return OutOfMemoryError(f"device={str(device)!r} has no memory for this graph: {err}")
    return ModelError(f"ONNX Runtime cannot open this graph on device={str(device)!r}: {err}")


def batch_error(provider: str, size: int, err: Exception) -> OutOfMemoryError:
    """Return the error to raise for a batch that does not fit and cannot be split."""
    return OutOfMemoryError(
        f"{provider} has no memory for a batch of {size}: {err}. Close other programs on the device, choose a smaller "
        "model, or pass device='cpu'."
    )
