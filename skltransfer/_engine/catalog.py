"""From what the user wrote to something that can run: card found, completed from its graph, turned into a plan.

What the card leaves open is read off the graph; what a graph cannot say - color order, mean, std - must be given, and
the error says how.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from skltransfer import cards
from skltransfer._engine import graph, hub, inspection, registry, runtime, stream
from skltransfer.cards import POOLS, SPECS, ArraySpec, Card, ModelFile, Recipe
from skltransfer.errors import CardError, LayerError

#: Usual ways to scale pixels, by the name of what was trained so: torchvision and timm; TensorFlow's MobileNet and
#: Inception; CLIP; Keras' and Caffe's way of leaving 0 to 255 as it is.
PRESETS: dict[str, dict[str, Any]] = {
    "imagenet": {"range": 1.0, "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
    "inception": {"range": 255.0, "mean": (127.5, 127.5, 127.5), "std": (127.5, 127.5, 127.5)},
    "clip": {"range": 1.0, "mean": (0.48145466, 0.4578275, 0.40821073), "std": (0.26862954, 0.26130258, 0.27577711)},
    "raw": {"range": 255.0, "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)},
}


def load_card(model: str | os.PathLike[str] | Card, **changes: Any) -> Card:
    """Find the card of a model and complete it from its graph.

    Parameters
    ----------
    model : str, path or Card
        A registered name (see `list_models`), an ``.onnx`` file, a card folder, an address of the Hugging Face Hub
        (``"hf://owner/repo@revision/model.onnx"``), or a card.
    **changes
        Fields of the card (``layer``, ``pool``, ``license``, ...) or of its input (``size``, ``resize``, ``mean``,
        ...; see `cards.ImageSpec`) to set; ``preset="imagenet"`` sets range, mean and std as in `PRESETS`.

    Returns
    -------
    Card
        With ``input``, ``layer`` and ``layers()`` filled in. It may be given to ``PretrainedEmbedder(model=...)``.

    Raises
    ------
    UnknownModelError
        If there is no such model.
    CardError
        If something is missing that a graph cannot say.

    Examples
    --------
    >>> from skltransfer import load_card
    >>> load_card("vision-mini").modality
    'image'
    """
    card = model if isinstance(model, Card) else _find(os.fspath(model))
    if not changes and card.input is not None and card.layer is not None and card.layers_table:
        return card
    known = registry.known_of(model, card) if isinstance(model, str) else {}
    return _complete(card, {**known, **changes})


def _find(model: str) -> Card:
    """Find a card, reading it once per process for as long as its file stays the same."""
    if registry.knows(model):
        return registry.find(model)
    path = Path(model)
    beside = (path / "tokenizer.json", path.parent / "tokenizer.json")  # what errors tell the user to put there
    files = (path, path / "card.json", cards.card_path(path) if path.suffix else path, *beside)
    return _find_in_state(model, tuple(_state(file) for file in files))


def _state(path: Path) -> tuple[int, int, int]:
    try:
        status = path.stat()
    except OSError:
        return (0, 0, 0)
    return status.st_ino, status.st_size, status.st_ctime_ns


@functools.lru_cache(maxsize=64)
def _find_in_state(model: str, state: object) -> Card:
    return cards.find(model, registry.table())


def list_models() -> list[str]:
    """List the names of backbones: those that are embedded, and those that are fetched when they are first used.

    Returns
    -------
    list of str
        Sorted; each may be given to ``PretrainedEmbedder(model=...)``. ``skltransfer models list`` says which is which.

    Examples
    --------
    >>> from skltransfer import list_models
    >>> "vision-mini" in list_models()
    True
    """
    return sorted({*cards.names(), *registry.table()})


def _complete(card: Card, changes: Mapping[str, Any]) -> Card:
    """Fill in what the graph says, then what the caller says."""
    facts = inspection.inspect_model(card)
    said = {key: changes[key] for key in ("modality", "input") if key in changes}
    card = dataclasses.replace(card, **said)
    modality = card.modality or _modality(facts)
    _check(modality, changes)
    fields = {field.name for field in dataclasses.fields(SPECS[modality])}
    given = {**PRESETS.get(changes.get("preset", ""), {}), **changes}
    unknown = given.keys() - fields - {f.name for f in dataclasses.fields(Card)} - {"preset"}
    if unknown or changes.get("preset", "raw") not in PRESETS:
        raise CardError(
            f"Neither a card nor {modality!r} input has {', '.join(sorted(unknown)) or changes['preset']!r}; "
            f"an input has {', '.join(sorted(fields))}; presets are {', '.join(PRESETS)}."
        )
    spec = _input(card, facts, modality, {key: given[key] for key in given.keys() & fields})
    graph.check_layers([given.get("layer") or card.layer or facts.output], facts.layers)
    of_card = {key: value for key, value in given.items() if key not in fields | said.keys() | {"preset"}}
    defaults = {"layer": card.layer or facts.output, "layers_table": facts.layers}
    return dataclasses.replace(card, modality=modality, input=spec, **{**defaults, **of_card})


def _check(modality: str, changes: Mapping[str, Any]) -> None:
    """Refuse values of a card's fields that cannot be."""
    layer, pool = changes.get("layer"), changes.get("pool", "auto")
    wrong = [f"modality is {modality!r}, not one of {', '.join(SPECS)}"] if modality not in SPECS else []
    wrong += [f"pool is {pool!r}, not one of {', '.join(POOLS)}"] if pool not in POOLS else []
    wrong += [f"layer is {layer!r}, not the name of one tensor"] if not isinstance(layer, str | None) else []
    if wrong:
        raise CardError("; ".join(wrong) + ".")


def _modality(facts: graph.GraphInfo) -> str:
    """Guess what a bare graph takes from its input: token ids, three channels, or numbers."""
    if facts.input.endswith("ids"):
        return "text"
    return "image" if len(facts.shape) == 4 and 3 in (facts.shape[1], facts.shape[3]) else "array"


def _numeric_input(card: Card, facts: graph.GraphInfo, given: Mapping[str, Any]) -> dict[str, Any]:
    return dict(given)


def _text_input(card: Card, facts: graph.GraphInfo, given: Mapping[str, Any]) -> dict[str, Any]:
    if "tokenizer" not in card.files:
        folder = str(card.folder or Path())
        raise CardError(f"{card.name!r} takes token ids; put its tokenizer.json into {folder!r}, beside the graph.")
    return dict(given)


def _image_input(card: Card, facts: graph.GraphInfo, given: Mapping[str, Any]) -> dict[str, Any]:
    """Read the geometry off the graph; what a graph cannot say must be given."""
    if card.input is None:
        missing = [name for name in ("range", "mean", "std") if name not in given]
        if missing:
            raise CardError(_how_to_write_a_card(card, facts, missing))
        given = {**_geometry(facts), **given}
    spec = {**(dataclasses.asdict(card.input) if card.input is not None else {}), **given}
    if "resize_to" not in given and spec["resize"] == "shorter" and not spec.get("resize_to"):
        with contextlib.suppress(TypeError, ValueError):  # a size that is none is refused below
            spec["resize_to"] = round(max(spec["size"]) * 256 / 224)  # the crop of 7/8 usual for tests on ImageNet
    return spec


INPUTS = {"image": _image_input, "text": _text_input, "array": _numeric_input}


def _input(card: Card, facts: graph.GraphInfo, modality: str, given: Mapping[str, Any]) -> cards.InputSpec:
    """Make the input specification, or say what is missing."""
    known: dict[str, Any] = dataclasses.asdict(card.input) if card.input is not None else {}
    fields = {**known, **INPUTS[modality](card, facts, given)}
    make: Callable[..., cards.InputSpec] = SPECS[modality]
    return _checked(make(**{key: tuple(v) if isinstance(v, list) else v for key, v in fields.items()}), card)


def _checked(spec: cards.InputSpec, card: Card) -> cards.InputSpec:
    if wrong := spec.mistakes():
        raise CardError(f"The input of {card.name!r} cannot be used: {'; '.join(wrong)}.")
    return spec


def _geometry(facts: graph.GraphInfo) -> dict[str, Any]:
    """Read size and layout off the input's shape."""
    if len(facts.shape) != 4:
        raise CardError(f"The graph's input {facts.input!r} has the shape {facts.shape}; images need four axes.")
    layout = "NCHW" if facts.shape[1] == 3 else "NHWC"
    size = facts.shape[2:] if layout == "NCHW" else facts.shape[1:3]
    return {"layout": layout, "size": tuple(n or 224 for n in size), "resize": "shorter"}


def _how_to_write_a_card(card: Card, facts: graph.GraphInfo, missing: Sequence[str]) -> str:
    path = (card.folder or Path()) / card.files["model"].path
    return (
        f"{path.name!r} takes images {facts.shape}, but a graph does not say how their pixels were scaled "
        f"({', '.join(missing)}), nor in which color order. Write a card, once, for a model trained as in torchvision "
        f"or timm with: skltransfer models card {str(path)!r} --preset imagenet   (other presets: "
        f"{', '.join(p for p in PRESETS if p != 'imagenet')}; or --range, --mean, --std, --color, --resize, --layer)"
    )


# ---------------------------------------------------------------------------------------------------------------------
# Plans


def plan(
    card: Card,
    device: runtime.Device,
    *,
    layer: str | Sequence[str] | None = None,
    pool: str = "auto",
    normalize: bool = False,
    precision: str = "auto",
    **changes: Any,
) -> tuple[stream.Plan, int | None]:
    """Turn a completed card and the user's choices into a plan.

    Parameters
    ----------
    card : Card
        From `load_card`.
    device : runtime.Device
        Where it will run.
    layer, pool, normalize, precision
        As in `PretrainedEmbedder`.
    **changes
        Fields of the card's input to set for this plan, such as ``max_length``.

    Returns
    -------
    plan : stream.Plan
    width : int or None
        Columns of a row; None if only a run can tell.

    Raises
    ------
    LayerError
        If there is no such layer.
    IntegrityError, UnknownModelError
        If the model's files are not there or not the pinned ones.
    """
    assert card.input is not None
    assert card.layer is not None
    fingerprint = hub.fingerprint(card)
    layers = (card.layer,) if layer is None else (layer,) if isinstance(layer, str) else tuple(layer)
    if not layers:
        raise LayerError("layer is an empty list; name at least one tensor, or pass None for the card's embedding.")
    shapes = _shapes(card, layers)
    how = _pool(card, shapes, pool)
    recipe = Recipe(fingerprint, _changed(card, changes), layers, how, normalize, precision, device.kind)
    widths = [graph.pooled_width(shape, how, card.input.layout) for shape in shapes]
    return stream.Plan(card, recipe, device), None if None in widths else sum(w for w in widths if w is not None)


#: Layers beyond which a card's list is taken for a list of everything, not for a choice worth computing at once.
MOST_SHARED = 24


def shared(plan: stream.Plan) -> stream.Plan | None:
    """Widen a plan to what other candidates of a search may want of the same run.

    Parameters
    ----------
    plan : stream.Plan
        From `plan`.

    Returns
    -------
    stream.Plan or None
        Its rows hold every layer the card lists (if it lists up to `MOST_SHARED`), in the poolings of
        `graph.shared_pools`, and its view is what was asked for. None if there is no such plan, or nothing to share.
    """
    card, recipe = plan.card, plan.recipe
    listed = card.layers_table if len(card.layers_table) <= MOST_SHARED else {}
    layers = tuple(listed) if set(recipe.layers) <= listed.keys() else tuple(dict.fromkeys(recipe.layers))
    parts = _parts(dict(zip(layers, _shapes(card, layers), strict=True)), recipe)
    wanted = [parts.get((name, recipe.pool)) or parts.get((name, "")) for name in recipe.layers]
    if None in wanted or len(parts) == 1 or (recipe.normalize and getattr(recipe.input, "long_text", "") == "windows"):
        return None  # the mean of scaled windows is not the mean of windows, scaled
    wide = dataclasses.replace(recipe, layers=layers, pool="shared", normalize=False)
    columns = tuple(part for part in wanted if part is not None)
    return stream.Plan(card, wide, plan.device, stream.View(columns, recipe.normalize))


def _parts(shapes: Mapping[str, graph.Shape], recipe: Recipe) -> dict[tuple[str, str], slice]:
    """Say which columns of a shared row hold a layer in a pooling; nothing, if the graph does not say how many."""
    parts, start = {}, 0
    for name, shape in shapes.items():
        for pool in graph.shared_pools(shape):
            width = graph.pooled_width(shape, pool, recipe.input.layout)
            if width is None:
                return {}
            parts[name, pool] = slice(start, start + width)
            start += width
    return parts


def _changed(card: Card, changes: Mapping[str, Any]) -> cards.InputSpec:
    """Set fields of the input, if it has them; grids of numpy hold its numbers, recipes hold Python's."""
    assert card.input is not None
    foreign = changes.keys() - {field.name for field in dataclasses.fields(card.input)}
    if foreign:
        raise CardError(f"{', '.join(sorted(foreign))} is for texts; {card.name!r} takes {card.modality} samples.")
    plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in changes.items()}
    return _checked(dataclasses.replace(card.input, **plain), card)


def _shapes(card: Card, layers: Sequence[str]) -> list[graph.Shape]:
    """Give the shapes of layers, from the card if it lists them, else from the graph."""
    table = card.layers_table
    if not all(name in table for name in layers):
        table = inspection.inspect_model(card).layers
        graph.check_layers(layers, table)
    return [table[name] for name in layers]


def _pool(card: Card, shapes: Sequence[graph.Shape], pool: str) -> str:
    """Settle the pooling: none where every layer is a row already, else the user's, else the card's, else the mean."""
    if all(len(shape) < 2 for shape in shapes):
        return ""
    return pool if pool != "auto" else card.pool if card.pool != "auto" else "mean"


# ---------------------------------------------------------------------------------------------------------------------
# Writing cards


def write_card(card: Card, path: Path | None = None) -> Path:
    """Pin a completed card's files, record its golden rows, and write it.

    Parameters
    ----------
    card : Card
        From `load_card`.
    path : Path, optional
        Where to; by default beside the graph, as ``NAME.card.json``.

    Returns
    -------
    Path
        The file written.
    """
    folder = card.folder or Path()
    hub.verified(registry.unpinned(card))
    files = {role: _pinned(file, folder) for role, file in card.files.items()}
    card = dataclasses.replace(card, files=files)
    card = dataclasses.replace(card, golden=golden(card))
    path = path or cards.card_path(folder / files["model"].path)
    hub.write(path, json.dumps(card.to_dict(), indent=1) + "\n")
    return path


def renew_card(model: str | os.PathLike[str], external: Sequence[str] = (), **changes: Any) -> Card:
    """Complete the card of a graph anew, as `load_card` does, without trusting what an older card pins.

    Parameters
    ----------
    model : str or path
        An ``.onnx`` file, with a card or without.
    external : sequence of str
        Files beside the graph that it keeps weights in, by the names it refers to them; they join those of the card.
    **changes
        As in `load_card`.

    Returns
    -------
    Card
        With nothing pinned, for `write_card`. Figures measured on another file are left out.
    """
    card = cards.find(os.fspath(model))
    files = {role: ModelFile(file.path) for role, file in card.files.items()}
    files.update({name: ModelFile(name) for name in external if ModelFile(name) not in files.values()})
    graph_file = card.files["model"]
    same = graph_file.sha256 == hub.sha256((card.folder or Path()) / graph_file.path)
    bare = dataclasses.replace(card, files=files, golden={}, measured=card.measured if same else {})
    return _complete(bare, changes)


def _pinned(file: ModelFile, folder: Path) -> ModelFile:
    path = folder / file.path
    return ModelFile(file.path, hub.sha256(path), path.stat().st_size)


#: Numbers of each golden row that a card keeps.
GOLDEN_NUMBERS = 16


def golden(card: Card, device: runtime.Device | None = None) -> dict[str, Any]:
    """Embed the probe samples of `images.probe`: the rows a card records so that drift is noticed.

    Parameters
    ----------
    card : Card
        Completed.
    device : runtime.Device, optional
        The CPU by default.

    Returns
    -------
    dict
        ``rows``: the first numbers of three rows, and ``norms``: their lengths. Empty if the input has free axes.
    """
    made, _ = plan(card, device or runtime.Device())
    if isinstance(card.input, ArraySpec):
        return {}
    samples = stream.PREPARERS[type(card.input)](made).probe(None)
    rows = stream.open_backbone(made).run(samples).astype(float)
    return {
        "rows": [[round(number, 6) for number in row[:GOLDEN_NUMBERS]] for row in rows.tolist()],
        "norms": [round(number, 6) for number in np.linalg.norm(rows, axis=1).tolist()],
    }


def drift(card: Card, device: runtime.Device | None = None) -> float:
    """Compare this machine's golden rows with the card's.

    Returns
    -------
    float
        Largest difference, relative to the largest number of the card's rows.

    Raises
    ------
    CardError
        If the card has no golden rows.
    """
    if not card.golden:
        raise CardError(f"The card of {card.name!r} has no golden rows; write it again with: skltransfer models card")
    want = np.array(card.golden["rows"])
    have = np.array(golden(card, device)["rows"])
    if have.shape != want.shape:
        raise CardError(f"The golden rows of {card.name!r} have the shape {want.shape}, its graph's {have.shape}.")
    return float(np.abs(have - want).max() / max(float(np.abs(want).max()), 1e-12))
