"""From the name of a device to one that runs.

A device that is named runs or raises. ``"auto"`` chooses the first GPU or the CPU, and warns once if a GPU is present
and cannot be used. ONNX Runtime alone would log a line and run on the CPU.
"""

from __future__ import annotations

import os
import re

from skltransfer._engine import process
from skltransfer._engine.runtime import _driver
from skltransfer._engine.runtime._device import ALL, Device
from skltransfer._engine.runtime._diagnosis import check_cudnn, diagnose
from skltransfer._engine.runtime._providers import PROVIDERS, import_onnxruntime, preload_cuda, provider_options
from skltransfer.errors import DeviceError, DeviceWarning, shorten, warn

#: A graph of one Identity node on float32 (1,), enough to see whether a provider starts. Written out because this room
#: does not import onnx; a test rebuilds it with onnx and compares.
IDENTITY_MODEL = (
    b'\x08\x08:7\n\x10\n\x01x\x12\x01y"\x08Identity\x12\x01gZ\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01'
    b"b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\r"
)


def resolve(name: str) -> Device:
    """Return the device of a name, after checking that it runs.

    Parameters
    ----------
    name : str
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"cuda:all"``; ``"tensorrt"`` likewise.

    Returns
    -------
    Device

    Raises
    ------
    DeviceError
        If the named device cannot run: the reason, and what to type.
    ValueError
        If the name is not of that form.
    """
    if name == "auto":
        return _best()
    match = re.fullmatch(r"(cpu|(cuda|tensorrt)(?::(\d+|all))?)", name)
    if match is None:
        raise ValueError(
            f"device={shorten(repr(name))} is not one of 'auto', 'cpu', 'cuda', 'cuda:1', 'cuda:all' or, likewise, "
            "'tensorrt'."
        )
    device = Device(match[2] or "cpu", ALL if match[3] == "all" else int(match[3] or 0))
    for single in device.each() if device.kind != "cpu" else ():
        if reason := why_not(single):
            raise DeviceError(f"device={name!r} cannot run here: {reason}")
    return device


def _best() -> Device:
    """Return the first GPU if it runs, else the CPU; warn once if a GPU is present and does not run."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1") or not _driver.query().devices:
        return Device()
    reason = why_not(Device("cuda"))
    if not reason:
        return Device("cuda")
    _warn_once(f"A GPU is present and cannot be used; the CPU runs instead: {reason} (To silence this: device='cpu'.)")
    return Device()


@process.memo(None)
def _warn_once(message: str) -> None:
    warn(message, DeviceWarning)


@process.memo(None)
def why_not(device: Device) -> str:
    """Return the reason why a device cannot run, after trying it; empty if it can.

    A graph of one node is opened on the device, and ONNX Runtime reports the provider that runs it. That graph needs no
    cuDNN, so cuDNN is checked as well: without it newer versions of ONNX Runtime open a convolution, and then fail or
    run slowly.
    """
    refused = _refused(device)
    for finding in diagnose(device) if refused else (check_cudnn(device),):
        if not finding.ok:
            return f"{finding.what}: {finding.seen}." + (f" Type: {finding.fix}" if finding.fix else "")
    return f"ONNX Runtime refuses it: {refused}." if refused else ""


def _refused(device: Device) -> str:
    """Open a graph on the device; return ONNX Runtime's message if that fails, else an empty string."""
    ort = import_onnxruntime()
    wanted = PROVIDERS[device.kind][0]
    if wanted not in ort.get_available_providers():
        return f"this build has no {wanted}"
    preload_cuda(ort)
    ort.set_default_logger_severity(4)  # ONNX Runtime would print the reason to stderr; it is raised instead
    try:
        # With its own fallback ONNX Runtime would print to stdout and run on the CPU.
        session = ort.InferenceSession(IDENTITY_MODEL, providers=provider_options(device), enable_fallback=0)
    except Exception as err:  # noqa: BLE001 - whatever a driver throws means no
        return _shortened(err)
    finally:
        ort.set_default_logger_severity(2)
    runs = session.get_providers()[0]
    return "" if runs == wanted else f"it runs a graph on {runs} instead"


def _shortened(err: Exception) -> str:
    """Return the part of an ONNX Runtime message that matters: the failure that CUDA named, or the first line."""
    failure = re.search(r"(CUDA|CUDNN|CUBLAS) failure[^;\n]*", str(err))
    return (failure[0] if failure else str(err).strip().partition("\n")[0][:300]).strip(" .;")
