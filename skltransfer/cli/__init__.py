"""The door: arguments to calls, and what they give to text. Nothing is computed here.

A command is a row of a table. Errors made on purpose are one line on stderr and exit status 2; 1 means that what was
asked - may this device run, is this model the recorded one - was found to be no.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from skltransfer import (
    __version__,
    bounds,
    cache,
    cards,
    catalog,
    convert,
    hub,
    registry,
    report,
    runtime,
    samples,
    trial,
    variants,
)
from skltransfer.cards import Card
from skltransfer.cli import _demo
from skltransfer.cli._arguments import Command, Flag, a_cache, a_device, a_graph, a_picture, an_output, numbers
from skltransfer.errors import DeviceError, SklTransferError

#: Golden rows that differ by more are another model, or a machine that computes wrongly; GPUs multiply with fewer bits.
MOST_DRIFT = {"cpu": 1e-3, "cuda": 1e-2, "tensorrt": 1e-2}
LIBRARIES = ("scikit-learn", "onnx", "numpy", "pillow")
DEFAULT_PICTURE = Path("skltransfer-demo.png")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments; those of the process by default.

    Returns
    -------
    int
        Exit status.
    """
    args = make_parser().parse_args(argv)
    try:
        with _warnings_in_one_line():
            status: int = args.run(args)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read our output, `head` perhaps, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        return 130
    except (SklTransferError, OSError) as err:
        print(f"skltransfer: {' '.join(str(err).split())}", file=sys.stderr)
        return 2
    return status


@contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    """Show warnings without the line of code that issued them."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *where: print(f"skltransfer: warning: {message}", file=sys.stderr)
        yield


# ---------------------------------------------------------------------------------------------------------------------
# doctor


def _doctor(args: argparse.Namespace) -> int:
    return _bench(args) if args.bench is not None else _diagnosis(args)


def _bench(args: argparse.Namespace) -> int:
    given = samples.of_path(Path(args.bench)) if args.bench else None
    found = bounds.measure(args.model, args.device or "auto", given)
    what = "made up" if given is None else f"of {args.bench}"
    print(f"{found.samples} samples {what}, {found.model} on {found.device}, {found.workers} threads\n")
    print(report.table(_measured(found), ("", "samples/s", "ms each")))
    share = "" if found.bus is not None else f": {found.share:.0%} of the time"
    print(f"\nWhat bounds it: {found.bound}{share}. What helps:")
    print("\n".join(f"- {tip}" for tip in bounds.knobs(found, catalog.load_card(args.model))))
    return 0


def _measured(found: bounds.Bounds) -> Iterator[tuple[str, str, str]]:
    """Give the rows of the table of a bench."""
    where = "one thread" if found.bus is None else "the device"
    speeds = {
        "prepare: read, decode, resize or make tokens; one thread": found.prepare,
        "prepare, with fast=True": found.fast,
        f"graph, up to {found.batch} at once; {where}": found.graph,
        "transfer to the device": found.bus and found.bus / found.sample_bytes,
        "the whole way, all threads": found.whole,
    }
    return ((name, f"{speed:,.0f}", f"{1000 / speed:.2f}") for name, speed in speeds.items() if speed)


def _diagnosis(args: argparse.Namespace) -> int:
    kind, _, index = (args.device or "cuda").partition(":")
    findings = runtime.diagnose(runtime.Device(kind.replace("auto", "cuda"), int(index) if index.isdigit() else 0))
    versions = [f"{library} {importlib.metadata.version(library)}" for library in LIBRARIES]
    print(f"skltransfer {__version__}, Python {platform.python_version()}, {', '.join(versions)}")
    print(f"Threads this process may use: {runtime.cpu_share()}\n")
    print(report.table((row for finding in findings for row in _rows(finding)), ("looked at", "well", "seen")))
    verdict, status = _verdict(args.device or "auto")
    print(f"\n{verdict}")
    return status


def _rows(finding: runtime.Finding) -> Iterator[tuple[str, str, str]]:
    """Give a row of the diagnosis and, below what is not well, what to type."""
    yield finding.what, "yes" if finding.well else "no", finding.seen
    if finding.mend:
        yield "", "", f"type: {finding.mend}"


def _verdict(device: str) -> tuple[str, int]:
    try:
        return f"device={device!r} runs on {runtime.resolve(device)}.", 0
    except DeviceError as err:
        return str(err), 1


# ---------------------------------------------------------------------------------------------------------------------
# models


def _list(args: argparse.Namespace) -> int:
    header = ("name", "samples", "columns", "licence", "size")
    here = [_summary(catalog.load_card(name)) for name in cards.names()]
    there = [
        (name, entry["modality"], str(entry["columns"]), entry["card"]["licence"], "of the hub")
        for name, entry in registry.table().items()
    ]
    print(report.table([*here, *there], header))
    print("\nThose of the hub are fetched when they are first used, or by: skltransfer models pull NAME")
    return 0


def _summary(card: Card) -> tuple[str, ...]:
    return card.name, card.modality, _columns(card), card.licence or "not stated", _size(card)


def _columns(card: Card, layer: str | None = None) -> str:
    width = catalog.plan(card, runtime.Device(), layer=layer)[1]
    return "?" if width is None else str(width)


def _size(card: Card) -> str:
    return f"{sum(file.bytes or 0 for file in card.files.values()) / 1e6:.1f} MB"


def _show(args: argparse.Namespace) -> int:
    card = catalog.load_card(args.model)
    facts = {
        "name": card.name,
        "description": card.description,
        "samples": card.modality,
        "columns": _columns(card),
        "layer": f"{card.layer} (pool: {card.pool})",
        "licence": card.licence or "not stated",
        "source": card.source or "not stated",
        "revision": card.revision,
        "input": card.to_dict().get("input", {}),
        "files": {file.path: f"{file.bytes or 0:,} bytes, SHA-256 {file.sha256}" for file in card.files.values()},
        "measured": card.measured or "nothing recorded",
        "variants": {name: _flat_figures(found.measured) for name, found in _variants(card)},
        "other layers": f"skltransfer models layers {args.model}",
    }
    print(report.table(_flat(facts)))
    return 0


def _variants(card: Card) -> Iterator[tuple[str, Card]]:
    """Give the variants that were made of a card before."""
    found = ((precision, variants.kept(card, precision)) for precision in variants.MARKS)
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
    shapes = trial.examine(card).layers
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
    made = variants.make_variant(args.model, args.precision, args.samples and samples.of_path(args.samples))
    print(f"Written: {made.folder}\nOf rows of {args.model}: {_flat_figures(made.measured)}")
    print(f"Use it with: PretrainedEmbedder({args.model!r}, precision={args.precision!r})")
    return 0


def _verify(args: argparse.Namespace) -> int:
    card = catalog.load_card(args.model)
    hub.fetch(card)
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
# convert


def _convert(args: argparse.Namespace) -> int:
    folder = convert.convert(args.kind, args.source, args.output, part=args.part)
    print(f"{folder} agrees with the source. Use it with: PretrainedEmbedder({str(folder)!r})")
    return 0


# ---------------------------------------------------------------------------------------------------------------------
# cache


def _cache_info(args: argparse.Namespace) -> int:
    found = cache.info(args.folder)
    print(f"{args.folder}: {found.rows:,} rows, {found.bytes / 2**20:.1f} of at most {found.limit / 2**20:,.0f} MB")
    print(report.table((f"{rows:,}", f"rows of recipe {key}") for key, rows in found.recipes.items()))
    return 0


def _cache_verify(args: argparse.Namespace) -> int:
    found = cache.verify(args.folder)
    print(f"{args.folder}: {found.whole:,} rows are whole, {found.broken:,} were not and have been dropped")
    return int(found.broken > 0)


def _cache_clear(args: argparse.Namespace) -> int:
    print(f"{args.folder}: {cache.clear(args.folder) / 2**20:.1f} MB freed")
    return 0


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
    Flag("--colour", {"choices": cards.COLOURS, "help": "order of the channels (default: RGB)"}),
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
    Flag("--licence", {"metavar": "L", "help": "terms it comes under, such as Apache-2.0"}),
    Flag("--source", {"metavar": "S", "help": "where it comes from"}),
)

DEMO = (
    Flag("folder", {"nargs": "?", "help": "one subfolder of images per class (default: emoji)"}),
    Flag(
        "--model",
        {"default": _demo.DEFAULT_MODEL, "help": f"name, .onnx file or card folder (default: {_demo.DEFAULT_MODEL})"},
    ),
    Flag("--output", {"type": a_picture, "default": DEFAULT_PICTURE, "help": f"default: {DEFAULT_PICTURE}"}),
    Flag(
        "--device", {"type": a_device, "default": "auto", "help": "auto, cpu, cuda, cuda:1, tensorrt (default: auto)"}
    ),
)
DOCTOR = (
    Flag("--device", {"type": a_device, "help": "exit with status 1 if this device cannot run"}),
    Flag(
        "--bench",
        {
            "nargs": "?",
            "const": "",
            "metavar": "PATH",
            "help": "measure what bounds this machine, on samples made up or"
            " those of a folder of images or a file of texts",
        },
    ),
    Flag("--model", {"default": _demo.DEFAULT_MODEL, "help": f"of --bench (default: {_demo.DEFAULT_MODEL})"}),
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
    Flag("precision", {"choices": sorted(variants.MARKS), "help": "fp16: half the file; int8: faster on a CPU"}),
    Flag(
        "--samples",
        {"type": Path, "metavar": "PATH", "help": "a folder of images, lines of text, or a .npy (default: made up)"},
    ),
)
CONVERT = (
    Flag("kind", {"choices": sorted({*convert.SOURCES} - {"module"}), "help": "the library the model comes from"}),
    Flag("source", {"help": "its folder, or its name as that library takes it"}),
    Flag("--part", {"choices": sorted(convert.PARTS), "help": "of a pair of encoders (CLIP), the one to convert"}),
    Flag(
        "--output", {"required": True, "type": Path, "metavar": "FOLDER", "help": "folder to write; it must not exist"}
    ),
)
COMMANDS = (
    Command("demo", "compare embeddings with raw pixels on emoji or on your images", _demo.run, DEMO),
    Command("doctor", "say which device runs here and, if a GPU does not, why", _doctor, DOCTOR),
    Command("convert", "make a card folder of another library's model, if the two agree", _convert, CONVERT),
)
FOLDER = Flag("folder", {"nargs": "?", "type": a_cache, "default": "", "help": "of cache=... (that of cache=True)"})
CACHE_COMMANDS = (
    Command("info", "how many rows it holds, of which recipes, and their size", _cache_info, (FOLDER,)),
    Command("verify", "check every row, and drop what is damaged", _cache_verify, (FOLDER,)),
    Command("clear", "remove all rows, and nothing else in the folder", _cache_clear, (FOLDER,)),
)
MODEL_COMMANDS = (
    Command("list", "the embedded models", _list),
    Command("show", "the card of a model: input, licence, source, figures", _show, (MODEL,)),
    Command("layers", "every tensor of a model that can be taken as an embedding", _layers, (MODEL,)),
    Command("card", "write the card of your own .onnx file", _card, CARD),
    Command("pull", "fetch a model of the hub, or fetch it again", _pull, (ADDRESS,)),
    Command("variant", "make a model of 16 or 8 bits of one, compare the two, and keep it", _variant, VARIANT),
    Command("verify", "compare files and embeddings with what the card recorded", _verify, VERIFY),
)


def make_parser() -> argparse.ArgumentParser:
    """Make the parser out of the tables.

    Returns
    -------
    argparse.ArgumentParser
        Its namespaces hold the function to call as ``run``.
    """
    parser = argparse.ArgumentParser("skltransfer", description="Pretrained ONNX backbones inside scikit-learn.")
    parser.add_argument("--version", action="version", version=f"skltransfer {__version__}")
    groups = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_commands(groups, COMMANDS)
    models = groups.add_parser("models", help="list, look at, describe and verify models")
    _add_commands(models.add_subparsers(required=True, metavar="COMMAND"), MODEL_COMMANDS)
    kept = groups.add_parser("cache", help="look after the folder of rows of `cache=True` or `cache=FOLDER`")
    _add_commands(kept.add_subparsers(required=True, metavar="COMMAND"), CACHE_COMMANDS)
    return parser


def _add_commands(group: Any, commands: Sequence[Command]) -> None:
    for command in commands:
        # Abbreviated options would break when others are added.
        parser = group.add_parser(command.name, help=command.help, description=command.help, allow_abbrev=False)
        parser.set_defaults(run=command.run)
        for flag in command.flags:
            parser.add_argument(flag.flag, **flag.options)


if __name__ == "__main__":
    sys.exit(main())
