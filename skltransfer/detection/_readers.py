"""Readers of annotations: COCO, Pascal VOC and YOLO, each to paths, targets and classes."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np

from skltransfer._engine.listing import SUFFIXES, list_files
from skltransfer.detection._boxes import to_xyxy
from skltransfer.detection._images import size_of
from skltransfer.errors import FolderError, TableError, shorten

PathLike = str | os.PathLike[str]


class Annotated(NamedTuple):
    """Images with boxes: three values, as readers return them.

    Attributes
    ----------
    paths : list of str
        Of the images, those without boxes included.
    targets : list of dict
        For each image ``boxes`` (n, 4), xyxy in pixels, ``labels`` (n,), ``iscrowd`` or ``difficult`` (n,), and
        ``size``, width and height as the annotation states them.
    classes : list
        Labels there are.
    """

    paths: list[str]
    targets: list[dict[str, Any]]
    classes: list[Any]


def read_coco(annotations: PathLike, images: PathLike | None = None) -> Annotated:
    """Read a file of annotations in COCO's format.

    Parameters
    ----------
    annotations : path
        A JSON file with ``images``, ``annotations`` and ``categories``.
    images : path, optional
        Folder that the names of images are relative to; default: the folder of the file.

    Returns
    -------
    paths : list of str
        Of the images, those without boxes included.
    targets : list of dict
        For each image ``boxes`` (n, 4), xyxy in pixels, ``labels`` (n,), names of categories, ``iscrowd`` (n,) and
        ``size``.
    classes : list of str
        Names of all categories.

    Raises
    ------
    TableError
        If the file is no such file; the message names what is missing.
    """
    found = _load(annotations)
    folder = Path(annotations).parent if images is None else Path(images)
    try:
        names = {category["id"]: category["name"] for category in found["categories"]}
        of_image = defaultdict(list)
        for one in found["annotations"]:
            of_image[one["image_id"]].append(one)
        paths = [os.fspath(folder / image["file_name"]) for image in found["images"]]
        targets = [_of_coco(image, of_image.pop(image["id"], []), names) for image in found["images"]]
    except (KeyError, TypeError) as err:
        raise TableError(f"{str(annotations)!r} is no file of COCO annotations: it lacks {shorten(str(err))}.") from err
    if of_image:
        raise TableError(f"{str(annotations)!r} annotates an image {next(iter(of_image))!r}, which it does not list.")
    return Annotated(paths, targets, list(names.values()))


def _load(path: PathLike) -> Any:
    """Read a JSON file."""
    try:
        return json.loads(Path(path).read_text("utf8"))
    except (ValueError, RecursionError) as err:
        raise TableError(f"{str(path)!r} is no JSON file ({shorten(str(err))}).") from err


def _of_coco(image: dict[str, Any], own: list[dict[str, Any]], names: dict[Any, str]) -> dict[str, Any]:
    """Return the target of an image."""
    size = {"size": (image["width"], image["height"])} if "width" in image and "height" in image else {}
    return {
        "boxes": to_xyxy([one["bbox"] for one in own], "xywh"),
        "labels": [names[one["category_id"]] for one in own],
        "iscrowd": np.array([bool(one.get("iscrowd", 0)) for one in own], bool),
        **size,
    }


def read_voc(annotations: PathLike, images: PathLike) -> Annotated:
    """Read a folder of annotations in the format of Pascal VOC.

    Corners of VOC are numbers of pixels, from 1, that belong to the object; they become edges, from 0.

    Parameters
    ----------
    annotations : path
        Folder of one XML file for each image.
    images : path
        Folder of the images.

    Returns
    -------
    paths, targets, classes
        As `read_coco`, with ``difficult`` in place of ``iscrowd``; classes are sorted.

    Raises
    ------
    FolderError
        If there is no annotation, or the image of one.
    TableError
        If a file cannot be read; the message names it.
    """
    files = [file for file in list_files(annotations) if file.lower().endswith(".xml")]
    if not files:
        raise FolderError(f"{str(annotations)!r} has no .xml file; pass the folder of the annotations.")
    by_stem = {Path(file).stem: file for file in list_files(images) if file.lower().endswith(SUFFIXES)}
    paths, targets = [], []
    for file in files:
        if (stem := Path(file).stem) not in by_stem:
            raise FolderError(f"{str(images)!r} has no image {stem!r}, which {file!r} annotates.")
        paths.append(by_stem[stem])
        targets.append(_of_voc(file))
    return Annotated(paths, targets, _classes(targets))


def _of_voc(file: str) -> dict[str, Any]:
    """Read the target of an image."""
    try:
        root = ElementTree.parse(file).getroot()
        objects = root.findall("object")
        edges = [[float(_text(one, f"bndbox/{edge}")) for edge in ("xmin", "ymin", "xmax", "ymax")] for one in objects]
        width, height = (int(float(root.findtext(f"size/{side}") or 0)) for side in ("width", "height"))
        return {
            "boxes": to_xyxy(edges) - np.array([1, 1, 0, 0]),
            "labels": [_text(one, "name") for one in objects],
            "difficult": np.array([one.findtext("difficult") == "1" for one in objects], bool),
            **({"size": (width, height)} if width and height else {}),
        }
    except (ElementTree.ParseError, ValueError) as err:
        raise TableError(f"{file!r} is no annotation of Pascal VOC: {shorten(str(err))}.") from err


def _text(element: ElementTree.Element, path: str) -> str:
    """Return the text of a part, which must be there."""
    if (text := element.findtext(path)) is None:
        raise ValueError(f"an object has no {path}")
    return text.strip()


def _classes(targets: Sequence[dict[str, Any]]) -> list[Any]:
    return sorted({label for target in targets for label in target["labels"]})


def read_yolo(images: PathLike, labels: PathLike, classes: Sequence[str] | PathLike | None = None) -> Annotated:
    """Read a folder of labels in the format of YOLO.

    Parameters
    ----------
    images : path
        Folder of the images.
    labels : path
        Folder of one text file for each image, of lines ``class x y width height``, in shares of the image, with x
        and y of the center. An image without a file, or with an empty one, has no object.
    classes : sequence of str or path, optional
        Names of the classes, or a text file with one a line; default: labels are the numbers.

    Returns
    -------
    paths, targets, classes
        As `read_coco`, without ``iscrowd``.

    Raises
    ------
    FolderError
        If there is no image, or a file of labels has none.
    TableError
        If a line cannot be read; the message names file and line.
    """
    paths = [file for file in list_files(images) if file.lower().endswith(SUFFIXES)]
    if not paths:
        raise FolderError(f"{str(images)!r} has no image; pass the folder of the images.")
    files = {_key(file, labels): file for file in list_files(labels) if file.endswith(".txt")}
    files.pop("classes", None)
    names = _names(classes)
    targets = [_of_yolo(path, files.pop(_key(path, images), None), names) for path in paths]
    if files:
        raise FolderError(f"{str(images)!r} has no image for {next(iter(files.values()))!r}.")
    return Annotated(paths, targets, _classes(targets) if names is None else names)


def _key(file: str, folder: PathLike) -> str:
    """Return what an image and its labels have in common: the path below their folders, without suffix."""
    return os.path.splitext(os.path.relpath(file, folder))[0]


def _names(classes: Sequence[str] | PathLike | None) -> list[str] | None:
    """Return the names of classes by number."""
    if isinstance(classes, (str, os.PathLike)):
        return [line.strip() for line in Path(classes).read_text("utf8").splitlines() if line.strip()]
    return None if classes is None else list(classes)


def _of_yolo(path: str, file: str | None, names: list[str] | None) -> dict[str, Any]:
    """Read the target of an image."""
    width, height = size_of(path)
    rows, labels = [], []
    lines = Path(file).read_text("utf8", "replace").splitlines() if file else []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            label, *box = line.split()
            x, y, w, h = map(float, box)
            labels.append(int(label) if names is None else names[_index(label, names)])
        except ValueError as err:
            raise TableError(f"{file!r}, line {number}: {shorten(repr(line))} is no class and box ({err}).") from err
        rows.append([x * width, y * height, w * width, h * height])
    return {"boxes": to_xyxy(rows, "cxcywh"), "labels": labels, "size": (width, height)}


def _index(label: str, names: list[str]) -> int:
    if not 0 <= int(label) < len(names):
        raise ValueError(f"there are {len(names)} classes")
    return int(label)
