"""`Device`: the kind and the number of the device a graph runs on."""

from __future__ import annotations

from dataclasses import dataclass

from skltransfer._engine.runtime import _driver

#: Index that stands for every visible device.
ALL = -1


@dataclass(frozen=True)
class Device:
    """A device that runs graphs.

    Parameters
    ----------
    kind : {"cpu", "cuda", "tensorrt"}
        Which of ONNX Runtime's providers runs the graph.
    index : int
        Number of the GPU, from 0, as CUDA counts the visible devices; `ALL` for all of them.
    """

    kind: str = "cpu"
    index: int = 0

    def __str__(self) -> str:
        """Format it as users write it."""
        if self.kind == "cpu" and not self.index:
            return self.kind
        return f"{self.kind}:{'all' if self.index == ALL else self.index}"

    @property
    def memory(self) -> str:
        """Name of its memory, as ``onnxruntime.OrtValue`` takes it."""
        return "cpu" if self.kind == "cpu" else "cuda"

    def each(self) -> tuple[Device, ...]:
        """Return the single devices that this one stands for."""
        if self.index != ALL:
            return (self,)
        return tuple(Device(self.kind, index) for index in range(_driver.query().devices)) or (Device(self.kind),)
