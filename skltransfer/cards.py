"""Facts: what a backbone is (`Card`) and every choice that changes its numbers (`Recipe`).

The room owns the card format and nothing else: it reads JSON, imports no library, opens no graph and writes no file.

The format carries a number, `SCHEMA`. To change it: raise the number, teach `Card.from_dict` to read the old form
(`UPGRADES` maps an old number to a function on the dictionary), keep a card of every old number in the tests.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.resources
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from skltransfer.errors import CardError, UnknownModelError, nearest

SCHEMA = 1
UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}

#: Raised whenever the code that reads images or runs graphs changes numbers for the same card.
NUMERICS = 1

RESIZES = ("shorter", "squash")
ROUNDINGS = ("nearest", "torchvision", "transformers")
INTERPOLATIONS = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
COLOURS = ("RGB", "BGR")
LAYOUTS = ("NCHW", "NHWC")
POOLS = ("auto", "mean", "max", "cls", "last", "gem", "flatten")
PRECISIONS = ("auto", "fp32")
LONG_TEXTS = ("truncate", "windows")


@dataclass(frozen=True)
class ImageSpec:
    """How an image becomes the input of a graph.

    The numbers that reach the graph are ``(range * pixel / 255 - mean) / std``, pixel by pixel.

    Parameters
    ----------
    size : (int, int)
        Height and width the graph takes, in pixels.
    resize : {"shorter", "squash"}
        ``"shorter"``: the shorter side is scaled to `resize_to` and the centre is cropped to `size`; ``"squash"``: the
        whole image is scaled to `size`, its aspect ratio is not kept.
    resize_to : int
        Length of the shorter side before the crop, in pixels.
    interpolation : str
        Pillow's name of the filter, always antialiased.
    colour : {"RGB", "BGR"}
        Channel order.
    range : float
        Value a white pixel has before `mean` and `std` are applied: 255.0 or 1.0, as the model was trained.
    mean, std : tuple of float
        Per channel, in the graph's channel order, in units of `range`.
    layout : {"NCHW", "NHWC"}
        Axes of the graph's input, and of its feature maps.
    fast : bool
        Let the JPEG decoder scale down while it decodes, and crop inside the scaling: about half the time per
        photograph, and slightly different pixels.
    max_pixels : int
        Larger images are refused before they are decoded.
    rounding : {"nearest", "torchvision", "transformers"}
        Fractions of a pixel: longer side to the nearest, crop down; longer side down, crop to the nearest; both down.
    """

    size: tuple[int, int]
    resize: str = "shorter"
    resize_to: int = 0
    interpolation: str = "bilinear"
    colour: str = "RGB"
    range: float = 255.0
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    layout: str = "NCHW"
    fast: bool = False
    max_pixels: int = 50_000_000
    rounding: str = "nearest"

    def mistakes(self) -> list[str]:
        """List what is wrong with the values, each with the value."""
        if wrong := self._of_wrong_type():
            return wrong
        choices = {"resize": RESIZES, "rounding": ROUNDINGS, "colour": COLOURS, "layout": LAYOUTS}
        choices["interpolation"] = INTERPOLATIONS
        wrong = [
            f"input.{name} is {getattr(self, name)!r}, not one of {', '.join(allowed)}"
            for name, allowed in choices.items()
            if getattr(self, name) not in allowed
        ]
        if len(self.size) != 2 or not all(isinstance(n, int) and 0 < n <= 4096 for n in self.size):
            wrong.append(f"input.size is {self.size!r}, not [height, width] between 1 and 4096")
        elif self.resize == "shorter" and self.resize_to < max(self.size):
            wrong.append(f"input.resize_to is {self.resize_to!r}, smaller than the crop {self.size!r}")
        for name in ("mean", "std"):
            values = getattr(self, name)
            if len(values) != 3 or not all(isinstance(v, (int, float)) and math.isfinite(v) for v in values):
                wrong.append(f"input.{name} is {values!r}, not three finite numbers")
        if any(v == 0 for v in self.std):
            wrong.append(f"input.std is {self.std!r}: zero cannot divide")
        if self.range not in (1.0, 255.0):
            wrong.append(f"input.range is {self.range!r}, not 1 or 255")
        return wrong

    def _of_wrong_type(self) -> list[str]:
        kinds = {"size": tuple, "resize_to": int, "mean": tuple, "std": tuple, "fast": bool, "max_pixels": int}
        return [
            f"input.{name} is {getattr(self, name)!r}, not a {'list' if kind is tuple else kind.__name__}"
            for name, kind in kinds.items()
            if not isinstance(getattr(self, name), kind)
        ]


@dataclass(frozen=True)
class ArraySpec:
    """Input of a backbone that takes numbers: handed to the graph as float32, nothing done to it."""

    layout: str = "NCHW"

    def mistakes(self) -> list[str]:
        """List what is wrong with the values, each with the value."""
        return [] if self.layout in LAYOUTS else [f"input.layout is {self.layout!r}, not one of {', '.join(LAYOUTS)}"]


@dataclass(frozen=True)
class TextSpec:
    """How a text becomes the input of a graph: by the card's file ``"tokenizer"``, a tokenizer.json.

    Parameters
    ----------
    max_length : int
        Tokens, special ones included, that the graph takes of a text.
    truncation : {"right", "left"}
        Side of a longer text that is cut off.
    long_text : {"truncate", "windows"}
        ``"truncate"``: what is cut off is lost; ``"windows"``: a longer text is the mean of its parts' embeddings.
    prefix : str
        Put before every text, as some models were trained ("query: ").
    max_chars : int
        Characters of a text that are looked at; bounds the time a hostile one takes.
    pad : int
        Token id that fills up the shorter texts of a batch; its mask is zero.
    layout : {"NCHW"}
        As for other inputs; tokens have none.
    """

    max_length: int = 256
    truncation: str = "right"
    long_text: str = "truncate"
    prefix: str = ""
    max_chars: int = 1_000_000
    pad: int = 0
    layout: str = "NCHW"

    def mistakes(self) -> list[str]:
        """List what is wrong with the values, each with the value."""
        choices = {"truncation": ("right", "left"), "long_text": LONG_TEXTS, "layout": LAYOUTS}
        wrong = [
            f"input.{name} is {getattr(self, name)!r}, not one of {', '.join(allowed)}"
            for name, allowed in choices.items()
            if getattr(self, name) not in allowed
        ]
        for name in ("max_length", "max_chars"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                wrong.append(f"input.{name} is {getattr(self, name)!r}, not a positive integer")
        return wrong


InputSpec = ImageSpec | ArraySpec | TextSpec
SPECS: dict[str, type[ImageSpec] | type[ArraySpec] | type[TextSpec]] = {
    "image": ImageSpec,
    "array": ArraySpec,
    "text": TextSpec,
}


@dataclass(frozen=True)
class ModelFile:
    """One file of a model.

    Parameters
    ----------
    path : str
        Relative to the card's folder; never outside it.
    sha256 : str or None
        Hexadecimal digest that pins the content; None for a file nobody has pinned.
    bytes : int or None
        Its length.
    """

    path: str
    sha256: str | None = None
    bytes: int | None = None


@dataclass(frozen=True)
class Card:
    """What a backbone is: files and their hashes, licence, input, layers, figures. Data only.

    Parameters
    ----------
    name : str
        Short name, as given to ``PretrainedEmbedder(model=...)``.
    modality : {"image", "array"}
        Kind of sample.
    files : mapping of str to ModelFile
        ``"model"`` is the ONNX graph; others are its external data.
    input : ImageSpec, ArraySpec or None
        How a sample becomes the graph's input; None until something says so (a bare graph of images).
    layer : str or None
        Tensor that holds the embedding; None: the graph's first output.
    pool : str
        How that tensor becomes one row, see `POOLS`.
    layers_table : mapping of str to tuple
        Shapes of tensors worth using as layers, without the batch axis; None for an unknown length.
    description, licence, source, revision : str
        Where it comes from, and the terms it comes under.
    golden : mapping
        Reference rows for the probe samples, to notice drift: ``{"rows": [[...], ...]}``, first values of each row.
    measured : mapping
        Figures, each named for what it measures.
    folder : Path or None
        Where the files lie.
    """

    name: str
    modality: str
    files: Mapping[str, ModelFile]
    input: InputSpec | None = None
    layer: str | None = None
    pool: str = "auto"
    layers_table: Mapping[str, tuple[int | None, ...]] = field(default_factory=dict)
    description: str = ""
    licence: str = ""
    source: str = ""
    revision: str = ""
    golden: Mapping[str, Any] = field(default_factory=dict)
    measured: Mapping[str, Any] = field(default_factory=dict)
    folder: Path | None = field(default=None, compare=False)

    @property
    def pinned(self) -> bool:
        """Whether every file is pinned by its SHA-256."""
        return all(file.sha256 for file in self.files.values())

    @property
    def manifest(self) -> tuple[str, ...]:
        """Names of the card's files, as the graph must write them: relative to its own folder."""
        home = Path(self.files["model"].path).parent
        return tuple(
            Path(file.path).relative_to(home).as_posix()
            for file in self.files.values()
            if Path(file.path).is_relative_to(home)
        )

    def layers(self) -> dict[str, tuple[int | None, ...]]:
        """Give the shape of every layer the card lists, by name, without the batch axis; None for an unknown length.

        Any tensor of the graph may be used as a layer; ``skltransfer models layers NAME`` lists them all.
        """
        return dict(self.layers_table)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], *, folder: Path | None = None, origin: str = "card") -> Card:
        """Read the dictionary of a card.json.

        Parameters
        ----------
        data : mapping
            As `to_dict` gives it.
        folder : Path, optional
            Where the card's files lie.
        origin : str
            What to call the card in an error message.

        Raises
        ------
        CardError
            With every mistake at once.
        """
        data = {key: value for key, value in data.items() if value is not None}
        while (number := data.get("schema")) != SCHEMA:
            if not isinstance(number, int) or number not in UPGRADES:
                raise CardError(f"{origin}: schema {number!r} cannot be read; this version reads up to {SCHEMA}.")
            data = UPGRADES[number](data)
        wrong = _mistakes(data)
        if not wrong:
            card = cls(**_fields(data), folder=folder)
            wrong = card.input.mistakes() if card.input is not None else []
        if wrong:
            raise CardError(f"{origin} cannot be used: " + "; ".join(wrong) + ".")
        return card

    def to_dict(self) -> dict[str, Any]:
        """Give the card as the dictionary that card.json holds."""
        data = dataclasses.asdict(self)
        data["layers"] = {name: list(shape) for name, shape in data.pop("layers_table").items()}
        del data["folder"]
        return {"schema": SCHEMA, **{key: value for key, value in data.items() if value not in ("", {}, None)}}


#: JSON types of a card's values.
TYPES = {
    **dict.fromkeys(("name", "modality", "layer", "pool", "description", "licence", "source", "revision"), str),
    **dict.fromkeys(("files", "input", "layers", "golden", "measured"), dict),
}


def _mistakes(data: Mapping[str, Any]) -> list[str]:
    """List what keeps a dictionary from being a card."""
    mistyped = [key for key, kind in TYPES.items() if not isinstance(data.get(key, kind()), kind)]
    if mistyped:
        return [f"{key!r} is {data[key]!r}, not a {TYPES[key].__name__}" for key in mistyped]
    known = {f.name for f in dataclasses.fields(Card)} - {"folder", "layers_table"} | {"schema", "layers"}
    wrong = [f"unknown key {key!r}" + nearest(key, known, most=1).rstrip("?") for key in data.keys() - known]
    wrong += [f"{key!r} is missing or empty" for key in ("name", "modality", "files") if not data.get(key)]
    if (modality := data.get("modality")) not in SPECS:
        wrong.append(f"modality is {modality!r}, not one of {', '.join(SPECS)}")
    elif (spec := data.get("input")) is not None:
        fields = {f.name for f in dataclasses.fields(SPECS[modality])}
        wrong += [
            f"unknown key 'input.{key}'" + nearest(key, fields, most=1).rstrip("?") for key in spec.keys() - fields
        ]
        if modality == "image" and "size" not in spec:
            wrong.append("'input.size' is missing")
    if data.get("pool", "auto") not in POOLS:
        wrong.append(f"pool is {data['pool']!r}, not one of {', '.join(POOLS)}")
    files = data.get("files") or {}
    wrong += ["files has no 'model'"] if "model" not in files else []
    wrong += [f"files: {mistake}" for entry in files.values() if (mistake := _file_mistake(entry))]
    for name, shape in data.get("layers", {}).items():
        if not isinstance(shape, list) or not all(isinstance(n, int | None) for n in shape):
            wrong.append(f"shape of layer {name!r} is {shape!r}, not a list of numbers and nulls")
    return wrong


def _file_mistake(entry: Any) -> str:
    """Say what is wrong with one entry of ``files``, or nothing."""
    if not isinstance(entry, Mapping) or entry.keys() - {f.name for f in dataclasses.fields(ModelFile)}:
        return f"{entry!r} is not of the form {{'path': ..., 'sha256': ..., 'bytes': ...}}"
    path, sha256 = entry.get("path", ""), entry.get("sha256")
    if not isinstance(path, str) or not path or Path(path).is_absolute() or ".." in Path(path).parts:
        return f"path {path!r} is not a relative path inside the card's folder"
    if sha256 is not None and not re.fullmatch("[0-9a-f]{64}", str(sha256)):
        return f"sha256 of {path!r} is {sha256!r}, not 64 lower-case hexadecimal digits"
    return ""


def _fields(data: Mapping[str, Any]) -> dict[str, Any]:
    """Turn checked JSON values into the types of `Card`."""
    out = {key: value for key, value in data.items() if key not in ("schema", "layers", "input", "files")}
    out["files"] = {role: ModelFile(**entry) for role, entry in data["files"].items()}
    out["layers_table"] = {name: tuple(shape) for name, shape in data.get("layers", {}).items()}
    if (spec := data.get("input")) is not None:
        make: Callable[..., InputSpec] = SPECS[data["modality"]]
        out["input"] = make(**{k: tuple(v) if isinstance(v, list) else v for k, v in spec.items()})
    return out


@dataclass(frozen=True)
class Recipe:
    """Every choice that changes the numbers of an embedding.

    Parameters
    ----------
    graph : str
        SHA-256 over the model's files.
    input : ImageSpec or ArraySpec
        How samples are prepared.
    layers : tuple of str
        Tensors whose pooled values stand side by side in a row.
    pool : str
        One of `POOLS`, except ``"auto"``; ``""`` where every layer is a row already; ``"shared"`` for several side by
        side, see `graph.shared_pools`.
    normalize : bool
        Whether rows are scaled to unit L2 norm.
    precision : str
        One of `PRECISIONS`.
    device : str
        Kind of device ("cpu", "cuda", "tensorrt"): they differ in the last digits.
    """

    graph: str
    input: InputSpec
    layers: tuple[str, ...]
    pool: str
    normalize: bool = False
    precision: str = "auto"
    device: str = "cpu"

    @cached_property
    def key(self) -> str:
        """Fingerprint: 32 hexadecimal digits; session key, cache key, log line and caption at once."""
        choices = json.dumps([NUMERICS, type(self.input).__name__, dataclasses.asdict(self)], sort_keys=True)
        return hashlib.blake2b(choices.encode(), digest_size=16).hexdigest()


def names() -> list[str]:
    """List the names of the embedded backbones, sorted."""
    root = importlib.resources.files("skltransfer.models")
    return sorted(entry.name for entry in root.iterdir() if entry.joinpath("card.json").is_file())


def find(model: str, others: Iterable[str] = ()) -> Card:
    """Find the card of a model, by name or by path; read nothing but JSON.

    Parameters
    ----------
    model : str
        A registered name, a card folder, or an ``.onnx`` file (its card is ``FILE.card.json`` beside it; a graph
        without a card gets a bare one, with no pinned file and no input).
    others : iterable of str
        Names that are known elsewhere, for the message.

    Returns
    -------
    Card

    Raises
    ------
    UnknownModelError
        If there is no such thing; the message has the nearest names.
    CardError
        If the card cannot be read.
    """
    path = Path(model)
    if path.suffix == ".onnx" and path.is_file():
        return _of_graph(path)
    if path.is_dir():
        return _of_folder(path)
    known = names()
    if model in known:
        return _of_folder(Path(str(importlib.resources.files("skltransfer.models").joinpath(model))))
    raise UnknownModelError(
        f"There is no model {model!r}: not a registered name ({', '.join(known)}), nor an .onnx file or card folder "
        f"that exists.{nearest(model, [*known, *others])} List the names with: skltransfer models list"
    )


def card_path(graph: Path) -> Path:
    """Give the place of the card of a single ``.onnx`` file: beside it, as ``NAME.card.json``."""
    return graph.with_suffix(".card.json")


def _of_graph(path: Path) -> Card:
    if card_path(path).is_file():
        return _read(card_path(path))
    files = {"model": ModelFile(path.name)}
    if (path.parent / "tokenizer.json").is_file():
        files["tokenizer"] = ModelFile("tokenizer.json")
    return Card(name=path.stem, modality="", files=files, folder=path.resolve().parent)


def _of_folder(folder: Path) -> Card:
    if (folder / "card.json").is_file():
        return _read(folder / "card.json")
    graphs = sorted(folder.glob("*.onnx"))
    if len(graphs) == 1:
        return _of_graph(graphs[0])
    raise UnknownModelError(
        f"The folder {str(folder)!r} holds no card.json and {len(graphs)} .onnx files; give the path of one file."
    )


def _read(path: Path) -> Card:
    try:
        data = json.loads(path.read_text("utf8"))
    except ValueError as err:
        raise CardError(f"{str(path)!r} is not JSON: {err}") from err
    if not isinstance(data, dict):
        raise CardError(f"{str(path)!r} holds a {type(data).__name__}, not a card.")
    return Card.from_dict(data, folder=path.resolve().parent, origin=repr(str(path)))
