"""Open an ONNX Runtime session on a device, and check that it runs there."""

from __future__ import annotations

import os
from typing import Any

from skltransfer._engine.runtime._device import Device
from skltransfer._engine.runtime._failures import open_error
from skltransfer._engine.runtime._providers import PROVIDERS, preload_cuda
from skltransfer.errors import DeviceError

#: Rewritings of a graph that ONNX Runtime must leave out, by the kind of device. On a CPU a sum and the
#: LayerNormalization behind it are faster apart: fused they make MiniLM, as it is exported, 14 % slower.
LEFT_OUT: dict[str, list[str]] = {"cpu": ["SkipLayerNormFusion"]}


def open_inference_session(
    ort: Any, model: os.PathLike[str] | bytes, device: Device, providers: list[tuple[str, dict[str, str]]]
) -> Any:
    """Open a graph with the given providers.

    Parameters
    ----------
    ort : module
        ONNX Runtime.
    model : path or bytes
        A graph.
    device : Device
        Where it has to run.
    providers : list of (str, dict)
        From `provider_options`.

    Returns
    -------
    onnxruntime.InferenceSession

    Raises
    ------
    ModelError
        If ONNX Runtime cannot open the graph.
    DeviceError
        If ONNX Runtime would run it on another device.
    """
    if device.kind != "cpu":
        preload_cuda(ort)
    source = model if isinstance(model, bytes) else os.fspath(model)
    try:
        session = ort.InferenceSession(
            source,
            _options(ort),
            providers=providers,
            disabled_optimizers=LEFT_OUT.get(device.kind, []),
            enable_fallback=0,
        )
    except Exception as err:
        raise open_error(device, err) from err
    if (runs := session.get_providers()[0]) != PROVIDERS[device.kind][0]:
        raise DeviceError(
            f"ONNX Runtime runs this graph on {runs}, not on device={str(device)!r}. Find out why with: "
            "skltransfer doctor"
        )
    return session


def _options(ort: Any) -> Any:
    """Return the options of every session: one thread that never spins (measured: more threads slow it down)."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4  # errors are raised; ONNX Runtime would also print them, even those of a probe
    return options
