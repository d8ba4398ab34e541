"""One session per process, recipe and device: opened once, shared by every thread, let go when many others came.

Why a table of the whole process: an ONNX Runtime session can be neither pickled nor copied, and scikit-learn does both
to estimators all the time. With the sessions here, an estimator's pickle is about 1 kB and a clone costs microseconds.

Fork: an inherited session must not be used, and must not be dropped either (its destructor waits for threads the child
does not have). So a child forgets the table but keeps it referenced, and opens its own.
"""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from skltransfer._engine.runtime._bound import Bound, full
from skltransfer._engine.runtime._cudart import free_memory
from skltransfer._engine.runtime._devices import PROVIDERS, Device, import_onnxruntime, preload_cuda, provider_options
from skltransfer.errors import DeviceError, ModelError, OutOfMemoryError, SklTransferError

if TYPE_CHECKING:
    from skltransfer._engine.runtime._tensors import Torch

#: A batch twice as large must be faster by this factor, sample by sample, to be worth its memory.
WORTH = 1.05
#: Sizes that are tried, each twice the one before, and the seconds of a run after which no larger one is.
MOST_DOUBLINGS, LONG = 5, 0.25

#: Sessions kept open; the one unused for longest is let go first.
MAX_SESSIONS = 8

Rows = npt.NDArray[np.float32]
#: Makes an array to fill, of a shape and a type.
Room = Callable[[tuple[int, ...], Any], npt.NDArray[Any]]


class Cancel(Protocol):
    """What makes runs end early: ONNX Runtime's ``RunOptions``."""

    terminate: bool


def cancel_switch() -> Cancel:
    """Make a switch to hand to `Session.run`; setting ``terminate`` ends the runs that hold it."""
    return import_onnxruntime().RunOptions()  # type: ignore[no-any-return]


class Session:
    """An open graph on a device. `run` may be called by many threads at once.

    Parameters
    ----------
    model : path or bytes
        A graph with one input and one output, nothing outside it: its file, which is read once, or the bytes of one.
    device : Device
        Where to run; if ONNX Runtime would run it elsewhere, it raises.
    batch : int, optional
        The only batch size the graph takes; pieces are filled up by repeating their last sample.
    allow_tf32 : bool
        Whether a GPU must multiply with all bits of float32, rather than with ten of them (TF32).
    engines : path, optional
        Where TensorRT keeps what it builds of this graph, and of no other.
    bound : bool, optional
        Whether to run through buffers that stay on the device, see `_bound`; by default on every device but the CPU.

    Attributes
    ----------
    providers : tuple of str
        What ONNX Runtime reports to run on, best first.
    rows_run : int
        Rows put through the graph so far, those of the probe left out.
    width : int
        Columns of a row; set by the probe.
    best : int or None
        The batch size `tune` found.
    """

    def __init__(
        self,
        model: os.PathLike[str] | bytes,
        device: Device,
        *,
        batch: int | None = None,
        allow_tf32: bool = True,
        engines: Path | None = None,
        bound: bool | None = None,
    ) -> None:
        ort = import_onnxruntime()
        if device.kind != "cpu":
            preload_cuda(ort)
        source = model if isinstance(model, bytes) else os.fspath(model)
        providers = provider_options(device, allow_tf32=allow_tf32, engines=engines)
        try:
            self._session = ort.InferenceSession(source, _options(ort), providers=providers, enable_fallback=0)
        except Exception as err:
            raise _refusal(device, err) from err
        self.providers: tuple[str, ...] = tuple(self._session.get_providers())
        if self.providers[0] != PROVIDERS[device.kind][0]:
            raise DeviceError(
                f"device={str(device)!r} was asked for and ONNX Runtime runs this graph on {self.providers[0]}. "
                "Find out why with: skltransfer doctor"
            )
        self._input = self._session.get_inputs()[0].name
        bound = device.kind != "cpu" if bound is None else bound
        self._device = device
        graphs = any(options.get("enable_cuda_graph") == "1" for _, options in providers)  # TensorRT falls back to CUDA
        self._lazy = Bound(ort, self._session, device, graphs=graphs)
        self._bound = self._lazy if bound else None
        self.rows_run = self.width = 0
        self.best: int | None = None
        self._tuning = threading.Lock()
        self._lock = threading.Lock()
        self.fix_batch(batch)

    def fix_batch(self, batch: int | None, *, most: int | None = None) -> None:
        """Take pieces of exactly this many samples from now on, at most `most` of them different; None: any number."""
        self.batch, self._most = batch, most or batch or 2**31

    def run(self, samples: npt.NDArray[Any], cancel: Cancel | None = None, output: Torch | None = None) -> Any:
        """Run the graph.

        Parameters
        ----------
        samples : ndarray of shape (n, ...)
            Prepared samples; C-contiguous and in native byte order, for ONNX Runtime reads the memory as it lies.
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
        """Run a batch that is put together where the device copies it from at the full speed of the bus.

        Parameters
        ----------
        collate : callable
            Asks once for room, which is given a shape and a type, fills it and gives it back.
        cancel, leave
            As in `run`.

        Returns
        -------
        ndarray or tensor of shape (n, columns), float32
        """
        if self._bound is None or self.batch:
            return self.run(collate(np.empty), cancel, output)
        with self._bound.staging.lend() as block:

            def room(shape: tuple[int, ...], dtype: Any) -> npt.NDArray[Any]:
                return block.room((full(shape[0], self._most), *shape[1:]), dtype)

            samples = collate(lambda shape, dtype: room(shape, dtype)[: shape[0]])
            whole, count = room(samples.shape, samples.dtype), len(samples)
            whole[count:] = samples[-1]
            rows = self._rows(whole, cancel, output)[:count]
        self._count(count)
        return rows

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
                if not _is_out_of_memory(err):
                    raise
                self._halve(size, err)
                continue
            start += size
        if len(pieces) == 1:
            return pieces[0]
        return np.concatenate(pieces) if output is None else output.join(pieces)

    def tune(
        self,
        samples: npt.NDArray[Any],
        clock: Callable[[], float] = time.perf_counter,
        free: Callable[[Device], int | None] = free_memory,
    ) -> int:
        """Find the batch size that is worth its memory: double it for as long as that makes samples faster, and fits.

        Parameters
        ----------
        samples : ndarray of shape (n, ...)
            A batch; larger ones are made by repeating it.
        clock : callable
            Tells the time, in seconds.
        free : callable
            Tells the bytes that are free on a device, or None.

        Returns
        -------
        int
            Samples per run; the same at every later call.
        """
        with self._tuning:
            if self.best is None:
                self.best = self._tuned(samples, clock, lambda: free(self._device))
            return self.best

    def _tuned(self, samples: npt.NDArray[Any], clock: Callable[[], float], free: Callable[[], int | None]) -> int:
        best, fastest, took = len(samples), 0.0, 0
        for size in (len(samples) << doublings for doublings in range(MOST_DOUBLINGS)):
            before = free()
            if before is not None and before < 4 * took:
                break  # twice as many samples take twice as much, and two batches are under way at a time
            larger = np.resize(samples, (size, *samples.shape[1:]))
            self._rows(larger)  # the first run of a shape is not like the others
            took = (before or 0) - (free() or 0)
            start = clock()
            self._rows(larger)
            seconds = max(clock() - start, 1e-9)
            if self._most < size or size / seconds < WORTH * fastest:
                return min(best, self._most)
            best, fastest = size, size / seconds
            if seconds > LONG:
                break
        return best

    def _run_piece(self, samples: npt.NDArray[Any], cancel: Cancel | None, output: Torch | None) -> Any:
        count, bound = len(samples), self._bound or (self._lazy if output is not None else None)
        wanted = self.batch or (full(count, self._most) if bound else count)
        if wanted > count:
            samples = np.concatenate([samples, np.repeat(samples[-1:], wanted - count, axis=0)])
        if bound:
            return bound.run(samples, cancel, output)[:count]
        rows: Rows = self._session.run(None, {self._input: samples}, cancel)[0]
        return rows[:count]

    def _halve(self, size: int, err: Exception) -> None:
        """Remember a batch size that may fit, or give up."""
        if size == 1 or self.batch:
            raise OutOfMemoryError(
                f"{self.providers[0]} has no memory for a batch of {size}: {err}. Close other programs on the device, "
                "take a smaller model, or pass device='cpu'."
            ) from err
        self._most = min(self._most, size // 2)
        self._lazy.let_go()


def _options(ort: Any) -> Any:
    """Options of every session: one thread, which never spins (measured: more threads cost more than they give)."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4  # errors are raised; ONNX Runtime would also print them, even those of a probe
    return options


def _refusal(device: Device, err: Exception) -> SklTransferError:
    """Name what kept a graph from being opened."""
    if _is_out_of_memory(err):
        return OutOfMemoryError(f"device={str(device)!r} has no memory for this graph: {err}")
    return ModelError(f"ONNX Runtime cannot open this graph on device={str(device)!r}: {err}")


#: What ONNX Runtime, CUDA, cuBLAS, cuDNN and C++ say, in lower case, when memory is short.
OUT_OF_MEMORY = (
    "failed to allocate memory",
    "failed to find a free memory block",
    "is smaller than requested bytes",
    "allocation failed",
    "allocation_failed",
    "alloc_failed",
    "out of memory",
    "bad_alloc",
)


def _is_out_of_memory(err: Exception) -> bool:
    text = str(err).lower()
    return isinstance(err, MemoryError) or any(sign in text for sign in OUT_OF_MEMORY)


_sessions: OrderedDict[tuple[str, str], Session] = OrderedDict()
_opening: dict[tuple[str, str], threading.Lock] = {}
_lock = threading.Lock()
_inherited: list[Any] = []


def session(key: str, device: Device, open_session: Callable[[], Session]) -> Session:
    """Give the session of a recipe on a device, opening it if this process has none.

    Parameters
    ----------
    key : str
        `Recipe.key`.
    device : Device
        Where it runs.
    open_session : callable
        Called only if needed, by one thread at a time.
    """
    name = (key, str(device))
    with _lock:
        if name in _sessions:
            _sessions.move_to_end(name)
            return _sessions[name]
        opening = _opening.setdefault(name, threading.Lock())
    with opening:
        with _lock:
            if name in _sessions:
                return _sessions[name]
        opened = open_session()
        with _lock:
            _sessions[name] = opened
            _opening.pop(name, None)
            while len(_sessions) > MAX_SESSIONS:
                _sessions.popitem(last=False)
        return opened


def clear() -> None:
    """Let go of every session of this process: their memory is given back once no run uses them."""
    with _lock:
        _sessions.clear()


def open_sessions() -> dict[tuple[str, str], Session]:
    """Give the open sessions by recipe key and device, the one used last at the end."""
    with _lock:
        return dict(_sessions)


def _forget_after_fork() -> None:
    """In a child: new, empty tables; the old ones stay referenced for ever."""
    global _sessions, _opening, _lock
    _inherited.append((_sessions, _opening, _lock))
    _sessions, _opening, _lock = OrderedDict(), {}, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
