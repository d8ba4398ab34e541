"""`Session`: an open graph on a device, run in pieces that fit into its memory."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from skltransfer._engine.runtime._bound import Bound, padded_size
from skltransfer._engine.runtime._cancel import Cancel
from skltransfer._engine.runtime._cudart import free_memory
from skltransfer._engine.runtime._device import Device
from skltransfer._engine.runtime._failures import batch_error, is_out_of_memory
from skltransfer._engine.runtime._open import open_inference_session
from skltransfer._engine.runtime._providers import import_onnxruntime, provider_options
from skltransfer._engine.runtime._tensors import Torch
from skltransfer._engine.runtime._tuning import best_batch_size

Rows = npt.NDArray[np.float32]
#: Returns an array to fill, of a shape and a type.
Room = Callable[[tuple[int, ...], Any], npt.NDArray[Any]]
#: Bytes of a session besides its weights, roughly: its graph, arena and threads (measured: 3 to 20 MB).
OVERHEAD = 16 * 2**20


class Session:
    """An open graph on a device. `run` may be called by many threads at once.

    Parameters
    ----------
    model : path or bytes
        A graph with one input, one output and no external data: its file, which is read once, or its bytes.
    device : Device
        Where to run; an error is raised if ONNX Runtime would run it elsewhere.
    batch_size : int, optional
        The only batch size the graph takes; smaller pieces are padded with copies of their last sample.
    allow_tf32 : bool
        Whether a GPU may multiply float32 with the ten mantissa bits of TF32, which is faster.
    engines : path, optional
        Folder for TensorRT's engines of this graph, and of no other.
    bound : bool, optional
        Whether to run through buffers that stay on the device, see `_bound`; by default on every device but the CPU.
    batch : int, optional
        Another name of `batch_size`.

    Attributes
    ----------
    providers : tuple of str
        The providers ONNX Runtime runs the graph on, best first.
    batch_size : int or None
        The only batch size the graph takes; None if it takes any.
    rows_run : int
        Rows computed so far; those of the probe do not count.
    bytes : int
        Memory it takes, roughly.
    row_shape : tuple of int
        Shape of a row; set by the probe.
    best : int or None
        The batch size that `tune` found.
    """

    def __init__(
        self,
        model: os.PathLike[str] | bytes,
        device: Device,
        *,
        batch_size: int | None = None,
        allow_tf32: bool = True,
        engines: Path | None = None,
        bound: bool | None = None,
    ) -> None:
        ort = import_onnxruntime()
        providers = provider_options(device, allow_tf32=allow_tf32, engines=engines)
        self._session = open_inference_session(ort, model, device, providers)
        self.providers: tuple[str, ...] = tuple(self._session.get_providers())
        self._input = self._session.get_inputs()[0].name
        self._device = device
        bound = device.kind != "cpu" if bound is None else bound
        graphs = any(options.get("enable_cuda_graph") == "1" for _, options in providers)  # TensorRT falls back to CUDA
        self._lazy = Bound(ort, self._session, device, graphs=graphs)
        self._bound = self._lazy if bound else None
        self.rows_run = 0
        self.bytes = OVERHEAD + (len(model) if isinstance(model, bytes) else os.path.getsize(model))
        self.row_shape: tuple[int, ...] = ()
        self.best: int | None = None
        self._tuning = threading.Lock()
        self._lock = threading.Lock()
        self.fix_batch(batch_size)

    def fix_batch(self, batch_size: int | None, *, most: int | None = None) -> None:
        """Run batches of exactly this size from now on, with at most `most` different samples; None: of any size."""
        self.batch_size, self._most = batch_size, most or batch_size or 2**31

    def run(self, samples: npt.NDArray[Any], cancel: Cancel | None = None, output: Torch | None = None) -> Any:
        """Run the graph.

        Parameters
        ----------
        samples : ndarray of shape (n, ...)
            Prepared samples; C-contiguous and in native byte order, because ONNX Runtime reads the memory as it is.
        cancel : RunOptions, optional
            From `cancel_switch`.
        output : Torch, optional
            Leaves the rows on the device, as tensors of its library.

        Returns
        -------
        ndarray or tensor of shape (n, columns), float32

        Raises
        ------
        OutOfMemoryError
            If not even one sample fits.
        """
        rows = self._rows(samples, cancel, output)
        self._count(len(samples))
        return rows

    def run_batch(
        self, collate: Callable[[Room], npt.NDArray[Any]], cancel: Cancel | None = None, output: Torch | None = None
    ) -> Any:
        """Collate a batch in pinned memory, from which a device copies at the full speed of the bus, and run it.

        Parameters
        ----------
        collate : callable
            Is given a `Room`, which it calls once with a shape and a type; fills the array and returns it.
        cancel, output
            As in `run`; so is what is returned.
        """
        if self._bound is None or self.batch_size:
            return self.run(collate(np.empty), cancel, output)
        with self._bound.staging.lend() as block:

            def room(shape: tuple[int, ...], dtype: Any) -> npt.NDArray[Any]:
                return block.room((padded_size(shape[0], self._most), *shape[1:]), dtype)

            samples = collate(lambda shape, dtype: room(shape, dtype)[: shape[0]])
            padded, count = room(samples.shape, samples.dtype), len(samples)
            padded[count:] = samples[-1]
            rows = self._rows(padded, cancel, output)[:count]
        self._count(count)
        return rows

    def tune(
        self,
        samples: npt.NDArray[Any],
        clock: Callable[[], float] = time.perf_counter,
        free: Callable[[Device], int | None] = free_memory,
    ) -> int:
        """Return the batch size that is worth its memory, searched at the first call; see `best_batch_size`."""
        with self._tuning:
            if self.best is None:
                self.best = best_batch_size(samples, self._rows, lambda: self._most, clock, lambda: free(self._device))
            return self.best

    def _count(self, rows: int) -> None:
        with self._lock:
            self.rows_run += rows

    def _rows(self, samples: npt.NDArray[Any], cancel: Cancel | None = None, output: Torch | None = None) -> Any:
        """Run in pieces, as large as memory allows."""
        pieces, start = [], 0
        while start < len(samples):
            size = min(self._most, len(samples) - start)
            try:
                pieces.append(self._run_piece(samples[start : start + size], cancel, output))
            except Exception as err:
                if not is_out_of_memory(err):
                    raise
                self._halve(size, err)
                continue
            start += size
        if len(pieces) == 1:
            return pieces[0]
        return np.concatenate(pieces) if output is None else output.join(pieces)

    def _run_piece(self, samples: npt.NDArray[Any], cancel: Cancel | None, output: Torch | None) -> Any:
        count, bound = len(samples), self._bound or (self._lazy if output is not None else None)
        wanted = self.batch_size or (padded_size(count, self._most) if bound else count)
        if wanted > count:
            samples = np.concatenate([samples, np.repeat(samples[-1:], wanted - count, axis=0)])
        if bound:
            return bound.run(samples, cancel, output)[:count]
        rows: Rows = self._session.run(None, {self._input: samples}, cancel)[0]
        return rows[:count]

    def _halve(self, size: int, err: Exception) -> None:
        """Halve the size that is known to fit; raise if it is one sample already."""
        if size == 1 or self.batch_size:
            raise batch_error(self.providers[0], size, err) from err
        self._most = min(self._most, size // 2)
        self._lazy.release()
