"""ONNX Runtime: which device runs, one session per process, recipe and device, how many threads.

The room knows nothing of cards, samples or estimators: it is given bytes and arrays. ``runtime.clear()`` lets go of
every open session.
"""

from skltransfer._engine.runtime._bound import bus_speed
from skltransfer._engine.runtime._cudart import free_memory
from skltransfer._engine.runtime._devices import (
    ALL,
    PROVIDERS,
    Device,
    Finding,
    diagnose,
    import_onnxruntime,
    resolve,
    why_not,
)
from skltransfer._engine.runtime._sessions import (
    Cancel,
    Room,
    Rows,
    Session,
    cancel_switch,
    clear,
    open_sessions,
    session,
)
from skltransfer._engine.runtime._tensors import OUTPUTS, Torch
from skltransfer._engine.runtime._threads import cpu_share, workers

__all__ = [
    "ALL",
    "OUTPUTS",
    "PROVIDERS",
    "Device",
    "Finding",
    "Room",
    "Rows",
    "Session",
    "Cancel",
    "Torch",
    "bus_speed",
    "clear",
    "cpu_share",
    "diagnose",
    "free_memory",
    "import_onnxruntime",
    "open_sessions",
    "resolve",
    "session",
    "cancel_switch",
    "why_not",
    "workers",
]
