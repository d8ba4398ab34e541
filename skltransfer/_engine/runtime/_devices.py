"""Which device runs: what was asked for, whether it can run here, and if not, why and what mends it.

A named device runs or raises; ``"auto"`` takes the best there is and warns, once, when a GPU is present that cannot be
used. ONNX Runtime alone would log a line and run on the CPU.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.metadata
import io
import os
import re
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from skltransfer.errors import DeviceError, DeviceWarning

#: ONNX Runtime's providers, best first, by the kind of device we name.
PROVIDERS = {
    "cpu": ("CPUExecutionProvider",),
    "cuda": ("CUDAExecutionProvider", "CPUExecutionProvider"),
    "tensorrt": ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"),
}
#: Index that stands for every device there is.
ALL = -1
#: Distributions that install the same `onnxruntime` package and overwrite each other's files.
WHEELS = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino", "onnxruntime-qnn")

FIX_WHEELS = "pip uninstall -y {wheels} && pip install 'onnxruntime-gpu>=1.27'"
FIX_LIBRARIES = "pip install 'skltransfer[cuda]'"
FIX_DRIVER = "install or update the NVIDIA driver (CUDA 13 needs 580 or newer)"

#: A graph of one Identity node on float32 (1,), enough to see whether a provider starts. Written out because this room
#: does not import onnx; a test rebuilds it with onnx and compares.
IDENTITY_MODEL = (
    b'\x08\x08:7\n\x10\n\x01x\x12\x01y"\x08Identity\x12\x01gZ\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01'
    b"b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\r"
)


@dataclass(frozen=True)
class Device:
    """A device that runs graphs.

    Parameters
    ----------
    kind : {"cpu", "cuda", "tensorrt"}
        What runs.
    index : int
        Which one, from 0, as CUDA numbers the visible devices; `ALL` for all of them.
    """

    kind: str = "cpu"
    index: int = 0

    def __str__(self) -> str:
        """Write it as the user does."""
        if self.kind == "cpu" and not self.index:
            return self.kind
        return f"{self.kind}:{'all' if self.index == ALL else self.index}"

    def each(self) -> tuple[Device, ...]:
        """Give the single devices."""
        if self.index != ALL:
            return (self,)
        return tuple(Device(self.kind, index) for index in range(_driver().devices)) or (Device(self.kind),)


class Finding(NamedTuple):
    """One line of the diagnosis: what was looked at, whether it is ok, what was seen, what to type."""

    what: str
    ok: bool
    seen: str
    fix: str = ""


def import_onnxruntime() -> ModuleType:
    """Import ONNX Runtime with its telemetry off.

    From 1.29 the Linux wheels send usage data by default: a thread at import, files in the user's cache folder, and a
    child of ``os.fork()`` that hangs at exit. Set ``ORT_DISABLE_TELEMETRY=0`` to have it nevertheless.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return onnxruntime  # type: ignore[no-any-return]


# ---------------------------------------------------------------------------------------------------------------------
# Choice


def resolve(name: str) -> Device:
    """Turn the name of a device into one that runs.

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
        If a device asked for by name cannot run: the reason, and what to type.
    ValueError
        If the name is not of that form.
    """
    if name == "auto":
        return _best()
    match = re.fullmatch(r"(cpu|(cuda|tensorrt)(?::(\d+|all))?)", name)
    if match is None:
        raise ValueError(
            f"device={name!r} is none of 'auto', 'cpu', 'cuda', 'cuda:1', 'cuda:all'; 'tensorrt' likewise."
        )
    device = Device(match[2] or "cpu", ALL if match[3] == "all" else int(match[3] or 0))
    for single in device.each() if device.kind != "cpu" else ():
        if reason := why_not(single):
            raise DeviceError(f"device={name!r} cannot run here: {reason}")
    return device


def _best() -> Device:
    """Take the first GPU if it runs, else the CPU: silently if there is no GPU, with one warning if there is."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1") or not _driver().devices:
        return Device()
    reason = why_not(Device("cuda"))
    if not reason:
        return Device("cuda")
    _warn_once(f"A GPU is present and cannot be used; the CPU runs instead: {reason} (To silence this: device='cpu'.)")
    return Device()


@functools.cache
def _warn_once(message: str) -> None:
    warnings.warn(message, DeviceWarning, stacklevel=2)


@functools.cache
def why_not(device: Device) -> str:
    """Say why a device cannot run, after trying it; empty if it can.

    A graph of one node is opened on it: what ONNX Runtime then reports to be in use is the truth. That graph needs no
    cuDNN, without which newer versions open convolutions, too, and fail, or crawl, when they run them.
    """
    refused = _refused(device)
    for finding in diagnose(device) if refused else (_look_at_cudnn(device),):
        if not finding.ok:
            return f"{finding.what}: {finding.seen}." + (f" Type: {finding.fix}" if finding.fix else "")
    return f"ONNX Runtime refuses it: {refused}." if refused else ""


def _refused(device: Device) -> str:
    """Try whether ONNX Runtime runs a graph on the device: empty if it does, else what it says."""
    ort = import_onnxruntime()
    wanted = PROVIDERS[device.kind][0]
    if wanted not in ort.get_available_providers():
        return f"this build has no {wanted}"
    preload_cuda(ort)
    ort.set_default_logger_severity(4)  # the reason is ours to give; ONNX Runtime would print its own to stderr
    try:
        # Without a fallback of its own, which it prints to stdout, it raises.
        session = ort.InferenceSession(IDENTITY_MODEL, providers=provider_options(device), enable_fallback=0)
    except Exception as err:  # noqa: BLE001 - whatever a driver throws means no
        return _in_short(err)
    finally:
        ort.set_default_logger_severity(2)
    runs = session.get_providers()[0]
    return "" if runs == wanted else f"it runs a graph on {runs} instead"


def _in_short(err: Exception) -> str:
    """Give what matters of a message of ONNX Runtime's: the failure CUDA named, or its first line."""
    failure = re.search(r"(CUDA|CUDNN|CUBLAS) failure[^;\n]*", str(err))
    return (failure[0] if failure else str(err).strip().partition("\n")[0][:300]).strip(" .;")


def provider_options(
    device: Device, *, allow_tf32: bool = True, engines: Path | None = None
) -> list[tuple[str, dict[str, str]]]:
    """Give the providers of a device with their options, as ONNX Runtime takes them.

    Parameters
    ----------
    device : Device
        Where to run.
    allow_tf32 : bool
        Whether products must have all bits of float32.
    engines : Path, optional
        Folder for TensorRT's engines, which take minutes to build: one of its own for every graph, for what TensorRT
        names them by leaves the weights out.

    Raises
    ------
    DeviceError
        If the environment variable `OPTIONS` is not of the form ``name=value,name=value``.
    """
    cuda = {
        "device_id": str(device.index),
        # A search per new shape costs seconds; the last batch of a run often is one.
        "cudnn_conv_algo_search": "HEURISTIC",
        "arena_extend_strategy": "kSameAsRequested",
        "use_tf32": "1" if allow_tf32 else "0",
    }
    tensorrt = {"device_id": str(device.index)}
    if engines is not None:
        kept = {"engine_cache_enable": "1", "timing_cache_enable": "1"}
        kept |= {"engine_cache_path": str(engines), "timing_cache_path": str(engines)}
        tensorrt |= {f"trt_{name}": value for name, value in kept.items()}
    options = {
        "CUDAExecutionProvider": {**cuda, **_chosen_options()},
        "TensorrtExecutionProvider": tensorrt,
        "CPUExecutionProvider": {},
    }
    return [(provider, options[provider]) for provider in PROVIDERS[device.kind]]


#: Options of the CUDA provider, for who knows better: ``cudnn_conv_algo_search=EXHAUSTIVE,gpu_mem_limit=8000000000``.
OPTIONS = "SKLTRANSFER_CUDA_OPTIONS"


def _chosen_options() -> dict[str, str]:
    chosen = [part.partition("=") for part in os.environ.get(OPTIONS, "").split(",") if part.strip()]
    if wrong := [name for name, _, value in chosen if not value]:
        raise DeviceError(f"{OPTIONS} says {', '.join(wrong)} without a value; write name=value,name=value.")
    return {name.strip(): value.strip() for name, _, value in chosen}


_preload = threading.Lock()


def preload_cuda(ort: ModuleType) -> None:
    """Load CUDA and cuDNN from their Python packages, so that LD_LIBRARY_PATH need not be set.

    What is missing ONNX Runtime prints to stdout; the diagnosis says it.
    """
    with _preload, contextlib.redirect_stdout(io.StringIO()):
        if hasattr(ort, "preload_dlls") and _packages_of_cuda():
            ort.preload_dlls()


@functools.cache
def _packages_of_cuda() -> list[str]:
    """List the installed Python packages that carry CUDA libraries."""
    return sorted({name for d in importlib.metadata.distributions() if (name := d.name or "").startswith("nvidia-")})


# ---------------------------------------------------------------------------------------------------------------------
# Diagnosis


class _Driver(NamedTuple):
    cuda: tuple[int, int]
    devices: int
    problem: str


#: What the driver says if there is no GPU, or ``CUDA_VISIBLE_DEVICES`` hides them all.
NO_DEVICE = 100


@functools.cache
def _driver() -> _Driver:
    """Ask the NVIDIA driver, without any CUDA toolkit, for its version and its devices."""
    library = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(library)
    except OSError as err:
        return _Driver((0, 0), 0, f"no NVIDIA driver ({err})")
    version, count = ctypes.c_int(), ctypes.c_int()
    driver.cuDriverGetVersion(ctypes.byref(version))
    if (code := driver.cuInit(0)) not in (0, NO_DEVICE):
        return _Driver((0, 0), 0, f"the NVIDIA driver does not start (cuInit gives {code})")
    driver.cuDeviceGetCount(ctypes.byref(count))  # stays 0 where there is none, or all are hidden
    return _Driver((version.value // 1000, version.value % 1000 // 10), count.value, "")


def installed_wheels() -> dict[str, str]:
    """Give the installed distributions of ONNX Runtime, with their versions."""
    found = {}
    for wheel in WHEELS:
        try:
            found[wheel] = importlib.metadata.version(wheel)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def diagnose(device: Device = Device("cuda")) -> Iterator[Finding]:
    """Look at everything a GPU run needs, in the order in which it fails.

    Parameters
    ----------
    device : Device
        The device to look at.

    Yields
    ------
    Finding
    """
    for look in LOOKS:
        yield look(device)
    if device.kind == "tensorrt":
        yield _look_at_tensorrt(device)


def _look_at_wheels(device: Device) -> Finding:
    wheels = installed_wheels()
    seen = ", ".join(f"{name} {version}" for name, version in wheels.items()) or "none known to pip"
    if len(wheels) > 1:
        return Finding(
            "ONNX Runtime", False, f"{seen} overwrite each other", FIX_WHEELS.format(wheels=" ".join(wheels))
        )
    return Finding("ONNX Runtime", True, seen)


def _look_at_build(device: Device) -> Finding:
    ort = import_onnxruntime()
    available = ort.get_available_providers()
    ok = PROVIDERS[device.kind][0] in available
    wheels = " ".join(installed_wheels()) or "onnxruntime"
    return Finding(
        "CUDA build",
        ok,
        f"providers of this build: {', '.join(available)}",
        "" if ok else FIX_WHEELS.format(wheels=wheels),
    )


def _look_at_driver(device: Device) -> Finding:
    driver, ort = _driver(), import_onnxruntime()
    if driver.problem:
        return Finding(
            "NVIDIA driver", False, driver.problem, "nvidia-smi, to see whether the machine has a GPU and its driver"
        )
    needed = int((getattr(ort, "cuda_version", "") or "0").partition(".")[0] or 0)
    has = "{}.{}".format(*driver.cuda)
    seen = f"supports CUDA up to {has}, this ONNX Runtime is built for CUDA {needed or '(unknown)'}"
    return Finding(
        "NVIDIA driver",
        driver.cuda[0] >= needed,
        seen,
        "" if driver.cuda[0] >= needed else FIX_DRIVER,
    )


def _look_at_devices(device: Device) -> Finding:
    count, visible = _driver().devices, os.environ.get("CUDA_VISIBLE_DEVICES")
    seen = f"{count} visible, number {device.index} asked for" + (
        f", CUDA_VISIBLE_DEVICES={visible!r}" if visible is not None else ""
    )
    ok = count > device.index
    fix = "nvidia-smi, to see which there are" if visible is None else "unset CUDA_VISIBLE_DEVICES"
    return Finding("GPUs", ok, seen, "" if ok else fix)


def _look_at_libraries(device: Device) -> Finding:
    return _look_at_library("CUDA libraries", "cuda", FIX_LIBRARIES)


def _look_at_tensorrt(device: Device) -> Finding:
    return _look_at_library("TensorRT libraries", "tensorrt", "pip install tensorrt-cu13")


#: Of the cuDNN that ONNX Runtime takes; it says no version of its own.
CUDNN = "cudnn64_9.dll" if sys.platform == "win32" else "libcudnn.so.9"


def _look_at_cudnn(device: Device) -> Finding:
    """Load cuDNN, which ONNX Runtime does when it first needs it, unless it was told not to."""
    if _chosen_options().get("enable_cudnn") == "0":
        return Finding("cuDNN", True, f"{OPTIONS} does without")
    preload_cuda(import_onnxruntime())
    try:
        ctypes.CDLL(CUDNN)
    except OSError as err:
        return Finding("cuDNN", False, str(err), FIX_LIBRARIES)
    return Finding("cuDNN", True, "found")


def _look_at_library(what: str, provider: str, fix: str) -> Finding:
    """Load a provider's library by hand: the loader's message names the file that is missing."""
    ort = import_onnxruntime()
    preload_cuda(ort)
    folder = Path(str(ort.__file__)).parent / "capi"
    pattern = "onnxruntime_providers_{}.dll" if sys.platform == "win32" else "libonnxruntime_providers_{}.so"
    try:
        ctypes.CDLL(str(folder / pattern.format("shared")), mode=ctypes.RTLD_GLOBAL)
        ctypes.CDLL(str(folder / pattern.format(provider)))
    except OSError as err:
        seen = str(err).replace(str(folder), "onnxruntime/capi")
        return Finding(what, False, seen, FIX_DRIVER if seen.startswith(("libcuda.so", "nvcuda")) else fix)
    return Finding(what, True, "found")


LOOKS: tuple[Callable[[Device], Finding], ...] = (
    _look_at_wheels,
    _look_at_build,
    _look_at_driver,
    _look_at_devices,
    _look_at_libraries,
    _look_at_cudnn,
)
