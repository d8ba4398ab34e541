"""Runs through buffers that stay on the device, in few shapes.

A GPU library searches for the best way to compute a shape when it first sees it, which takes seconds, and memory that
is asked for and given back at every run costs more than the copy into it. So batches are filled up to a power of two of
samples, and each such shape has an input buffer of its own, and an output buffer; several where several threads run at
once, so that one batch is copied while another is computed.

A CUDA graph (``enable_cuda_graph=1`` in `OPTIONS`, see [1]_) is the sequence of kernels of one run, recorded at the
second run of a slot, when all its buffers are there, and replayed with one call afterwards: it saves the launches,
which is what small batches of small networks wait for. While one is recorded nothing else may use the card, so runs
then go one by one, and nothing is copied meanwhile.

References
----------
.. [1] https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html#using-cuda-graphs-preview
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import OrderedDict
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from skltransfer._engine.runtime._devices import Device, import_onnxruntime
from skltransfer._engine.runtime._staging import Block, Staging

if TYPE_CHECKING:
    from skltransfer._engine.runtime._sessions import Cancel
    from skltransfer._engine.runtime._tensors import Torch

#: Buffers kept; those unused for longest are let go first.
MAX_SLOTS = 32
#: Slots that are recorded: every graph keeps memory for as long as the session lives. Later ones run as without.
MAX_GRAPHS = 16
#: ONNX Runtime's number of a graph for a run that is neither recorded nor replayed.
NO_GRAPH = -1

Shape = tuple[tuple[int, ...], str]


class _Slot:
    """Buffers for batches of one shape, bound to a session; used by one thread at a time.

    `options`, of the first run and of later ones, replace the switch that stops a run: a replay cannot be stopped.
    """

    def __init__(
        self, ort: Any, session: Any, place: tuple[str, int], samples: npt.NDArray[Any], options: tuple[Any, Any]
    ) -> None:
        self._session, self._place, self._options = session, place, options
        self._input = ort.OrtValue.ortvalue_from_shape_and_type(samples.shape, samples.dtype.type, *place)
        self._output = session.get_outputs()[0].name
        self._binding = session.io_binding()
        self._binding.bind_ortvalue_input(session.get_inputs()[0].name, self._input)
        self._binding.bind_output(self._output, *place)  # the first run makes a buffer of the right shape
        self._fresh = True

    def run(self, samples: npt.NDArray[Any], cancel: Cancel | None, output: Torch | None) -> Any:
        """Copy in, run, copy out, or within the device."""
        self._input.update_inplace(samples)
        self._session.run_with_iobinding(self._binding, self._options[not self._fresh] or cancel)
        if self._fresh:  # and the later ones use it again
            self._binding.bind_ortvalue_output(self._output, self._binding.get_outputs()[0])
            self._fresh = False
        if output is not None:
            return output.take(self._binding.get_outputs()[0])
        rows: npt.NDArray[np.float32] = self._binding.copy_outputs_to_cpu()[0]
        return np.array(rows)  # on the CPU it may be the buffer itself, which the next run overwrites


class Bound:
    """The slots of a session. `run` may be called by many threads at once.

    Parameters
    ----------
    ort : module
        ONNX Runtime.
    session : onnxruntime.InferenceSession
        With one input and one output.
    device : Device
        Where it runs.
    graphs : bool
        Whether its provider records CUDA graphs.

    Attributes
    ----------
    staging : Staging
        Memory to put batches together in.
    """

    def __init__(self, ort: Any, session: Any, device: Device, *, graphs: bool = False) -> None:
        self._ort, self._session, self._place = ort, session, (memory(device), device.index)
        self.staging = Staging(lock=device.kind != "cpu")
        self._numbers = itertools.count(1) if graphs else None
        self._alone: AbstractContextManager[Any] = threading.Lock() if graphs else nullcontext()
        self._free: OrderedDict[Shape, list[_Slot]] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def shapes(self) -> list[Shape]:
        """Shapes and types there are buffers for, the one used last at the end."""
        with self._lock:
            return list(self._free)

    def let_go(self) -> None:
        """Give back the buffers no run uses now."""
        with self._lock:
            self._free.clear()

    def run(self, samples: npt.NDArray[Any], cancel: Cancel | None, output: Torch | None = None) -> Any:
        """Run a batch as it is; `full` says what to fill it up to."""
        with self._alone:
            shape = (samples.shape, samples.dtype.name)
            slot = self._take(shape) or _Slot(self._ort, self._session, self._place, samples, self._recording())
            rows = slot.run(np.ascontiguousarray(samples), cancel, output)
            self._give_back(shape, slot)  # one whose run failed is not used again
        return rows

    def _take(self, shape: Shape) -> _Slot | None:
        with self._lock:
            slots = self._free.setdefault(shape, [])
            self._free.move_to_end(shape)
            return slots.pop() if slots else None

    def _give_back(self, shape: Shape, slot: _Slot) -> None:
        with self._lock:
            self._free.setdefault(shape, []).append(slot)
            while sum(map(len, self._free.values())) > MAX_SLOTS:
                oldest = next(iter(self._free))
                self._free.pop(oldest)

    def _recording(self) -> tuple[Any, Any]:
        """Give a slot the number of its graph, once its buffers are there; nothing where no graphs are recorded."""
        if self._numbers is None:
            return None, None
        number = next(self._numbers)
        return self._numbered(NO_GRAPH), self._numbered(number if number <= MAX_GRAPHS else NO_GRAPH)

    def _numbered(self, number: int) -> Any:
        options = self._ort.RunOptions()
        options.add_run_config_entry("gpu_graph_id", str(number))
        return options


def bus_speed(device: Device, megabytes: int = 64, *, lock: bool = False) -> float:
    """Measure how fast bytes get into a device's memory.

    Parameters
    ----------
    device : Device
        One that runs.
    megabytes : int
        Size of the block that is copied, three times.
    lock : bool
        Whether from memory whose pages are locked, as batches are; else as NumPy has it.

    Returns
    -------
    float
        Bytes per second.
    """
    ort = import_onnxruntime()
    block = Block(lock=lock).room((megabytes * 2**20,), np.uint8)
    block.fill(1)  # pages that were never written to are one and the same
    there = ort.OrtValue.ortvalue_from_shape_and_type(block.shape, np.uint8, memory(device), device.index)
    seconds = []
    for _ in range(4):  # the first is not like the others
        start = time.perf_counter()
        there.update_inplace(block)
        seconds.append(time.perf_counter() - start)
    return float(block.nbytes / min(seconds[1:]))


def memory(device: Device) -> str:
    """Give ONNX Runtime's name of a device's memory."""
    return "cpu" if device.kind == "cpu" else "cuda"


def full(count: int, most: int) -> int:
    """Give the number of samples a batch is filled up to: a power of two, as far as so many fit."""
    return max(count, min(most, 1 << (count - 1).bit_length()))
