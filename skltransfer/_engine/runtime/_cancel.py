"""The switch that ends runs early."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from skltransfer._engine.runtime._providers import import_onnxruntime


class Cancel(Protocol):
    """Switch that ends the runs that hold it: ONNX Runtime's ``RunOptions``."""

    terminate: bool


def cancel_switch(*, shrink: bool = False) -> Cancel:
    """Return a new switch for `Session.run`; setting its ``terminate`` ends the runs that hold it.

    With `shrink` each run gives back the memory of its intermediate results, which ONNX Runtime otherwise keeps for the
    next run: of a batch that is larger than all that follow it would be kept for nothing. For sessions on the CPU.
    """
    cancel = import_onnxruntime().RunOptions()
    if shrink:
        cancel.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    return cancel  # type: ignore[no-any-return]  # not typed


@contextmanager
def time_limit(seconds: float, *, shrink: bool = False) -> Iterator[Cancel]:
    """Yield a switch that is set by itself after some seconds of wall time; `shrink` as in `cancel_switch`."""
    cancel = cancel_switch(shrink=shrink)
    timer = threading.Timer(seconds, setattr, (cancel, "terminate", True))
    timer.daemon = True
    timer.start()
    try:
        yield cancel
    finally:
        timer.cancel()
