"""Cards: found by name, path or address, and completed from the graph.

What a card leaves open is read off the graph; what a graph cannot say - channel order, mean, std - must be given, and
the error says how.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from skltransfer import cards
from skltransfer._engine import graph, hub, inspection, modalities, plan, process, registry
from skltransfer.cards import ASKED, POOLS, Card, GraphInfo, InputSpec, ModelFile
from skltransfer.errors import CardError, ModelError, ModelWarning, warn


def load_card(model: str | os.PathLike[str] | Card, **changes: Any) -> Card:
    """Find the card of a model and complete it from its graph.

    Parameters
    ----------
    model : str, path or Card
        A registered name (see `list_models`), an ``.onnx`` file, a card folder, an address of the Hugging Face Hub
        (``"hf://owner/repo@revision/model.onnx"``), or a card.
    **changes
        Fields of the card (``layer``, ``pool``, ``license``, ...) or of its input (``size``, ``resize``, ``mean``,
        ...; see `cards.ImageSpec`) to set; ``preset="imagenet"`` sets range, mean and std. Another ``size`` than the
        graph was exported for is possible where it is convolutional: ``load_card("vision-mini", size=(320, 320))`` has
        feature maps of 10 x 10 where the original has 3 x 3; golden rows are dropped then.

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
    complete = card.input is not None and card.input.settled and card.layer is not None and card.layers_table
    if not changes and complete:
        return card
    known = registry.known_of(model, card) if isinstance(model, str) else {}
    said = {**known, **_renamed(changes)}
    completed = _complete(card, said)
    if not isinstance(model, Card) and card.input is None and card.layer is None and "layer" not in said:
        _mention(completed)
    return completed


#: Fields by the names of skltransfer 0.1.
OLD_NAMES = {**Card.OLD_NAMES, **cards.ImageSpec.OLD_NAMES}


def _renamed(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Replace old names of fields, with a FutureWarning each."""
    for old in OLD_NAMES.keys() & changes.keys():
        warn(f"load_card({old}=) {cards.GONE}; use load_card({OLD_NAMES[old]}=).", FutureWarning)
    return {OLD_NAMES.get(name, name): value for name, value in changes.items()}


def _find(model: str) -> Card:
    """Find a card, reading it once per process for as long as its files stay the same."""
    if registry.knows(model):
        return registry.find(model)
    return _find_in_state(model, tuple(process.file_states(candidates(model))))


def candidates(model: str) -> list[str]:
    """List the files that decide which card a name or path has: the card, and what lies beside the graph."""
    if registry.knows(model):
        return []
    path = Path(model)
    graphs = [path] if path.suffix == ".onnx" else [path / "x.onnx", path / "onnx" / "model.onnx"]
    beside = [file for one in graphs for file in cards.beside(one)]  # errors tell the user to put a tokenizer there
    files = (path, path / "card.json", cards.card_path(path) if path.suffix else path, *beside)
    return [os.fspath(file) for file in files]


@process.memo(64)
def _find_in_state(model: str, states: object) -> Card:
    return cards.find(model, registry.table())


def list_models() -> list[str]:
    """List the names of backbones: bundled ones, and those that are fetched at first use.

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
    info = inspection.inspect_model(card)
    if "constants" in changes:
        changes = {**changes, "constants": _plain(changes["constants"])}
    _check(changes)
    _check_names(info, changes)
    said = {key: changes[key] for key in ("modality", "input", "constants") if key in changes}
    card = dataclasses.replace(card, **said)
    modality = _modality(card, info, changes)
    changes = {**_described(modality, card, info, changes), **changes}
    layer = changes.get("layer") or card.layer or _first_output(card, info, modality.name)
    graph.check_layers([layer], info)
    part = info.at([layer], card.constants)
    given, of_input = _sorted_out(modality, changes)
    spec = _input(modality, card, part, of_input)
    if not part.others:  # another layer may not need them
        modality.check(spec, part)
    listed = {name: info.layers[name] for name in card.layers_table if name in info.layers}
    at_size = graph.other_size(part, spec) is not None
    tensors = listed or ({layer: info.layers[layer]} if at_size else info.layers)
    told = {name: axis for name, axis in info.channels.items() if len(tensors.get(name, ())) > 1}
    channels = {**told, **card.channels, **given.pop("channels", {})}
    completed = {"modality": modality.name, "input": spec, "layer": layer, "layers_table": tensors}
    card = dataclasses.replace(card, **{**completed, "channels": channels, **given})
    return _at_size(card) if at_size else card


def _modality(card: Card, info: GraphInfo, changes: Mapping[str, Any]) -> modalities.Modality:
    """Return the kind of samples: as the card or the caller says, else by the signs of what the layer needs."""
    if meant := card.modality or modalities.meant(changes):
        return modalities.of(meant)
    layer = changes.get("layer") or card.layer or _first_output(card, info, "")
    graph.check_layers([layer], info)
    return modalities.of(modalities.guess(info.at([layer], card.constants), card.files))


def _first_output(card: Card, info: GraphInfo, meant: str) -> str:
    """Return the first output that is a layer and is computed of one sample, of the kind that is meant if one is.

    Raises
    ------
    CardError
        If there are outputs of several kinds, as a pair of encoders has.
    """
    kinds = _kinds_of_outputs(card, info)
    if info.output in kinds and meant in ("", *kinds[info.output]):
        return info.output
    fitting = [name for name, kind in kinds.items() if meant in ("", *kind)]
    several = {kind for name in fitting for kind in kinds[name]}
    if not meant and len(several) > 1:
        listed = ", ".join(f"{name!r} ({' or '.join(filter(None, kinds[name])) or 'array'})" for name in fitting)
        raise CardError(
            f"The graph has outputs of several kinds of samples: {listed}. Choose one with load_card(FILE, layer="
            f"{fitting[0]!r}), or skltransfer models card FILE --layer {fitting[0]}"
        )
    return fitting[0] if fitting else info.output


def _kinds_of_outputs(card: Card, info: GraphInfo) -> dict[str, list[str]]:
    """Return, for outputs that are layers of one sample, the kinds their inputs look like; one empty for none."""
    kinds = {}
    for name in info.outputs:
        part = info.at([name], card.constants)
        if name in info.layers and all(any(beside in other for beside in cards.BESIDE) for other in part.others):
            kinds[name] = [kind for kind, row in modalities.TABLE.items() if row.signs(part, card.files)] or [""]
    return kinds


def _described(
    modality: modalities.Modality, card: Card, info: GraphInfo, changes: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what the files beside a bare graph say that neither its card nor the caller does; mention it once."""
    if modality.describe is None or card.input is not None:
        return {}
    layer = changes.get("layer") or card.layer
    own = tuple(name for name, kinds in _kinds_of_outputs(card, info).items() if modality.name in kinds)
    info = dataclasses.replace(info, outputs=own or info.outputs, output=(own or info.outputs)[0])
    settled = changes.keys() | ({"pool"} if card.pool != "auto" else set())
    return {name: value for name, value in modality.describe(card, info, layer).items() if name not in settled}


def _mention(card: Card) -> None:
    """Warn once of what was taken of a bare graph with descriptions beside it."""
    if modalities.of(card.modality).describe is not None and card.pool != ASKED:
        how = f", pool={card.pool!r}" if card.pool != "auto" else ""
        how += ", scaled to unit length" if card.normalize else ""
        _warn_once(
            f"{card.name!r} has no card; its embedding is the output {card.layer!r}{how}. To settle it: skltransfer "
            "models card FILE.onnx"
        )


@process.memo(64)
def _warn_once(message: str) -> None:
    warn(message, ModelWarning)


def _at_size(card: Card) -> Card:
    """Infer the layers anew where the input has another height or width than the graph was exported for.

    Golden rows are those of the size before, and figures were measured at it.
    """
    assert card.layer is not None
    at_size = inspection.resized(card, list(dict.fromkeys([*card.layers_table, card.layer])))
    return dataclasses.replace(card, layers_table=at_size.layers, golden={}, measured={})


def _check(changes: Mapping[str, Any]) -> None:
    """Refuse values of a card's fields that cannot be."""
    layer, pool = changes.get("layer"), changes.get("pool", "auto")
    wrong = [f"pool is {pool!r}, not one of {', '.join(POOLS)}"] if pool not in POOLS else []
    wrong += [f"layer is {layer!r}, not the name of one tensor"] if not isinstance(layer, str | None) else []
    wrong += cards.mistakes_of_tables(changes)
    if wrong:
        raise CardError("; ".join(wrong) + ".")


def _plain(value: Any) -> Any:
    """Return numbers of NumPy as Python's, in dictionaries, too."""
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    return value.tolist() if hasattr(value, "tolist") else value


def _check_names(info: GraphInfo, changes: Mapping[str, Any]) -> None:
    """Refuse constants of inputs that the graph has not, and channels of layers that have none to choose from.

    Raises
    ------
    CardError, LayerError
        With the nearest names.
    """
    for name in changes.get("constants", {}):
        if name not in info.inputs:
            raise CardError(f"constants names {name!r}, and the inputs of the graph are {', '.join(info.inputs)}.")
    channels = changes.get("channels", {})
    graph.check_layers(list(channels), info)
    for name in channels:
        if len(info.layers[name]) < 2:
            raise CardError(
                f"channels names the layer {name!r}, which is a row already: all of its numbers are channels."
            )


def _sorted_out(modality: modalities.Modality, changes: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the changes of the card and those of its input, a preset spelled out; refuse what is neither."""
    fields = {field.name for field in dataclasses.fields(modality.spec)}
    of_card = {field.name for field in dataclasses.fields(Card)}
    preset = changes.get("preset")
    given = {**modality.presets.get(preset or "", {}), **changes}
    unknown = given.keys() - fields - of_card - {"preset"}
    if unknown or (preset is not None and preset not in modality.presets):
        raise CardError(
            f"Neither a card nor {modality.name!r} input has {', '.join(sorted(unknown)) or preset!r}; an input has "
            f"{', '.join(sorted(fields))}; presets are {', '.join(modality.presets) or 'none'}."
        )
    own = {key: value for key, value in given.items() if key not in fields | {"modality", "input", "preset"}}
    return own, {key: given[key] for key in given.keys() & fields}


def _input(modality: modalities.Modality, card: Card, info: GraphInfo, given: Mapping[str, Any]) -> InputSpec:
    """Build the input specification, or say what is missing."""
    fields = modality.complete(card, info, given)
    spec = modality.spec(**{key: tuple(v) if isinstance(v, list) else v for key, v in fields.items()})
    if wrong := spec.mistakes():
        raise CardError(f"The input of {card.name!r} cannot be used: {'; '.join(wrong)}.")
    return spec


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
    channels = card.channels.keys() - inspection.inspect_model(dataclasses.replace(card, files=files)).channels.keys()
    bare = dataclasses.replace(
        card,
        files=files,
        golden={},
        layers_table={},
        channels={name: card.channels[name] for name in channels},  # what was answered, not what was read off
        measured=card.measured if same else {},
    )
    return _complete(bare, changes)


def layers_of(model: str | os.PathLike[str] | Card) -> tuple[GraphInfo, Card]:
    """Return what a graph says of its layers, and its card as far as there is one: also where a card cannot be made."""
    card = model if isinstance(model, Card) else _find(os.fspath(model))
    info = inspection.inspect_model(card)
    with suppress(ModelError):  # what is missing is asked for when it is used
        card = load_card(model)
    return info, card


def pooled(info: GraphInfo, card: Card, layer: str) -> tuple[str, str, str]:
    """Return, for people, the columns of a layer once it is pooled, and the axes of channels and of pooling.

    Parameters
    ----------
    info, card : GraphInfo, Card
        From `layers_of`.
    layer : str
        Its name.

    Returns
    -------
    columns, channels, pooled : str
        ``"?"`` where only a run or the user can tell; no axes for a layer that is a row already.
    """
    shape = info.layers[layer]
    if len(shape) < 2:
        return ("1" if not shape else _or_unknown(shape[0])), "", ""
    (channel,) = plan.channels_of(card, [layer], [shape])
    if channel is None or not 0 < channel <= len(shape):
        return "?", "?", "?"
    pool = card.pool if card.pool in ("max", "cls", "last", "gem", "flatten") else "mean"
    axes = tuple(axis for axis in range(1, len(shape) + 1) if axis != channel)
    return _or_unknown(graph.row_shape(shape, pool, axes)[0]), str(channel), ", ".join(map(str, axes))


def _or_unknown(length: int | None) -> str:
    return "?" if length is None else str(length)
