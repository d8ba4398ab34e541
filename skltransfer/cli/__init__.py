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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from skltransfer import __version__, convert, report
from skltransfer._engine import cache, catalog, profile, runtime, samples
from skltransfer.cli import _demo, _models
from skltransfer.cli._arguments import Command, Flag, a_cache, a_device, a_picture
from skltransfer.errors import DeviceError, SklTransferError

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
    found = profile.measure(args.model, args.device or "auto", given)
    what = "made up" if given is None else f"of {args.bench}"
    print(f"{found.samples} samples {what}, {found.model} on {found.device}, {found.workers} threads\n")
    print(report.table(_measured(found), ("", "samples/s", "ms each")))
    share = "" if found.bus is not None else f": {found.share:.0%} of the time"
    print(f"\nWhat bounds it: {found.bound}{share}. What helps:")
    print("\n".join(f"- {tip}" for tip in profile.advice(found, catalog.load_card(args.model))))
    return 0


def _measured(found: profile.Bounds) -> Iterator[tuple[str, str, str]]:
    """Give the rows of the table of a bench."""
    where = "one thread" if found.bus is None else "the device"
    speeds = {
        "prepare: read, decode, resize or make tokens; one thread": found.prepare,
        "prepare, with draft=True": found.draft,
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
    yield finding.what, "yes" if finding.ok else "no", finding.seen
    if finding.fix:
        yield "", "", f"type: {finding.fix}"


def _verdict(device: str) -> tuple[str, int]:
    try:
        return f"device={device!r} runs on {runtime.resolve(device)}.", 0
    except DeviceError as err:
        return str(err), 1


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
    print(f"{args.folder}: {found.intact:,} rows are intact, {found.broken:,} were not and have been dropped")
    return int(found.broken > 0)


def _cache_clear(args: argparse.Namespace) -> int:
    print(f"{args.folder}: {cache.clear(args.folder) / 2**20:.1f} MB freed")
    return 0


# ---------------------------------------------------------------------------------------------------------------------
# Tables

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
    _add_commands(models.add_subparsers(required=True, metavar="COMMAND"), _models.COMMANDS)
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
