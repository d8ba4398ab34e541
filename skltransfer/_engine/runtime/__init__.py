"""ONNX Runtime: devices, sessions, threads, and buffers on the device.

The room knows nothing of cards, samples or estimators: it takes graphs as bytes or files, and arrays. ``clear()`` drops
every open session.
"""

from skltransfer._engine.runtime._bus import bus_speed
from skltransfer._engine.runtime._cancel import Cancel, cancel_switch, time_limit
from skltransfer._engine.runtime._cudart import free_memory
from skltransfer._engine.runtime._device import ALL, Device
from skltransfer._engine.runtime._diagnosis import Finding, diagnose, diagnose_cpu
from skltransfer._engine.runtime._driver import present as has_gpu
from skltransfer._engine.runtime._providers import PROVIDERS, import_onnxruntime
from skltransfer._engine.runtime._resolve import resolve, why_not
from skltransfer._engine.runtime._session import Room, Rows, Session
from skltransfer._engine.runtime._shapes import OpenGraph
from skltransfer._engine.runtime._table import clear, open_sessions, rows_run, session
from skltransfer._engine.runtime._tensors import OUTPUTS, Torch
from skltransfer._engine.runtime._threads import cpu_share, workers

__all__ = [
    "ALL",
    "OUTPUTS",
    "OpenGraph",
    "PROVIDERS",
    "Cancel",
    "Device",
    "Finding",
    "Room",
    "Rows",
    "Session",
    "Torch",
    "bus_speed",
    "cancel_switch",
    "clear",
    "cpu_share",
    "diagnose",
    "diagnose_cpu",
    "free_memory",
    "has_gpu",
    "import_onnxruntime",
    "open_sessions",
    "resolve",
    "rows_run",
    "session",
    "time_limit",
    "why_not",
    "workers",
]
