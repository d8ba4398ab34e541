"""What a backbone is, every choice that changes its numbers, and where cards are found."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.resources
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from skltransfer.cards._inputs import SPECS, InputSpec
from skltransfer.errors import CardError, UnknownModelError, nearest

SCHEMA = 1
UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}

#: Raised whenever the code that reads images or runs graphs changes numbers for the same card.
NUMERICS = 1

POOLS = ("auto", "mean", "max", "cls", "last", "gem", "flatten")
PRECISIONS = ("auto", "fp32", "fp16", "int8")


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
