"""Calls of the CUDA runtime that ONNX Runtime does not expose to Python: pin memory, count free memory.

Without a CUDA runtime, memory is not pinned and free memory is unknown.
"""

from __future__ import annotations

import ctypes
import sys
import weakref
from typing import Any

import numpy.typing as npt

from skltransfer._engine import process
from skltransfer._engine.runtime._device import Device
from skltransfer._engine.runtime._providers import import_onnxruntime

#: ``cudaHostRegisterPortable``: pinned for every device, not only for the one the thread uses.
FOR_EVERY_DEVICE = 1


@process.memo(None)
def _library() -> Any:
    """Load the CUDA runtime that ONNX Runtime was built for, which is in memory where a GPU runs; None elsewhere."""
    major = (getattr(import_onnxruntime(), "cuda_version", "") or "").partition(".")[0]
    name = f"cudart64_{major}.dll" if sys.platform == "win32" else f"libcudart.so.{major}"
    try:
        return ctypes.CDLL(name)
    except OSError:
        return None


def lock_pages(block: npt.NDArray[Any]) -> bool:
    """Pin an array's memory, so that a device copies from it at the full speed of the bus.

    The driver copies other memory to a pinned buffer of its own first. The array is unpinned when it is freed.

    Parameters
    ----------
    block : ndarray
        A contiguous array that owns its memory.

    Returns
    -------
    bool
        Whether it was pinned. Everything works without, at a lower speed.
    """
    library, address = _library(), block.ctypes.data
    if library is None or not block.nbytes:
        return False
    if library.cudaHostRegister(ctypes.c_void_p(address), ctypes.c_size_t(block.nbytes), FOR_EVERY_DEVICE):
        return False
    # Runs before the memory is freed. Not at exit: the driver may be gone, and the process frees everything anyway.
    weakref.finalize(block, library.cudaHostUnregister, ctypes.c_void_p(address)).atexit = False
    return True


def free_memory(device: Device) -> int | None:
    """Return the free bytes of a device; None if unknown, as on a CPU."""
    library = _library() if device.kind != "cpu" else None
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    if library is None or library.cudaSetDevice(device.index):
        return None
    return None if library.cudaMemGetInfo(ctypes.byref(free), ctypes.byref(total)) else int(free.value)
