"""Runs through buffers that stay on the device, in few shapes.

When a GPU library first sees a shape it searches for the fastest way to compute it, which takes seconds; and allocating
memory at every run costs more than the copy into it. So batches are padded to a power of two of samples, and each
such shape has its own input and output buffers: several pairs if several threads run at once, so that one batch is
copied while another is computed.

A CUDA graph (``enable_cuda_graph=1`` in `OPTIONS`, see [1]_) is the sequence of kernels of one run. It is recorded at
the second run of a slot, when all buffers exist, and replayed with one call afterwards. That saves the kernel launches,
which take most of the time of small batches of small networks. While a graph is recorded nothing else may use the GPU,
so runs then follow one another and nothing is copied meanwhile.

References
----------
.. [1] https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html#using-cuda-graphs-preview
"""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import numpy.typing as npt

from skltransfer._engine.runtime._cancel import Cancel
from skltransfer._engine.runtime._device import Device
from skltransfer._engine.runtime._staging import Staging
from skltransfer._engine.runtime._tensors import Torch

#: Slots kept per session; the least recently used shape is dropped first.
MAX_SLOTS = 32
#: Slots recorded as CUDA graphs. Each graph keeps its memory for as long as the session lives; later slots run without.
MAX_GRAPHS = 16
#: Value of ONNX Runtime's ``gpu_graph_id`` for a run that is neither recorded nor replayed.
NO_GRAPH = -1

Shape = tuple[tuple[int, ...], str]


class _Slot:
    """Buffers for batches of one shape, bound to a session; used by one thread at a time.

    `options` of the first run and of later runs, where given, replace the cancel switch: a replay cannot be canceled.
    """

    def __init__(
        self, ort: Any, session: Any, place: tuple[str, int], samples: npt.NDArray[Any], options: tuple[Any, Any]
    ) -> None:
        self._session, self._place, self._options = session, place, options
        self._input = ort.OrtValue.ortvalue_from_shape_and_type(samples.shape, samples.dtype.type, *place)
        self._output = session.get_outputs()[0].name
        self._binding = session.io_binding()
        self._binding.bind_ortvalue_input(session.get_inputs()[0].name, self._input)
        self._binding.bind_output(self._output, *place)  # the first run allocates a buffer of the right shape
        self._fresh = True

    def run(self, samples: npt.NDArray[Any], cancel: Cancel | None, output: Torch | None) -> Any:
        """Copy the samples in, run, and copy the rows out, or within the device if there is an `output`."""
        self._input.update_inplace(samples)
        self._session.run_with_iobinding(self._binding, self._options[not self._fresh] or cancel)
        if self._fresh:  # later runs use that buffer again
            self._binding.bind_ortvalue_output(self._output, self._binding.get_outputs()[0])
            self._fresh = False
        if output is not None:
            return output.take(self._binding.get_outputs()[0])
        rows: npt.NDArray[np.float32] = self._binding.copy_outputs_to_cpu()[0]
        return np.array(rows)  # on the CPU this may be the buffer, which the next run overwrites


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
        Memory to collate batches in.
    """

    def __init__(self, ort: Any, session: Any, device: Device, *, graphs: bool = False) -> None:
        self._ort, self._session, self._place = ort, session, (device.memory, device.index)
        self.staging = Staging(lock=device.kind != "cpu")
        self._numbers = itertools.count(1) if graphs else None
        self._alone: AbstractContextManager[Any] = threading.Lock() if graphs else nullcontext()
        self._free: OrderedDict[Shape, list[_Slot]] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def shapes(self) -> list[Shape]:
        """Shapes and types that have buffers, the most recently used last."""
        with self._lock:
            return list(self._free)

    def release(self) -> None:
        """Free the buffers that no run uses now."""
        with self._lock:
            self._free.clear()

    def run(self, samples: npt.NDArray[Any], cancel: Cancel | None, output: Torch | None = None) -> Any:
        """Run a batch as it is; pad it to `padded_size` before."""
        with self._alone:
            shape = (samples.shape, samples.dtype.name)
            slot = self._pop(shape) or _Slot(self._ort, self._session, self._place, samples, self._run_options())
            rows = slot.run(np.ascontiguousarray(samples), cancel, output)
            self._push(shape, slot)  # a slot whose run failed is not used again
        return rows

    def _pop(self, shape: Shape) -> _Slot | None:
        with self._lock:
            slots = self._free.setdefault(shape, [])
            self._free.move_to_end(shape)
            return slots.pop() if slots else None

    def _push(self, shape: Shape, slot: _Slot) -> None:
        with self._lock:
            self._free.setdefault(shape, []).append(slot)
            while sum(map(len, self._free.values())) > MAX_SLOTS:
                oldest = next(iter(self._free))
                self._free.pop(oldest)

    def _run_options(self) -> tuple[Any, Any]:
        """Return the run options of a slot, for its first and later runs; Nones if no graphs are recorded."""
        if self._numbers is None:
            return None, None
        number = next(self._numbers)
        return self._numbered(NO_GRAPH), self._numbered(number if number <= MAX_GRAPHS else NO_GRAPH)

    def _numbered(self, number: int) -> Any:
        options = self._ort.RunOptions()
        options.add_run_config_entry("gpu_graph_id", str(number))
        return options


def padded_size(count: int, most: int) -> int:
    """Return the number of samples a batch is padded to: the next power of two, or `most` if that is less."""
    return max(count, min(most, 1 << (count - 1).bit_length()))
