"""``skltransfer models``: what there is, what it is, and whether it is still the same."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from skltransfer import cards, report
from skltransfer._engine import catalog, hub, inspection, quantization, registry, runtime, samples
from skltransfer.cards import Card
from skltransfer.cli._arguments import Command, Flag, a_device, a_graph, an_output, numbers

#: Golden rows that differ by more are another model, or a machine that computes wrongly; GPUs multiply with fewer bits.
MOST_DRIFT = {"cpu": 1e-3, "cuda": 1e-2, "tensorrt": 1e-2}


def _list(args: argparse.Namespace) -> int:
    header = ("name", "samples", "columns", "license", "size")
    here = [_summary(catalog.load_card(name)) for name in cards.names()]
    there = [
        (name, entry["modality"], str(entry["columns"]), entry["card"]["license"], "of the hub")
        for name, entry in registry.table().items()
    ]
    print(report.table([*here, *there], header))
    print("\nThose of the hub are fetched when they are first used, or by: skltransfer models pull NAME")
    return 0


def _summary(card: Card) -> tuple[str, ...]:
    return card.name, card.modality, _columns(card), card.license or "not stated", _size(card)


def _columns(card: Card, layer: str | None = None) -> str:
    width = catalog.plan(card, runtime.Device(), layer=layer)[1]
    return "?" if width is None else str(width)


def _size(card: Card) -> str:
    return f"{sum(file.bytes or 0 for file in card.files.values()) / 1e6:.1f} MB"


def _show(args: argparse.Namespace) -> int:
    facts = _facts_of_name(args.model) if _is_elsewhere(args.model) else _facts(args.model)
    print(report.table(_flat(facts)))
    return 0


def _is_elsewhere(model: str) -> bool:
    """Tell whether a model is a name of the hub that was never fetched."""
    return model in registry.table() and hub.kept(registry.address(model)) is None


def _facts_of_name(model: str) -> dict[str, Any]:
    """Give what is known of a name before its files are here."""
    entry = registry.table()[model]
    spec = {
        key: value for key, value in entry["card"].items() if key not in ("description", "layer", "pool", "license")
    }
    layer = "what goes into its classifier" if entry.get("classifier") else entry["card"]["layer"]
    return {
        "name": model,
        "description": entry["card"]["description"],
        "samples": entry["modality"],
        "columns": entry["columns"],
        "layer": f"{layer} (pool: {entry['card'].get('pool', 'auto')})",
        "license": entry["card"]["license"],
        "source": entry["address"],
        "input": spec,
        "files": "SHA-256 not known before they are fetched; the first fetch records it",
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
        "variants": {name: _flat_figures(found.measured) for name, found in _variants(card)},
        "other layers": f"skltransfer models layers {model}",
    }


def _variants(card: Card) -> Iterator[tuple[str, Card]]:
    """Give the variants that were made of a card before."""
    found = ((precision, quantization.kept(card, precision)) for precision in quantization.MIN_COSINE)
    return ((precision, variant) for precision, variant in found if variant is not None)


def _flat_figures(measured: Mapping[str, Any]) -> str:
    """Say in one line what was measured of a variant."""
    return "cosine {cosine} (least {least_cosine}), {speed} times the speed on a CPU, on {on}".format(**measured)


def _flat(facts: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Walk through nested facts, leaving out the empty ones."""
    for name, value in facts.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif value != "":
            yield f"{prefix}{name}", ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _layers(args: argparse.Namespace) -> int:
    card = catalog.load_card(args.model)
    shapes = inspection.inspect_model(card).layers
    rows = [(name, _shape(shape), _columns(card, name), _mark(name, card)) for name, shape in shapes.items()]
    print(report.table(rows, ("layer", "shape", "columns", "")))
    pool = card.pool if card.pool != "auto" else "mean"
    print(f"\nColumns are those after pool={pool!r}. Take one with PretrainedEmbedder({args.model!r}, layer=...).")
    return 0


def _shape(shape: Sequence[int | None]) -> str:
    return " x ".join("?" if n is None else str(n) for n in shape) or "1"


def _mark(name: str, card: Card) -> str:
    return "the card's embedding" if name == card.layer else ""


def _card(args: argparse.Namespace) -> int:
    changes = {flag.name: value for flag in CHANGES if (value := getattr(args, flag.name)) is not None}
    card = catalog.renew_card(args.file, args.external, **changes)
    written = catalog.write_card(card, args.output)
    print(f"Written: {written}")
    print(f"Use it with PretrainedEmbedder({str(args.file)!r}), look at it with: skltransfer models show {args.file}")
    if written.resolve().parent != args.file.resolve().parent:
        names = " and ".join(file.path for file in card.files.values())
        print(f"Copy {names} into {str(written.parent)!r}: a card names files beside itself.")
    return 0


def _pull(args: argparse.Namespace) -> int:
    card = registry.pull(args.address, refresh=True)
    print(f"{card.name}, commit {card.revision}, in {card.folder}")
    print(report.table((file.path, file.sha256) for file in card.files.values()))
    return 0


def _variant(args: argparse.Namespace) -> int:
    made = quantization.quantize(args.model, args.precision, args.samples and samples.of_path(args.samples))
    print(f"Written: {made.folder}\nOf rows of {args.model}: {_flat_figures(made.measured)}")
    print(f"Use it with: PretrainedEmbedder({args.model!r}, precision={args.precision!r})")
    return 0


def _verify(args: argparse.Namespace) -> int:
    card = catalog.load_card(args.model)
    hub.verified(card)
    state = {True: "as pinned", False: "not pinned"}
    print(report.table((file.path, state[file.sha256 is not None], file.sha256 or "") for file in card.files.values()))
    if not card.golden:
        print("The card holds no golden rows to compare with.")
        return 0
    device = runtime.resolve(args.device)
    drift, most = catalog.drift(card, device), MOST_DRIFT[device.kind]
    print(f"On {device} golden rows differ by {drift:.1e} of the largest number; up to {most:.0e} is rounding.")
    return int(not drift <= most)


# ---------------------------------------------------------------------------------------------------------------------
# Tables

ADDRESS = Flag(
    "address", {"help": "a name from `skltransfer models list`, or hf://owner/repo@revision/path/model.onnx"}
)
MODEL = Flag("model", {"help": "a name from `skltransfer models list`, an .onnx file, a card folder or hf://..."})

#: What `models card` may say of a model: fields of the card and of its input.
CHANGES = (
    Flag("--preset", {"choices": sorted(catalog.PRESETS), "help": "sets --range, --mean and --std, as training did"}),
    Flag("--range", {"type": float, "metavar": "R", "help": "value of a white pixel before mean and std: 1 or 255"}),
    Flag("--mean", {"type": numbers(float, 3), "metavar": "A,B,C", "help": "per channel, in units of --range"}),
    Flag("--std", {"type": numbers(float, 3), "metavar": "A,B,C", "help": "per channel, in units of --range"}),
    Flag("--color", {"choices": cards.COLORS, "help": "order of the channels (default: RGB)"}),
    Flag("--size", {"type": numbers(int, 2), "metavar": "H,W", "help": "if the graph leaves it open"}),
    Flag(
        "--resize", {"choices": cards.RESIZES, "help": "scale the shorter side and crop, or squash (default: shorter)"}
    ),
    Flag(
        "--resize-to", {"type": int, "metavar": "N", "help": "shorter side before the crop (default: 8/7 of the size)"}
    ),
    Flag("--interpolation", {"choices": cards.INTERPOLATIONS, "help": "filter that scales (default: bilinear)"}),
    Flag("--layer", {"metavar": "L", "help": "tensor that holds the embedding (default: the first output)"}),
    Flag("--pool", {"choices": cards.POOLS, "help": "how a feature map becomes a row (default: its mean)"}),
    Flag("--name", {"metavar": "N", "help": "short name (default: that of the file)"}),
    Flag("--description", {"metavar": "TEXT", "help": "what the model is"}),
    Flag("--license", {"metavar": "L", "help": "terms it comes under, such as Apache-2.0"}),
    Flag("--source", {"metavar": "S", "help": "where it comes from"}),
)

CARD = (
    Flag("file", {"type": a_graph, "metavar": "FILE.onnx"}),
    *CHANGES,
    Flag("--external", {"action": "append", "default": [], "metavar": "NAME", "help": "a file of weights beside it"}),
    Flag("--output", {"type": an_output, "metavar": "PATH", "help": "default: FILE.card.json"}),
)

VERIFY = (
    MODEL,
    Flag("--device", {"type": a_device, "default": "auto", "help": "where to compute golden rows (default: auto)"}),
)
VARIANT = (
    MODEL,
    Flag(
        "precision", {"choices": sorted(quantization.MIN_COSINE), "help": "fp16: half the file; int8: faster on a CPU"}
    ),
    Flag(
        "--samples",
        {"type": Path, "metavar": "PATH", "help": "a folder of images, lines of text, or a .npy (default: made up)"},
    ),
)

COMMANDS = (
    Command("list", "the embedded models", _list),
    Command("show", "the card of a model: input, license, source, figures", _show, (MODEL,)),
    Command("layers", "every tensor of a model that can be taken as an embedding", _layers, (MODEL,)),
    Command("card", "write the card of your own .onnx file", _card, CARD),
    Command("pull", "fetch a model of the hub, or fetch it again", _pull, (ADDRESS,)),
    Command("variant", "make a model of 16 or 8 bits of one, compare the two, and keep it", _variant, VARIANT),
    Command("verify", "compare files and embeddings with what the card recorded", _verify, VERIFY),
)
