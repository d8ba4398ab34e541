"""`Card`, the description of a backbone, read from JSON and written back.

The format carries a number, `SCHEMA`. To change it: raise the number, teach `UPGRADES` how an older card becomes one of
the next number, and keep a card of every number among the fixtures of the tests.
"""

from __future__ import annotations

import dataclasses
import html
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from skltransfer.cards._inputs import SPECS, InputSpec
from skltransfer.cards._renamed import RenamedFields, old_name
from skltransfer.errors import CardError, nearest, shorten

SCHEMA = 2


def _from_1(data: dict[str, Any]) -> dict[str, Any]:
    """Rename the fields that schema 1 spelled otherwise."""
    new = Card.renamed(data)
    if isinstance(spec := data.get("input"), dict) and (kind := SPECS.get(str(data.get("modality")))):
        new["input"] = kind.renamed(spec)
    return {**new, "schema": 2}


#: How the dictionary of a card of one schema becomes that of the next.
UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _from_1}

#: Pooling of a card that nobody has chosen: to be asked for. It is never written.
ASKED = ""
POOLS = ("auto", "mean", "max", "cls", "last", "gem", "flatten", "none")
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


@dataclass(frozen=True, repr=False)
class Card(RenamedFields):
    """Description of a backbone: files and their hashes, license, input, layers, figures. Data only.

    Parameters
    ----------
    name : str
        Short name, as given to ``PretrainedEmbedder(model=...)``.
    modality : {"image", "text", "array"}
        Kind of sample.
    files : mapping of str to ModelFile
        ``"model"`` is the ONNX graph; others are its external data.
    input : ImageSpec, ArraySpec or None
        How a sample becomes the graph's input; None until something says so (a bare graph of images).
    layer : str or None
        Tensor that holds the embedding; None: the graph's first output.
    pool : str
        How that tensor becomes one row, see `POOLS`; `ASKED` where that is not known and must be said.
    normalize : bool
        Whether the embedding is scaled to unit L2 norm, as its authors do.
    prompts : mapping of str to str
        What the authors put before a text, by its purpose ("query"): ``PretrainedEmbedder(prompt="query")``.
    layers_table : mapping of str to tuple
        Shapes of tensors worth using as layers, without the batch axis; None for an unknown length.
    channels : mapping of str to int
        Axis that holds the channels, the batch axis being 0, of layers with several axes after it. It is read off the
        graph where its operators tell; where they do not, say it here.
    constants : mapping of str to number or list
        Values of inputs of the graph that hold no samples and are the same for all, such as ``{"task_id": 0}``.
    learning_rate : float or None
        Peak of the learning rate that suits its last blocks in fine-tuning; None: nobody has measured it.
    description, license, source, revision : str
        Where it comes from, and the terms it comes under.
    golden : mapping
        Reference rows for the probe samples, to notice drift: ``{"rows": [[...], ...]}``, first values of each row.
    replaces : tuple of str
        Fingerprints of earlier files whose embedding is the same: estimators fitted with them go on.
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
    normalize: bool = False
    prompts: Mapping[str, str] = field(default_factory=dict)
    layers_table: Mapping[str, tuple[int | None, ...]] = field(default_factory=dict)
    channels: Mapping[str, int] = field(default_factory=dict)
    constants: Mapping[str, Any] = field(default_factory=dict)
    learning_rate: float | None = None
    description: str = ""
    license: str = ""
    source: str = ""
    revision: str = ""
    golden: Mapping[str, Any] = field(default_factory=dict)
    replaces: tuple[str, ...] = ()
    measured: Mapping[str, Any] = field(default_factory=dict)
    folder: Path | None = field(default=None, compare=False)

    OLD_NAMES: ClassVar = {"licence": "license"}
    licence = old_name("licence", "license")

    def __repr__(self) -> str:
        """Return a line; `to_dict` has everything."""
        return f"Card({', '.join(f'{name}={shorten(repr(value), 60)}' for name, value in self._facts().items())})"

    def _repr_html_(self) -> str:
        facts = {**self._facts(), "layers": ", ".join(self.layers_table)}
        rows = (f"<tr><th>{name}</th><td>{html.escape(str(value))}</td></tr>" for name, value in facts.items())
        return f"<table style='text-align:left'>{''.join(rows)}</table>"

    def _facts(self) -> dict[str, Any]:
        """Return what tells cards apart, in the order of its importance; what is not said is left out."""
        facts = {"name": self.name, "modality": self.modality, "layer": self.layer, "license": self.license}
        facts |= {"files": f"{len(self.files)}, {'pinned' if self.pinned else 'not pinned'}"}
        return {name: value for name, value in facts.items() if value}

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
        """Return the shape of every layer the card lists, by name, without the batch axis; None for an unknown length.

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
                raise CardError(
                    f"{origin}: schema {shorten(repr(number))} cannot be read; this version reads up to {SCHEMA}."
                )
            data = UPGRADES[number](data)
        wrong = _mistakes(data)
        if not wrong:
            card = cls(**_fields(data), folder=folder)
            wrong = card.input.mistakes() if card.input is not None else []
        if wrong:
            raise CardError(f"{origin} cannot be used: {_listed(wrong)}.")
        return card

    def to_dict(self) -> dict[str, Any]:
        """Return the dictionary that card.json holds."""
        data = dataclasses.asdict(self)
        data["layers"] = {name: list(shape) for name, shape in data.pop("layers_table").items()}
        data["replaces"] = list(self.replaces)
        del data["folder"]
        return {
            "schema": SCHEMA,
            **{key: value for key, value in data.items() if value not in ("", {}, [], None, False)},
        }


#: Mistakes of a card that are listed; of more, their number is.
MAX_LISTED = 10


def _listed(wrong: list[str]) -> str:
    """Join mistakes, each shortened."""
    more = [f"and {len(wrong) - MAX_LISTED} more"] if len(wrong) > MAX_LISTED else []
    return "; ".join([*map(shorten, wrong[:MAX_LISTED]), *more])


#: JSON types of a card's values.
TYPES = {
    **dict.fromkeys(("name", "modality", "layer", "pool", "description", "license", "source", "revision"), str),
    **dict.fromkeys(("files", "input", "layers", "channels", "constants", "golden", "measured", "prompts"), dict),
    "normalize": bool,
    "replaces": list,
    "learning_rate": float,
}


def _mistakes(data: Mapping[str, Any]) -> list[str]:
    """List what keeps a dictionary from being a card."""
    mistyped = [key for key, kind in TYPES.items() if not isinstance(data.get(key, kind()), kind)]
    if mistyped:
        return [f"{key!r} is {data[key]!r}, not a {TYPES[key].__name__}" for key in mistyped]
    known = {f.name for f in dataclasses.fields(Card)} - {"folder", "layers_table"} | {"schema", "layers"}
    unknown = sorted(data.keys() - known, key=str)
    wrong = [f"unknown key {key!r}" + nearest(key, known, most=1).rstrip("?") for key in unknown[: MAX_LISTED + 1]]
    wrong += [f"{key!r} is missing or empty" for key in ("name", "modality", "files") if not data.get(key)]
    if (modality := data.get("modality")) not in SPECS:
        wrong.append(f"modality is {modality!r}, not one of {', '.join(SPECS)}")
    elif (spec := data.get("input")) is not None:
        fields = {f.name for f in dataclasses.fields(SPECS[modality])}
        wrong += [
            f"unknown key {f'input.{key}'!r}" + nearest(key, fields, most=1).rstrip("?")
            for key in sorted(spec.keys() - fields, key=str)[: MAX_LISTED + 1]
        ]
        needed = [f.name for f in dataclasses.fields(SPECS[modality]) if f.default is dataclasses.MISSING]
        wrong += [f"'input.{name}' is missing" for name in needed if name not in spec]
    wrong += [
        f"prompt {key!r} is {text!r}, not a str"
        for key, text in data.get("prompts", {}).items()
        if type(text) is not str
    ]
    if (rate := data.get("learning_rate")) is not None and not 0 < rate < 1:
        wrong.append(f"learning_rate is {rate!r}, not a number between 0 and 1")
    if data.get("pool", "auto") not in POOLS:
        wrong.append(f"pool is {data['pool']!r}, not one of {', '.join(POOLS)}")
    files = data.get("files") or {}
    wrong += ["files has no 'model'"] if "model" not in files else []
    wrong += [f"files: {mistake}" for entry in files.values() if (mistake := _file_mistake(entry))]
    for name, shape in data.get("layers", {}).items():
        if not isinstance(shape, list | tuple) or not all(n is None or _is_length(n) for n in shape):
            wrong.append(f"shape of layer {name!r} is {shape!r}, not a list of numbers and nulls")
    wrong += mistakes_of_tables(data)
    if (golden := data.get("golden")) and not _are_rows(golden.get("rows")):
        wrong.append(f"golden rows are {golden.get('rows')!r}, not lists of numbers, all of one length")
    return wrong


def _is_length(value: Any) -> bool:
    """Return whether a value may be a number of bytes, or of positions on an axis."""
    return isinstance(value, int) and 0 <= value < 2**63


def mistakes_of_tables(data: Mapping[str, Any]) -> list[str]:
    """List what is wrong with the channels of layers and the constants of inputs."""
    tables = {name: data.get(name, {}) for name in ("channels", "constants")}
    if wrong := [f"{name} is {table!r:.80}, not a dict" for name, table in tables.items() if not _is_table(table)]:
        return wrong
    wrong = [
        f"channels of layer {name!r} is {axis!r}, not an axis from 1 on"
        for name, axis in tables["channels"].items()
        if type(axis) is not int or not 1 <= axis < MAX_AXES
    ]
    return wrong + [
        f"constants[{name!r}] is {value!r:.80}, not a finite number or a list of such"
        for name, value in tables["constants"].items()
        if not _are_numbers(value)
    ]


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(key, str) for key in value)


#: Axes of a tensor; NumPy's limit.
MAX_AXES = 64


def _are_numbers(value: Any) -> bool:
    """Return whether a value is a finite number, or a list of such values."""
    if isinstance(value, list | tuple):
        return bool(value) and all(map(_are_numbers, value))
    return isinstance(value, bool | int | float) and math.isfinite(value)


def _are_rows(rows: Any) -> bool:
    """Return whether a value is a table of finite numbers."""
    if not isinstance(rows, list) or not rows or not all(isinstance(row, list) for row in rows):
        return False
    numbers = [number for row in rows for number in row]
    return len({len(row) for row in rows}) == 1 and all(
        isinstance(n, int | float) and math.isfinite(n) for n in numbers
    )


def _file_mistake(entry: Any) -> str:
    """Describe what is wrong with one entry of ``files``; empty if nothing is."""
    if not isinstance(entry, Mapping) or entry.keys() - {f.name for f in dataclasses.fields(ModelFile)}:
        return f"{entry!r} is not of the form {{'path': ..., 'sha256': ..., 'bytes': ...}}"
    path, sha256 = entry.get("path", ""), entry.get("sha256")
    if not isinstance(path, str) or not path or Path(path).is_absolute() or ".." in Path(path).parts or "\0" in path:
        return f"path {path!r} is not a relative path inside the card's folder"
    if sha256 is not None and not re.fullmatch("[0-9a-f]{64}", str(sha256)):
        return f"sha256 of {path!r} is {sha256!r}, not 64 lower-case hexadecimal digits"
    if entry.get("bytes") is not None and not _is_length(entry["bytes"]):
        return f"bytes of {path!r} is {entry['bytes']!r}, not a number of bytes"
    return ""


def _fields(data: Mapping[str, Any]) -> dict[str, Any]:
    """Turn checked JSON values into the types of `Card`."""
    out = {key: value for key, value in data.items() if key not in ("schema", "layers", "input", "files")}
    out["files"] = {role: ModelFile(**entry) for role, entry in data["files"].items()}
    out["replaces"] = tuple(map(str, data.get("replaces", ())))
    out["layers_table"] = {name: tuple(shape) for name, shape in data.get("layers", {}).items()}
    if (spec := data.get("input")) is not None:
        make: Callable[..., InputSpec] = SPECS[data["modality"]]
        out["input"] = make(**{k: tuple(v) if isinstance(v, list) else v for k, v in spec.items()})
    return out
