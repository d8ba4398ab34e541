"""``skltransfer models``: list, show, fetch, quantize and verify models."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from skltransfer import cards, export
from skltransfer._engine import catalog, golden, hub, plan, quantization, registry, runtime, samples
from skltransfer.cards import Card
from skltransfer.cli import _card
from skltransfer.cli._arguments import Command, device
from skltransfer.cli._output import say, table
from skltransfer.errors import shorten, visible, warn

#: Largest difference of golden rows that is rounding; beyond it the model is another one, or the machine computes
#: wrongly. GPUs multiply with fewer bits.
MAX_DRIFT = {"cpu": 1e-3, "cuda": 1e-2, "tensorrt": 1e-2}


#: Facts of a model in a list, in the order of the columns.
FACTS = ("name", "samples", "columns", "license", "size")
#: A license in a table: what is longer is cut at the first remark.
LICENSE = 14


def _add_list(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print a JSON list, licenses in full")


def _list(args: argparse.Namespace) -> int:
    bundled = [_summary(catalog.load_card(name)) for name in cards.names()]
    remote = [
        (name, entry["modality"], str(entry["columns"]), entry["card"]["license"], "on the hub")
        for name, entry in registry.table().items()
    ]
    found = [dict(zip(FACTS, facts, strict=True)) for facts in (*bundled, *remote)]
    if args.json:
        say(json.dumps(found, indent=1))
        return 0
    say(table(([*{**facts, "license": _cut(facts["license"])}.values()] for facts in found), FACTS))
    say("\nModels on the hub are fetched when they are first used, or with:\nskltransfer models pull NAME")
    return 0


def _cut(text: str) -> str:
    """Return a license without its remarks."""
    return shorten(re.split(r" \(|;", text)[0], LICENSE)


def _summary(card: Card) -> tuple[str, ...]:
    return card.name, card.modality, _columns(card), card.license or "not stated", _size(card)


def _columns(card: Card, layer: str | None = None) -> str:
    shape = plan.make(card, runtime.Device(), layer=layer).shape
    return "?" if shape is None else str(shape[0])


def _size(card: Card) -> str:
    return f"{sum(file.bytes or 0 for file in card.files.values()) / 1e6:.1f} MB"


def _show(args: argparse.Namespace) -> int:
    if export.is_exported(args.model):
        say(table(_flat(export.read_metadata(args.model))))
        return 0
    facts = _remote_facts(args.model) if _is_remote(args.model) else _facts(args.model)
    say(table(_flat(facts)))
    return 0


def _is_remote(model: str) -> bool:
    """Check whether a model is a name of the hub that was never fetched."""
    return model in registry.table() and hub.kept(registry.address(model)) is None


def _remote_facts(model: str) -> dict[str, Any]:
    """Return what is known of a name before its files are fetched."""
    entry = registry.table()[model]
    spec = {
        key: value for key, value in entry["card"].items() if key not in ("description", "layer", "pool", "license")
    }
    layer = "input of its classifier" if entry.get("classifier") else entry["card"]["layer"]
    return {
        "name": model,
        "description": entry["card"]["description"],
        "samples": entry["modality"],
        "columns": entry["columns"],
        "layer": f"{layer} (pool: {entry['card'].get('pool', 'auto')})",
        "license": entry["card"]["license"],
        "source": entry["address"],
        "input": spec,
        "files": "SHA-256 unknown until they are fetched; the first fetch records it",
        "to fetch it": f"skltransfer models pull {model}",
    }


def _facts(model: str) -> dict[str, Any]:
    card = catalog.load_card(model)
    return {
        "name": card.name,
        "description": card.description,
        "samples": card.modality,
        "columns": _columns(card),
        "layer": f"{card.layer} (pool: {card.pool})",
        "license": card.license or "not stated",
        "source": card.source or "not stated",
        "revision": card.revision,
        "input": card.to_dict().get("input", {}),
        "files": {file.path: f"{file.bytes or 0:,} bytes, SHA-256 {file.sha256}" for file in card.files.values()},
        "measured": card.measured or "nothing recorded",
        "quantization": {name: _figures(found.measured) for name, found in _quantized(card)},
        "other layers": f"skltransfer models layers {model}",
    }


def _quantized(card: Card) -> Iterator[tuple[str, Card]]:
    """Return the quantized models of a card that exist, with their precisions."""
    found = ((precision, quantization.find_quantized(card, precision)) for precision in quantization.MIN_COSINE)
    return ((precision, quantized) for precision, quantized in found if quantized is not None)


def _figures(measured: Mapping[str, Any]) -> str:
    """Format what was measured of a quantized model."""
    figures = dict.fromkeys(("cosine", "least_cosine", "speed", "on"), "?") | {**measured}
    return "cosine {cosine} (least {least_cosine}), {speed} times the speed on a CPU, on {on}".format(**figures)


def _flat(facts: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield nested facts with dotted names, without the empty ones."""
    for name, value in facts.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif value != "":
            yield f"{prefix}{name}", ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _layers(args: argparse.Namespace) -> int:
    info, card = catalog.layers_of(args.model)
    rows = [
        (name, _shape(shape), *catalog.pooled(info, card, name), _mark(name, card))
        for name, shape in info.layers.items()
    ]
    say(table(rows, ("layer", "shape", "columns", "channels", "pooled", "")))
    pool = card.pool if card.pool != "auto" else "mean"
    say(
        f"\nColumns are those after pool={pool!r}. Channels lie along that axis, others are pooled; samples are axis 0."
    )
    say(f"Use a layer with PretrainedEmbedder({args.model!r}, layer=...).")
    for name in info.outputs:
        if name in info.refused:
            say(f"The output {visible(name)} cannot be a layer: {info.refused[name]}.")
    return 0


def _shape(shape: Sequence[int | None]) -> str:
    return " x ".join("?" if n is None else str(n) for n in shape) or "1"


def _mark(name: str, card: Card) -> str:
    return "the card's embedding" if name == card.layer else ""


def _pull(args: argparse.Namespace) -> int:
    card = registry.pull(args.address, refresh=True)
    say(f"{visible(card.name)}, commit {visible(card.revision)}, in {visible(card.folder)}")
    say(table((file.path, file.sha256) for file in card.files.values()))
    return 0


def _quantize(args: argparse.Namespace) -> int:
    given = samples.of_path(args.samples) if args.samples else None
    found = quantization.quantize(args.model, args.precision, given)
    say(f"Written: {visible(found.folder)}\nCompared with {visible(args.model)}: {_figures(found.measured)}")
    say(f"Use it with: PretrainedEmbedder({args.model!r}, precision={args.precision!r})")
    return 0


def _variant(args: argparse.Namespace) -> int:
    warn("`models variant` was renamed to `models quantize` and will be removed; type models quantize.", FutureWarning)
    return _quantize(args)


def _verify(args: argparse.Namespace) -> int:
    card = catalog.load_card(args.model)
    hub.verified(card)
    state = {True: "as pinned", False: "not pinned"}
    say(table((file.path, state[file.sha256 is not None], file.sha256 or "") for file in card.files.values()))
    if not card.golden:
        say("The card has no golden rows to compare with.")
        return 0
    where = runtime.resolve(args.device)
    drift, most = golden.drift(card, where), MAX_DRIFT[where.kind]
    say(f"On {where} golden rows differ by {drift:.1e} of the largest number; up to {most:.0e} is rounding.")
    return int(not drift <= most)


def _add_address(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "address", help="a name from `skltransfer models list`, or hf://owner/repo@revision/path/model.onnx"
    )


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="a name from `skltransfer models list`, an .onnx file, a card folder or hf://...")


def _add_quantize(parser: argparse.ArgumentParser) -> None:
    _add_model(parser)
    parser.add_argument(
        "precision", choices=sorted(quantization.MIN_COSINE), help="fp16: half the file; int8: faster on a CPU"
    )
    parser.add_argument(
        "--samples",
        type=Path,
        metavar="PATH",
        help="a folder of images, lines of text, or a .npy file (default: synthetic)",
    )


def _add_verify(parser: argparse.ArgumentParser) -> None:
    _add_model(parser)
    parser.add_argument("--device", type=device, default="auto", help="where to compute golden rows (default: auto)")


QUANTIZE = "convert a model to 16 or 8 bits, compare the two, and keep the result"

COMMANDS = (
    Command("list", "list the bundled models and the names of hub models", _list, _add_list),
    Command("show", "show the card of a model, or what an exported file says of itself", _show, _add_model),
    Command("layers", "list the tensors of a model that can be used as embedding", _layers, _add_model),
    _card.COMMAND,
    Command("pull", "fetch a model of the hub, or fetch it again", _pull, _add_address),
    Command("quantize", QUANTIZE, _quantize, _add_quantize),
    Command("variant", QUANTIZE, _variant, _add_quantize, hidden=True),
    Command("verify", "compare files and embeddings with what the card recorded", _verify, _add_verify),
)
