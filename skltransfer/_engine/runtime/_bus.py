"""Speed of the bus between memory and a device."""

from __future__ import annotations

import time

import numpy as np

from skltransfer._engine.runtime._device import Device
from skltransfer._engine.runtime._providers import import_onnxruntime
from skltransfer._engine.runtime._staging import Block


def bus_speed(device: Device, megabytes: int = 64, *, lock: bool = False) -> float:
    """Measure how fast bytes are copied into a device's memory.

    Parameters
    ----------
    device : Device
        A device that runs.
    megabytes : int
        Size of the block that is copied, three times.
    lock : bool
        Whether to copy from pinned (page-locked) memory, as batches are; else from memory as NumPy allocates it.

    Returns
    -------
    float
        Bytes per second.
    """
    ort = import_onnxruntime()
    block = Block(lock=lock).room((megabytes * 2**20,), np.uint8)
    block.fill(1)  # pages that were never written all map to the same zero page
    target = ort.OrtValue.ortvalue_from_shape_and_type(block.shape, np.uint8, device.memory, device.index)
    seconds = []
    for _ in range(4):  # the first copy is slower and is not counted
        start = time.perf_counter()
        target.update_inplace(block)
        seconds.append(time.perf_counter() - start)
    return float(block.nbytes / min(seconds[1:]))
