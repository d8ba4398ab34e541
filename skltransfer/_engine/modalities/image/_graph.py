"""Images and graphs: facts of a graph that takes them, and the nodes from pixels to its input."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from skltransfer._engine.modalities.image._prepare import GRAY, GRAY_UNIT, with_resize_to
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


#: Numbers of channels that images have.
CHANNELS = (1, 3)
#: Parts of the names that exporters give to images, and to the axes of images.
NAMES, AXES = ("pixel", "image", "img"), ("channel", "height", "width")
#: Place of the channels in each layout.
LAYOUTS = {"NCHW": 1, "NHWC": 3}
#: Length of an axis that the graph leaves free.
SIDE = 224


def signs(info: GraphInfo, files: Collection[str]) -> list[str]:
    """List the signs that a graph takes images: four axes, one or three channels, names."""
    if len(info.shape) < 3 or np.dtype(info.dtype).kind not in "fiu":
        return []
    found = [f"an input {info.input!r}"] * any(part in info.input.lower() for part in NAMES)
    if len(info.shape) != 4:
        return found
    lengths = (*(info.shape[axis] for axis in LAYOUTS.values()), info.depths.get(info.input))
    channels = next((n for n in lengths if n in CHANNELS), None)
    named = [name for name in info.names if any(part in name.lower() for part in AXES)]
    found += [f"four axes, {channels} channels"] if channels in CHANNELS else []
    return found + ([f"an axis {named[0]!r}"] if named else [])


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
        known = _geometry(info, given.get("layout"))
    fields = with_resize_to(known, given)
    return {**fields, **_gray(fields)} if fields.get("color") == "L" else fields


def _geometry(info: GraphInfo, layout: str | None) -> dict[str, Any]:
    """Read size, layout and number of channels off the input."""
    _check_axes(info)
    layout = layout if layout in LAYOUTS else _layout(info)
    size = info.shape[2:] if layout == "NCHW" else info.shape[1:3]
    channels = info.shape[LAYOUTS[layout]] or info.depths.get(info.input)
    color = {"color": "L"} if channels == 1 else {}
    return {"layout": layout, "size": tuple(n or SIDE for n in size), "resize": "shorter", **color}


def _layout(info: GraphInfo) -> str:
    """Return the layout by what operators and names of axes say, else by lengths of one or three."""
    told = {LAYOUTS[layout]: layout for layout in LAYOUTS}
    by_name = [axis for axis, name in enumerate(info.names) if "channel" in name.lower()]
    long = [axis for axis in told if info.shape[axis] in CHANNELS]
    for axes in ([info.channels.get(info.input)], by_name, long):
        if len(axes) == 1 and axes[0] in told:
            return told[axes[0]]
    raise CardError(
        f"The graph's input {info.input!r} has the shape {info.shape}: which axis holds the channels? Say so with "
        "load_card(FILE, layout='NCHW') or 'NHWC', or skltransfer models card FILE --layout NCHW"
    )


def _gray(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return mean and std of one channel; those of three colors do where they are the same."""
    found = {name: tuple(dict.fromkeys(fields[name])) for name in ("mean", "std") if name in fields}
    if any(len(values) > 1 for values in found.values()):
        raise CardError(
            f"The graph takes images of one channel, and mean and std are those of colors, {fields['mean']} and "
            f"{fields['std']}. Give one number each, as in training: load_card(FILE, range=1, mean=(0.5,), std=(0.5,)) "
            "or skltransfer models card FILE --range 1 --mean 0.5 --std 0.5; or the preset 'raw' or 'inception'."
        )
    return found


def _check_axes(info: GraphInfo) -> None:
    if len(info.shape) != 4:
        raise CardError(
            f"The graph's input {info.input!r} has the shape {info.shape}; images need four axes. If its samples are "
            "numbers, say so: load_card(FILE, modality='array'), or skltransfer models card FILE --modality array"
        )


def _how_to_write_a_card(card: Card, info: GraphInfo, missing: Sequence[str]) -> str:
    path = (card.folder or Path()) / card.files["model"].path
    return (
        f"{path.name!r} takes images {info.shape}, but a graph does not say how their pixels were scaled "
        f"({', '.join(missing)}), nor in which color order. Write a card, once, for a model trained as in torchvision "
        f"or timm with: skltransfer models card {str(path)!r} --preset imagenet   (other presets: "
        f"{', '.join(p for p in PRESETS if p != 'imagenet')}; or --range, --mean, --std, --color, --resize, --layer). "
        "If its samples are numbers and no images: --modality array, in Python load_card(FILE, modality='array')."
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
    channel = LAYOUTS[spec.layout]
    if info.shape[channel] not in (spec.channels, None):
        raise CardError(
            f"The graph's input has the shape {info.shape}, but layout {spec.layout!r} needs {spec.channels} channels "
            f"at axis {channel} for color {spec.color!r}. Set input.layout of the card to the other, or input.color."
        )
    if np.dtype(info.dtype).kind != "f":
        _check_integers(spec, info)


def _check_integers(spec: ImageSpec, info: GraphInfo) -> None:
    """Refuse scaled pixels where a graph takes whole numbers: their fractions would be cut off."""
    pixels = np.arange(256)[:, np.newaxis] * (spec.range / 255)
    scaled = (pixels - np.array(spec.mean)) / np.array(spec.std)
    limits = np.iinfo(info.dtype) if np.dtype(info.dtype).kind in "iu" else None
    whole = np.abs(scaled - np.round(scaled)).max() < 1e-4
    if limits is None or not whole or scaled.min() < limits.min or scaled.max() > limits.max:
        raise CardError(
            f"The graph's input {info.input!r} holds {info.dtype}, and pixels scaled by range={spec.range:g}, "
            f"mean={spec.mean}, std={spec.std} are no such numbers, from {scaled.min():.3g} to {scaled.max():.3g}. It "
            "scales them itself: use the preset 'raw', in Python load_card(FILE, preset='raw'), or skltransfer models "
            "card FILE --preset raw"
        )


def preprocess(editor: Any, spec: ImageSpec, info: GraphInfo) -> None:
    """Pixels to the backbone's input: cast, axes, channel order, mean and std.

    Cast before transpose: measured to be the fastest order on the CPU. The arithmetic is done with channels first
    whatever the layout, for broadcasting along a last axis of length 3 is twenty times slower there.
    """
    scale = np.array([spec.range / 255 / s for s in spec.std], np.float32).reshape(1, -1, 1, 1)
    shift = np.array([m * 255 / spec.range for m in spec.mean], np.float32).reshape(1, -1, 1, 1)
    tensor = editor.cast(editor.set_input("uint8", [*spec.size, 3]), "float32", front=True)
    tensor = editor.add("Transpose", tensor, perm=[0, 3, 1, 2], front=True)
    if spec.color == "BGR":
        tensor = editor.add("Gather", tensor, editor.const(np.array([2, 1, 0])), axis=1, front=True)
    if spec.color == "L":
        tensor = _to_gray(editor, tensor)
    if shift.any():
        tensor = editor.add("Sub", tensor, editor.const(shift), front=True)
    if (scale != 1).any():
        tensor = editor.add("Mul", tensor, editor.const(scale), front=True)
    if spec.layout == "NHWC":
        tensor = editor.add("Transpose", tensor, perm=[0, 2, 3, 1], front=True)
    if np.dtype(info.dtype).kind in "iu":  # whole by `check`, but for rounding
        tensor = editor.add(
            "Floor", editor.add("Add", tensor, editor.const(np.array(0.5, np.float32)), front=True), front=True
        )
    editor.cast(tensor, info.dtype, output=info.input, front=True)


def _to_gray(editor: Any, tensor: str) -> str:
    """Weigh colors as Pillow does, in whole numbers below 2^24, which float32 holds exactly."""
    weights = editor.const(np.array(GRAY, np.float32).reshape(1, 3, 1, 1))
    half, whole = (editor.const(np.array(n, np.float32)) for n in (GRAY_UNIT / 2, 1 / GRAY_UNIT))
    parts = editor.add("Mul", tensor, weights, front=True)
    each = [editor.add("Gather", parts, editor.const(np.array([i])), axis=1, front=True) for i in range(3)]
    total = editor.add("Sum", *each, half, front=True)
    return str(editor.add("Floor", editor.add("Mul", total, whole, front=True), front=True))


def explain(spec: ImageSpec) -> str:
    """Describe in words how an image becomes the pixels that an exported file takes."""
    height, width = spec.size
    scaled = f"Scale the image to {width} x {height} pixels (width x height)"
    cropped = ""
    if spec.resize == "shorter":
        scaled = f"Scale the image so that its shorter side has {spec.resize_to} pixels"
        cropped = f", and crop the center to {width} x {height} pixels (width x height)"
    loose = " The pipeline was fitted on JPEG files that the decoder scaled down (draft)." if spec.draft else ""
    return (
        "Decode the file, turn it upright as its EXIF data say, put transparent parts on white, convert it to RGB. "
        f"{scaled}, {spec.interpolation} with antialiasing, as Pillow's resize does{cropped}. Pass uint8 "
        f"(batch, {height}, {width}, 3), 0 to 255: what else is done to pixels is in the file.{loose}"
    )
