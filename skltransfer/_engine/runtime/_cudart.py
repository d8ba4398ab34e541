"""The few calls of the CUDA runtime that ONNX Runtime has no Python for: memory that is locked, memory that is free.

Where there is no CUDA runtime, nothing is locked and nothing is known; everything else goes on as before.
"""

from __future__ import annotations

import ctypes
import functools
import sys
import weakref
from typing import Any

import numpy.typing as npt

from skltransfer._engine.runtime._devices import Device, import_onnxruntime

#: ``cudaHostRegisterPortable``: locked for every device, not only for the one the thread uses.
FOR_EVERY_DEVICE = 1


@functools.cache
def _library() -> Any:
    """Find the CUDA runtime ONNX Runtime was built for, which it has loaded where a GPU runs; None elsewhere."""
    major = (getattr(import_onnxruntime(), "cuda_version", "") or "").partition(".")[0]
    name = f"cudart64_{major}.dll" if sys.platform == "win32" else f"libcudart.so.{major}"
    try:
        return ctypes.CDLL(name)
    except OSError:
        return None


def lock_pages(block: npt.NDArray[Any]) -> bool:
    """Keep the system from moving an array's memory, so that a device copies from it at the full speed of the bus.

    Of other memory the driver first makes a copy in a locked buffer of its own. The lock ends with the array.

    Parameters
    ----------
    block : ndarray
        Contiguous, and owner of its memory.

    Returns
    -------
    bool
        Whether it was done; it is an offer to the device, not a condition.
    """
    library, address = _library(), block.ctypes.data
    if library is None or not block.nbytes:
        return False
    if library.cudaHostRegister(ctypes.c_void_p(address), ctypes.c_size_t(block.nbytes), FOR_EVERY_DEVICE):
        return False
    # Called before the memory is given back; at exit the driver may be gone, and the process gives back everything.
    weakref.finalize(block, library.cudaHostUnregister, ctypes.c_void_p(address)).atexit = False
    return True


def free_memory(device: Device) -> int | None:
    """Count the bytes that are free on a device; None where that cannot be known, as on a CPU."""
    library = _library() if device.kind != "cpu" else None
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    if library is None or library.cudaSetDevice(device.index):
        return None
    return None if library.cudaMemGetInfo(ctypes.byref(free), ctypes.byref(total)) else int(free.value)
