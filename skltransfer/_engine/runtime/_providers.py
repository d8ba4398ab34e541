"""ONNX Runtime's execution providers: which one belongs to a device, its options, and the libraries it needs."""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import os
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from skltransfer._engine import process
from skltransfer._engine.runtime._device import Device
from skltransfer.errors import DeviceError, MissingDependencyError, distribution

#: Providers of each kind of device, best first. The CPU comes last: it runs the nodes that the others do not support.
PROVIDERS = {
    "cpu": ("CPUExecutionProvider",),
    "cuda": ("CUDAExecutionProvider", "CPUExecutionProvider"),
    "tensorrt": ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"),
}
#: Environment variable with more options of the CUDA provider:
#: ``cudnn_conv_algo_search=EXHAUSTIVE,gpu_mem_limit=8000000000``.
OPTIONS = "SKLTRANSFER_CUDA_OPTIONS"


def import_onnxruntime() -> ModuleType:
    """Import ONNX Runtime with its telemetry off.

    From 1.29 the Linux wheels send usage data by default: a thread at import, files in the user's cache folder, and a
    child of ``os.fork()`` that hangs at exit. Set ``ORT_DISABLE_TELEMETRY=0`` to turn it on.

    Raises
    ------
    MissingDependencyError
        If it is not installed, or its files are not all there: two of its wheels overwrite each other, and to uninstall
        one of them takes files from the other.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime

        onnxruntime.InferenceSession  # noqa: B018 - an emptied package can be imported, and has nothing
    except (ImportError, OSError, AttributeError) as err:
        raise MissingDependencyError(f"ONNX Runtime cannot be imported ({err}). Type: {wheels_fix()}") from err
    return onnxruntime  # type: ignore[no-any-return]  # it is not typed


#: Distributions that install the same `onnxruntime` package and overwrite each other's files.
WHEELS = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino", "onnxruntime-qnn")


def installed(distributions: Iterable[str]) -> dict[str, str]:
    """Return which of several distributions are installed, with their versions."""
    found = {}
    for name in distributions:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def installed_wheels() -> dict[str, str]:
    """Return the installed distributions of ONNX Runtime, with their versions."""
    return installed(WHEELS)


def wheels_fix() -> str:
    """Return the command that installs ONNX Runtime anew, as the one wheel that this distribution of ours requires."""
    found = installed_wheels()
    plain = distribution() == "skltransfer-cpu" and "onnxruntime-gpu" not in found
    wheel = "onnxruntime" if plain else "onnxruntime-gpu"
    return f"pip uninstall -y {' '.join(found) or 'onnxruntime'} && pip install '{wheel}>=1.27'"


def provider_options(
    device: Device, *, allow_tf32: bool = True, engines: Path | None = None
) -> list[tuple[str, dict[str, str]]]:
    """Return the providers of a device with their options, as ONNX Runtime takes them.

    Parameters
    ----------
    device : Device
        Where to run.
    allow_tf32 : bool
        Whether a GPU may multiply float32 with the ten mantissa bits of TF32, which is faster.
    engines : Path, optional
        Folder for TensorRT's engines, which take minutes to build. Use one folder per graph: TensorRT names engines
        without regard to the weights.

    Raises
    ------
    DeviceError
        If the environment variable `OPTIONS` is not of the form ``name=value,name=value``.
    """
    cuda = {
        "device_id": str(device.index),
        # The exhaustive search takes seconds per new shape, and the last batch of a run often has a new shape.
        "cudnn_conv_algo_search": "HEURISTIC",
        "arena_extend_strategy": "kSameAsRequested",
        "use_tf32": "1" if allow_tf32 else "0",
    }
    tensorrt = {"device_id": str(device.index)}
    if engines is not None:
        caches = {"engine_cache_enable": "1", "timing_cache_enable": "1"}
        caches |= {"engine_cache_path": str(engines), "timing_cache_path": str(engines)}
        tensorrt |= {f"trt_{name}": value for name, value in caches.items()}
    options = {
        "CUDAExecutionProvider": {**cuda, **user_options()},
        "TensorrtExecutionProvider": tensorrt,
        "CPUExecutionProvider": {},
    }
    return [(provider, options[provider]) for provider in PROVIDERS[device.kind]]


def user_options() -> dict[str, str]:
    """Return the options of the CUDA provider that the environment variable `OPTIONS` sets."""
    chosen = [part.partition("=") for part in os.environ.get(OPTIONS, "").split(",") if part.strip()]
    if wrong := [name for name, _, value in chosen if not value]:
        raise DeviceError(f"{OPTIONS} sets {', '.join(wrong)} without a value; write name=value,name=value.")
    return {name.strip(): value.strip() for name, _, value in chosen}


_preload = process.lock()


def preload_cuda(ort: ModuleType) -> None:
    """Load CUDA and cuDNN from their Python packages, so that LD_LIBRARY_PATH need not be set.

    ONNX Runtime prints missing libraries to stdout. They are hidden here, because `diagnose` reports them.
    """
    with _preload, contextlib.redirect_stdout(io.StringIO()):
        if hasattr(ort, "preload_dlls") and _cuda_packages():
            ort.preload_dlls()


@process.memo(None)
def _cuda_packages() -> list[str]:
    """List the installed Python packages that bring CUDA libraries."""
    return sorted({name for d in importlib.metadata.distributions() if (name := d.name or "").startswith("nvidia-")})
