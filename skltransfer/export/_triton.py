"""`config.pbtxt`: what NVIDIA Triton asks to know of a file that it serves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from skltransfer.errors import ExportError
from skltransfer.export import _write

#: Triton's names of ONNX's types.
TYPES = {1: "TYPE_FP32", 2: "TYPE_UINT8", 6: "TYPE_INT32", 7: "TYPE_INT64", 8: "TYPE_STRING", 11: "TYPE_FP64"}
#: Samples of the largest batch that Triton gathers.
MAX_BATCH = 64


def write_triton(path: Path, folder: Path) -> Path:
    """Put an exported file into a model repository of Triton: ``FOLDER/NAME/config.pbtxt`` and ``FOLDER/NAME/1/``.

    Parameters
    ----------
    path : Path
        The file; its name without ``.onnx`` is that of the model.
    folder : Path
        The repository; created if it is not there.

    Returns
    -------
    Path
        The configuration.
    """
    from onnx import load_model

    name, home = path.stem, folder / path.stem
    graph = load_model(path, load_external_data=False).graph
    text = config(name, graph)
    (home / "1").mkdir(parents=True, exist_ok=True)
    files = {home / "1" / "model.onnx": path.read_bytes(), home / "config.pbtxt": text.encode()}
    written = _write.beside(files)
    try:
        _write.publish(written)
    finally:
        _write.discard(written)
    return home / "config.pbtxt"


def config(name: str, graph: Any) -> str:
    """Return the text of the configuration of a graph whose first axis is that of the samples."""
    parts = [f'name: "{name}"', 'platform: "onnxruntime_onnx"', f"max_batch_size: {MAX_BATCH}"]
    parts += [_entry("input", value) for value in graph.input] + [_entry("output", value) for value in graph.output]
    return "\n".join([*parts, "dynamic_batching { }", ""])


def _entry(role: str, value: Any) -> str:
    kind = value.type.tensor_type
    dims = [axis.dim_value or -1 for axis in kind.shape.dim[1:]]
    if kind.elem_type not in TYPES:
        raise ExportError(f"Triton has no type for {value.name!r}, ONNX's type {kind.elem_type}.")
    # Triton wants an axis: one number of each sample has the shape [1], reshaped to none.
    shown = f"dims: [ {', '.join(map(str, dims))} ]" if dims else "dims: [ 1 ]\n  reshape { shape: [ ] }"
    return f'{role} {{\n  name: "{value.name}"\n  data_type: {TYPES[kind.elem_type]}\n  {shown}\n}}'
