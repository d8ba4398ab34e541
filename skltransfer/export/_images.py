"""Bytes of image files to pixels inside the file, by onnxruntime-extensions: for files that one made oneself.

Its decoder ends the process on a WebP, a GIF or a damaged file, and never returns from a truncated JPEG
(onnxruntime-extensions #1094 and #1096). No graph can catch that, so it is written only where `accept` says so.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from skltransfer.errors import ExportError
from skltransfer.export._graph import Graph

#: Domain of the decoder.
DOMAIN = "com.microsoft.extensions"
#: Oldest version of operators whose Resize smooths (antialias) as Pillow does.
OPSET = 18
#: What is said wherever such a file is written or described.
WARNING = (
    "For trusted JPEG and PNG files only: onnxruntime-extensions' decoder ends the process on WebP, GIF and damaged "
    "files, never returns from a truncated JPEG, ignores EXIF rotation and transparency, and gets CMYK wrong."
)
#: Modes of Resize by the name of Pillow's filter.
MODES = {"bilinear": "linear", "bicubic": "cubic"}
#: How the longer side and the corner of the crop are rounded, see `modalities`: to the nearest, or down.
ROUNDINGS = {"nearest": ("Round", "Floor"), "torchvision": ("Floor", "Round"), "transformers": ("Floor", "Floor")}


def check(plan: Any, accept: str | None) -> None:
    """Refuse what was not accepted, or would be another model.

    Raises
    ------
    ExportError
        With what to type.
    """
    spec, name = plan.recipe.input, plan.card.name
    if accept is None:
        raise ExportError(f"level='bytes' of images: {WARNING} If that is so, pass accept=\"trusted-images\".")
    if spec.draft:
        raise ExportError(
            f"The pipeline was fitted with draft pixels, and is another model on others: refit with "
            f"PretrainedEmbedder(load_card({name!r}, draft=False))."
        )
    if spec.interpolation not in MODES:
        raise ExportError(
            f"level='bytes' scales {' or '.join(MODES)}, and {name!r} is {spec.interpolation}; use level='tensors'."
        )


def pixels(graph: Graph, file: str, plan: Any) -> str:
    """Add the nodes from the bytes of one file, uint8 (length,), to pixels, uint8 (1, height, width, 3)."""
    spec = plan.recipe.input
    graph.domains.setdefault(DOMAIN, 1)
    decoded = graph.add("DecodeImage", file, domain=DOMAIN, color_space="rgb")
    # A gray JPEG has one channel: of three copies side by side the first three channels are right for both.
    copies = graph.add("Concat", decoded, decoded, decoded, axis=2)
    colors = _slice(graph, copies, [0], [3], [2])
    size = _slice(graph, graph.add("Shape", colors), [0], [2], [0])
    scaled = _scaled_size(graph, size, spec)
    planes = graph.add("Unsqueeze", graph.add("Transpose", colors, perm=[2, 0, 1]), graph.const([0], np.int64))
    shape = graph.add("Concat", graph.const([1, 3], np.int64), scaled, axis=0)
    resized = graph.add(
        "Resize",
        planes,
        "",
        "",
        shape,
        mode=MODES[spec.interpolation],
        antialias=1,
        exclude_outside=1,
        cubic_coeff_a=-0.5,
        coordinate_transformation_mode="half_pixel",
    )
    return graph.add("Transpose", _cropped(graph, resized, scaled, spec), perm=[0, 2, 3, 1])


def _scaled_size(graph: Graph, size: str, spec: Any) -> str:
    """Return the height and width before the crop."""
    wanted = graph.const(spec.size, np.int64)
    if spec.resize == "squash":
        return wanted
    longer, _ = ROUNDINGS[spec.rounding]
    exact = graph.add("Mul", graph.cast(size, "float64"), graph.const(float(spec.resize_to), np.float64))
    ratio = graph.add("Div", exact, graph.cast(graph.add("ReduceMin", size, keepdims=1), "float64"))
    return graph.add("Max", graph.cast(graph.add(longer, ratio), "int64"), wanted)


def _cropped(graph: Graph, resized: str, scaled: str, spec: Any) -> str:
    """Cut the center out."""
    _, middle = ROUNDINGS[spec.rounding] if spec.resize == "shorter" else ("", "Floor")
    wanted = graph.const(spec.size, np.int64)
    spare = graph.cast(graph.add("Sub", scaled, wanted), "float64")
    half = graph.add("Mul", spare, graph.const(0.5, np.float64))
    corner = graph.cast(graph.add(middle, half), "int64")
    end = graph.add("Add", corner, wanted)
    return graph.add("Slice", resized, corner, end, graph.const([2, 3], np.int64))


def _slice(graph: Graph, tensor: str, start: list[int], end: list[int], axes: list[int]) -> str:
    return graph.add("Slice", tensor, *(graph.const(part, np.int64) for part in (start, end, axes)))
