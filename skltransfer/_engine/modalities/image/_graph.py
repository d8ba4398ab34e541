"""Images and graphs: facts of a graph that takes them, and the nodes from pixels to its input."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from skltransfer._engine.modalities.image._prepare import with_resize_to
from skltransfer.cards import Card, GraphInfo, ImageSpec
from skltransfer.errors import CardError

#: Usual ways to scale pixels, by the name of what was trained so: torchvision and timm; TensorFlow's MobileNet and
#: Inception; CLIP; Keras' and Caffe's way of leaving 0 to 255 as it is.
PRESETS: dict[str, dict[str, Any]] = {
    "imagenet": {"range": 1.0, "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
    "inception": {"range": 255.0, "mean": (127.5, 127.5, 127.5), "std": (127.5, 127.5, 127.5)},
    "clip": {"range": 1.0, "mean": (0.48145466, 0.4578275, 0.40821073), "std": (0.26862954, 0.26130258, 0.27577711)},
    "raw": {"range": 255.0, "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)},
}


def guess(info: GraphInfo) -> bool:
    """Return whether the input has four axes, one of them with three channels."""
    return len(info.shape) == 4 and 3 in (info.shape[1], info.shape[3])


def complete(card: Card, info: GraphInfo, given: Mapping[str, Any]) -> dict[str, Any]:
    """Read size and layout off the graph; refuse to guess how pixels were scaled.

    Raises
    ------
    CardError
        If nobody says what a graph cannot say; the message has the command that writes a card.
    """
    known = dataclasses.asdict(card.input) if card.input is not None else {}
    if card.input is None:
        missing = [name for name in ("range", "mean", "std") if name not in given]
        if missing:
            raise CardError(_how_to_write_a_card(card, info, missing))
        known = _geometry(info)
    return with_resize_to(known, given)


def _geometry(info: GraphInfo) -> dict[str, Any]:
    """Read size and layout off the input's shape."""
    _check_axes(info)
    layout = "NCHW" if info.shape[1] == 3 else "NHWC"
    size = info.shape[2:] if layout == "NCHW" else info.shape[1:3]
    return {"layout": layout, "size": tuple(n or 224 for n in size), "resize": "shorter"}


def _check_axes(info: GraphInfo) -> None:
    if len(info.shape) != 4:
        raise CardError(f"The graph's input {info.input!r} has the shape {info.shape}; images need four axes.")


def _how_to_write_a_card(card: Card, info: GraphInfo, missing: Sequence[str]) -> str:
    path = (card.folder or Path()) / card.files["model"].path
    return (
        f"{path.name!r} takes images {info.shape}, but a graph does not say how their pixels were scaled "
        f"({', '.join(missing)}), nor in which color order. Write a card, once, for a model trained as in torchvision "
        f"or timm with: skltransfer models card {str(path)!r} --preset imagenet   (other presets: "
        f"{', '.join(p for p in PRESETS if p != 'imagenet')}; or --range, --mean, --std, --color, --resize, --layer)"
    )


def check(spec: ImageSpec, info: GraphInfo) -> None:
    """Compare the axes and channels of a card's input with the graph's.

    Raises
    ------
    CardError
        If they contradict each other. Whether another size than the graph's fits is `graph.build`'s to find out.
    """
    info.check_single_input()
    _check_axes(info)
    channel = 1 if spec.layout == "NCHW" else 3
    if info.shape[channel] not in (3, None):
        raise CardError(
            f"The graph's input has the shape {info.shape}, but layout {spec.layout!r} needs 3 channels at axis "
            f"{channel}. Set input.layout of the card to the other one."
        )


def preprocess(editor: Any, spec: ImageSpec, info: GraphInfo) -> None:
    """Pixels to the backbone's input: cast, axes, channel order, mean and std.

    Cast before transpose: measured to be the fastest order on the CPU. The arithmetic is done with channels first
    whatever the layout, for broadcasting along a last axis of length 3 is twenty times slower there.
    """
    scale = np.array([spec.range / 255 / s for s in spec.std], np.float32).reshape(1, 3, 1, 1)
    shift = np.array([m * 255 / spec.range for m in spec.mean], np.float32).reshape(1, 3, 1, 1)
    tensor = editor.cast(editor.set_input("uint8", [*spec.size, 3]), "float32", front=True)
    tensor = editor.add("Transpose", tensor, perm=[0, 3, 1, 2], front=True)
    if spec.color == "BGR":
        tensor = editor.add("Gather", tensor, editor.const(np.array([2, 1, 0])), axis=1, front=True)
    if shift.any():
        tensor = editor.add("Sub", tensor, editor.const(shift), front=True)
    if (scale != 1).any():
        tensor = editor.add("Mul", tensor, editor.const(scale), front=True)
    if spec.layout == "NHWC":
        tensor = editor.add("Transpose", tensor, perm=[0, 2, 3, 1], front=True)
    editor.cast(tensor, info.dtype, output=info.input, front=True)
