"""Writing: detections as COCO JSON, pictures with boxes, and detectors. Each file is complete or not there."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

from skltransfer._engine.modalities import image as images
from skltransfer.detection._boxes import to_xyxy
from skltransfer.detection._images import size_of
from skltransfer.errors import Unreadable, need

PathLike = str | os.PathLike[str]

#: Colors of classes, which the color-blind can tell apart (Okabe and Ito), without the lightest.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
#: Width of lines and height of letters, in shares of the picture's longer side.
LINE, LETTERS = 1 / 250, 1 / 40
#: Space between letters and the edge of their field, in pixels.
PADDING = 2


def write_coco(
    path: PathLike, images: Sequence[PathLike], found: Sequence[Mapping[str, Any]], classes: Sequence[Any] | None = None
) -> Path:
    """Write detections, or targets, as a file of COCO annotations.

    It has ``images``, ``categories`` and ``annotations``, with ``score`` where there are scores: annotation tools
    import it, `read_coco` reads it, and its annotations are what pycocotools' ``loadRes`` takes.

    Parameters
    ----------
    path : path
        JSON file to write; names of images are relative to its folder.
    images : sequence of path
        Files of the images.
    found : sequence of dict
        For each image ``boxes``, xyxy, ``labels`` and perhaps ``scores``, ``iscrowd``.
    classes : sequence, optional
        Labels in the order of their numbers, which begin with 1; default: sorted, as they occur.

    Returns
    -------
    Path
        The file.
    """
    path = Path(path)
    if len(images) != len(found):
        raise ValueError(f"images has {len(images)} paths and found has {len(found)}; they must be the same.")
    labels = sorted({label for one in found for label in _list(one["labels"])}) if classes is None else list(classes)
    numbers = {label: number for number, label in enumerate(labels, 1)}
    content = {
        "images": [_image(number, one, path.parent) for number, one in enumerate(images, 1)],
        "categories": [{"id": number, "name": str(label)} for label, number in numbers.items()],
        "annotations": [],
    }
    for image, one in enumerate(found, 1):
        content["annotations"] += _annotations(image, one, numbers)
    for number, annotation in enumerate(content["annotations"], 1):
        annotation["id"] = number
    _write(path, lambda file: file.write(json.dumps(content).encode()))
    return path


def _list(values: Any) -> list[Any]:
    return values.tolist() if hasattr(values, "tolist") else list(values)


def _image(number: int, path: PathLike, folder: Path) -> dict[str, Any]:
    width, height = size_of(path)
    name = os.path.relpath(path, folder).replace(os.sep, "/")
    return {"id": number, "file_name": name, "width": width, "height": height}


def _annotations(image: int, one: Mapping[str, Any], numbers: Mapping[Any, int]) -> list[dict[str, Any]]:
    """Return the annotations of an image."""
    made: list[dict[str, Any]] = []
    scores, crowd = one.get("scores"), one.get("iscrowd")
    for row, (box, label) in enumerate(zip(to_xyxy(one["boxes"]).tolist(), _list(one["labels"]), strict=True)):
        left, top, right, bottom = box
        width, height = right - left, bottom - top
        scored = {} if scores is None else {"score": float(scores[row])}
        made.append(
            {
                "image_id": image,
                "category_id": numbers[label],
                "bbox": [left, top, width, height],
                "area": width * height,
                "iscrowd": 0 if crowd is None else int(crowd[row]),
                **scored,
            }
        )
    return made


def draw_boxes(image: Any, found: Mapping[str, Any], path: PathLike | None = None) -> Any:
    """Draw the boxes of an image, each class in its color, with label and score.

    Parameters
    ----------
    image : path, bytes, PIL.Image.Image or ndarray
        As `PretrainedEmbedder` takes it.
    found : dict
        ``boxes`` (n, 4), xyxy, ``labels`` and perhaps ``scores``: a detection or a target.
    path : path, optional
        File to write, in the format of its suffix.

    Returns
    -------
    PIL.Image.Image
        Upright, in its own size.

    Raises
    ------
    ValueError
        If the image cannot be read.
    """
    from PIL import Image, ImageDraw, ImageFont

    picture = Image.fromarray(_pixels(image))
    draw, longer = ImageDraw.Draw(picture), max(picture.size)
    font = ImageFont.load_default(max(10, round(longer * LETTERS)))
    labels, scores = _list(found["labels"]), found.get("scores")
    numbers = {label: number for number, label in enumerate(dict.fromkeys(sorted(labels, key=str)))}
    for row in range(len(labels))[::-1]:  # the best lies on top
        color = COLORS[numbers[labels[row]] % len(COLORS)]
        box = to_xyxy(found["boxes"])[row].tolist()
        text = str(labels[row]) + ("" if scores is None else f" {scores[row]:.2f}")
        draw.rectangle(box, outline=color, width=max(1, round(longer * LINE)))
        field = draw.textbbox((box[0] + PADDING, box[1] + PADDING), text, font=font)
        draw.rectangle((box[0], box[1], field[2] + PADDING, field[3] + PADDING), fill=color)
        draw.text((box[0] + PADDING, box[1] + PADDING), text, fill="white", font=font)
    if path is not None:
        kind = Image.registered_extensions().get(Path(path).suffix.lower(), "PNG")
        _write(Path(path), lambda file: picture.save(file, kind))
    return picture


def _pixels(image: Any) -> Any:
    """Decode an image at its own size."""
    try:
        source = images.read(image)
        width, height = size_of(source)
        return images.prepare(source, _spec(width, height)).copy()
    except Unreadable as err:
        raise ValueError(f"The image cannot be read: {err}.") from err


def _spec(width: int, height: int) -> Any:
    from skltransfer.cards import ImageSpec

    return ImageSpec(size=(height, width), resize="squash", mean=(0.0,) * 3, std=(1.0,) * 3)


def save_detector(detector: Any, path: PathLike) -> Path:
    """Write a fitted detector to a file of skops, which holds no code.

    Parameters
    ----------
    detector : ObjectDetector
        Fitted.
    path : path
        File to write.
    """
    io = need("skops.io", extra="detect")
    _write(Path(path), lambda file: file.write(io.dumps(detector)))
    return Path(path)


def load_detector(path: PathLike) -> Any:
    """Read a detector that `save_detector` wrote; a file with other types than a detector's is refused.

    Parameters
    ----------
    path : path
        The file.
    """
    from skltransfer import TRUSTED

    io = need("skops.io", extra="detect")
    return io.load(path, trusted=TRUSTED)


def _write(path: Path, fill: Callable[[IO[bytes]], Any]) -> None:
    """Write a file under a temporary name beside it, then rename."""
    temporary = path.with_name(f"{path.name}.{uuid4().hex}")
    try:
        with open(temporary, "xb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)  # is there only if something failed
