"""Rows that stay on the device, as tensors of another library, exchanged through DLPack [1]_.

References
----------
.. [1] https://dmlc.github.io/dlpack/latest/
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from skltransfer._engine.runtime._device import Device
from skltransfer.errors import need


class Torch:
    """Rows as tensors of PyTorch."""

    def __init__(self) -> None:
        self._torch = need("torch", extra="torch")

    def take(self, value: Any) -> Any:
        """Copy a buffer of ONNX Runtime, which the next run overwrites, into a tensor on the same device."""
        tensor = self._torch.utils.dlpack.from_dlpack(value._get_c_value().to_dlpack()).clone()
        if tensor.is_cuda:  # the copy is on PyTorch's stream, the next run on another
            self._torch.cuda.current_stream(tensor.device).synchronize()
        return tensor

    def join(self, parts: Sequence[Any]) -> Any:
        """Concatenate tensors along the first axis."""
        return self._torch.cat(list(parts))

    def room(self, count: int, shape: Sequence[int], device: Device) -> Any:
        """Allocate rows of a shape on a device; of several devices on the first."""
        return self._torch.empty((count, *shape), dtype=self._torch.float32, device=self._place(device))

    def move(self, rows: Any, device: Device) -> Any:
        """Move a NumPy array to a device; of several devices to the first."""
        return self._torch.from_numpy(rows).to(self._place(device))

    def _place(self, device: Device) -> Any:
        single = device.each()[0]
        return self._torch.device("cpu" if single.kind == "cpu" else f"cuda:{single.index}")


#: Kinds of output other than NumPy arrays, by the value of the parameter `output`.
OUTPUTS = {"torch": Torch}
