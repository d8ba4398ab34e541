"""The NVIDIA driver, asked through ctypes: its CUDA version and its visible devices. No CUDA toolkit is needed."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path
from typing import NamedTuple

from skltransfer._engine import process

#: ``CUDA_ERROR_NO_DEVICE`` of ``cuInit``: there is no GPU, or ``CUDA_VISIBLE_DEVICES`` hides them all.
NO_DEVICE = 100
#: Vendor of a device on the PCI bus, and the class of devices that display or compute.
NVIDIA, DISPLAY = "0x10de", "0x03"


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


def present() -> bool:
    """Return whether there is a GPU of NVIDIA, with a driver or without."""
    if query().devices or Path("/dev/nvidiactl").exists():
        return True
    vendors = Path("/sys/bus/pci/devices").glob("*/vendor")
    return any(_is_gpu(file.parent) for file in vendors)


def _is_gpu(device: Path) -> bool:
    try:
        vendor, kind = (device / "vendor").read_text(), (device / "class").read_text()
    except OSError:
        return False
    return vendor.strip() == NVIDIA and kind.startswith(DISPLAY)


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
