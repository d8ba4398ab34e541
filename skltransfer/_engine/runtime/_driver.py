"""The NVIDIA driver, asked through ctypes: its CUDA version and its visible devices. No CUDA toolkit is needed."""

from __future__ import annotations

import ctypes
import sys
from typing import NamedTuple

from skltransfer._engine import process

#: ``CUDA_ERROR_NO_DEVICE`` of ``cuInit``: there is no GPU, or ``CUDA_VISIBLE_DEVICES`` hides them all.
NO_DEVICE = 100


class Driver(NamedTuple):
    """State of the NVIDIA driver.

    Attributes
    ----------
    cuda : (int, int)
        Newest CUDA version it supports, such as ``(13, 0)``.
    devices : int
        Number of visible devices.
    problem : str
        Why it cannot be used; empty if it can.
    """

    cuda: tuple[int, int]
    devices: int
    problem: str


@process.memo(None)
def query() -> Driver:
    """Return the state of the NVIDIA driver, asked once per process."""
    library = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(library)
    except OSError as err:
        return Driver((0, 0), 0, f"no NVIDIA driver ({err})")
    version, count = ctypes.c_int(), ctypes.c_int()
    driver.cuDriverGetVersion(ctypes.byref(version))
    if (code := driver.cuInit(0)) not in (0, NO_DEVICE):
        return Driver((0, 0), 0, f"the NVIDIA driver does not start (cuInit returns {code})")
    driver.cuDeviceGetCount(ctypes.byref(count))  # fails and leaves 0 if there is no device
    return Driver((version.value // 1000, version.value % 1000 // 10), count.value, "")
