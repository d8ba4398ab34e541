"""ONNX Runtime: which device runs, one session per process, recipe and device, how many threads.

The room knows nothing of cards, samples or estimators: it is given bytes and arrays. ``runtime.clear()`` lets go of
every open session.
"""

from skltransfer.runtime._bound import bus_speed
from skltransfer.runtime._cudart import free_memory
from skltransfer.runtime._devices import ALL, PROVIDERS, Device, Finding, diagnose, import_onnxruntime, resolve, why_not
from skltransfer.runtime._left import OUTPUTS, Torch
from skltransfer.runtime._sessions import Room, Rows, Session, Stop, clear, open_sessions, session, stop_switch
from skltransfer.runtime._threads import cpu_share, workers

__all__ = [
    "ALL",
    "OUTPUTS",
    "PROVIDERS",
    "Device",
    "Finding",
    "Room",
    "Rows",
    "Session",
    "Stop",
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
    "stop_switch",
    "why_not",
    "workers",
]
