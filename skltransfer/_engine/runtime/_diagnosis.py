"""Everything a GPU run needs, checked in the order in which it fails, each with the command that fixes it."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from skltransfer._engine.runtime import _driver
from skltransfer._engine.runtime._device import Device
from skltransfer._engine.runtime._providers import (
    OPTIONS,
    PROVIDERS,
    import_onnxruntime,
    installed,
    installed_wheels,
    preload_cuda,
    user_options,
    wheels_fix,
)
from skltransfer.errors import MissingDependencyError

#: Distributions of this package, which overwrite each other's files as well.
OURS = ("skltransfer", "skltransfer-cpu")
#: cuDNN of the major version that ONNX Runtime loads; ONNX Runtime does not report a version.
CUDNN = "cudnn64_9.dll" if sys.platform == "win32" else "libcudnn.so.9"

GPU = Device("cuda")

FIX_WHEELS = "pip uninstall -y {wheels} && pip install 'onnxruntime-gpu>=1.27'"
FIX_OURS = "pip uninstall -y skltransfer skltransfer-cpu && pip install skltransfer"
FIX_LIBRARIES = "pip install 'skltransfer[cuda]'"
FIX_DRIVER = "install or update the NVIDIA driver (CUDA 13 needs 580 or newer)"


class Finding(NamedTuple):
    """One line of the diagnosis.

    Attributes
    ----------
    what : str
        What was checked.
    ok : bool
        Whether it is in order.
    seen : str
        What was found.
    fix : str
        What to type; empty if nothing needs to be fixed.
    """

    what: str
    ok: bool
    seen: str
    fix: str = ""


def diagnose(device: Device = GPU) -> Iterator[Finding]:
    """Check everything a GPU run needs, in the order in which it fails.

    Parameters
    ----------
    device : Device
        The device to check.

    Yields
    ------
    Finding
    """
    for check in CHECKS:
        yield (finding := check(device))
        if finding.what == RUNTIME and not finding.ok:  # the other checks use it
            return
    if device.kind == "tensorrt":
        yield _check_tensorrt(device)


def diagnose_cpu() -> Iterator[Finding]:
    """Check what a machine without a GPU needs."""
    yield _check_ours(GPU)
    yield _check_wheels(GPU)
    yield Finding("GPU", True, "no GPU here, the CPU is used: fine")


def _check_ours(device: Device) -> Finding:
    found = installed(OURS)
    seen = ", ".join(f"{name} {version}" for name, version in found.items()) or "not installed by pip"
    if len(found) > 1:
        return Finding("skltransfer", False, f"{seen} overwrite each other", FIX_OURS)
    return Finding("skltransfer", True, seen)


#: What the check of ONNX Runtime is called.
RUNTIME = "ONNX Runtime"


def _check_wheels(device: Device) -> Finding:
    wheels = installed_wheels()
    seen = ", ".join(f"{name} {version}" for name, version in wheels.items()) or "none known to pip"
    if len(wheels) > 1:
        fix = FIX_WHEELS.format(wheels=" ".join(wheels))
        return Finding(RUNTIME, False, f"{seen} overwrite each other", fix)
    try:
        import_onnxruntime()
    except MissingDependencyError as err:
        return Finding(RUNTIME, False, f"{seen}, and cannot be imported ({err.__cause__})", wheels_fix())
    return Finding(RUNTIME, True, seen)


def _check_build(device: Device) -> Finding:
    available = import_onnxruntime().get_available_providers()
    ok = PROVIDERS[device.kind][0] in available
    fix = FIX_WHEELS.format(wheels=" ".join(installed_wheels()) or "onnxruntime")
    return Finding("CUDA build", ok, f"providers of this build: {', '.join(available)}", "" if ok else fix)


def _check_driver(device: Device) -> Finding:
    driver, ort = _driver.query(), import_onnxruntime()
    if driver.problem:
        fix = "nvidia-smi, to see whether the machine has a GPU and its driver"
        return Finding("NVIDIA driver", False, driver.problem, fix)
    needed = int((getattr(ort, "cuda_version", "") or "0").partition(".")[0] or 0)
    supported = "{}.{}".format(*driver.cuda)
    seen = f"supports CUDA up to {supported}, this ONNX Runtime is built for CUDA {needed or '(unknown)'}"
    ok = driver.cuda[0] >= needed
    return Finding("NVIDIA driver", ok, seen, "" if ok else FIX_DRIVER)


def _check_visible_devices(device: Device) -> Finding:
    count, visible = _driver.query().devices, os.environ.get("CUDA_VISIBLE_DEVICES")
    seen = f"{count} visible, number {device.index} requested"
    if visible is not None:
        seen += f", CUDA_VISIBLE_DEVICES={visible!r}"
    ok = count > device.index
    fix = "nvidia-smi, to list the GPUs" if visible is None else "unset CUDA_VISIBLE_DEVICES"
    return Finding("GPUs", ok, seen, "" if ok else fix)


def _check_cuda(device: Device) -> Finding:
    return _check_library("CUDA libraries", "cuda", FIX_LIBRARIES)


def _check_tensorrt(device: Device) -> Finding:
    return _check_library("TensorRT libraries", "tensorrt", "pip install tensorrt-cu13")


def check_cudnn(device: Device) -> Finding:
    """Load cuDNN, which ONNX Runtime loads only when it first needs it, unless `OPTIONS` turns it off."""
    if user_options().get("enable_cudnn") == "0":
        return Finding("cuDNN", True, f"turned off by {OPTIONS}")
    preload_cuda(import_onnxruntime())
    try:
        ctypes.CDLL(CUDNN)
    except OSError as err:
        return Finding("cuDNN", False, str(err), FIX_LIBRARIES)
    return Finding("cuDNN", True, "found")


def _check_library(what: str, provider: str, fix: str) -> Finding:
    """Load a provider's library directly: the loader's message names the missing file, ONNX Runtime's does not."""
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


CHECKS: tuple[Callable[[Device], Finding], ...] = (
    _check_ours,
    _check_wheels,
    _check_build,
    _check_driver,
    _check_visible_devices,
    _check_cuda,
    check_cudnn,
)
