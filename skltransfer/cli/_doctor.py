"""``skltransfer doctor``: which device runs and, if a GPU does not, why; with ``--bench`` what limits the speed."""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
from collections.abc import Iterator
from pathlib import Path

from skltransfer import __version__
from skltransfer._engine import catalog, profile, runtime, samples
from skltransfer.cli._arguments import DEFAULT_MODEL, Command, device
from skltransfer.cli._output import one_line, say, table
from skltransfer.errors import DeviceError, visible

LIBRARIES = ("scikit-learn", "onnx", "numpy", "pillow")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``skltransfer doctor``."""
    parser.add_argument("--device", type=device, help="exit with status 1 if this device cannot run")
    parser.add_argument(
        "--bench",
        nargs="?",
        const="",
        metavar="PATH",
        help="measure what limits the speed of this machine, on synthetic samples or on a folder of images or a file "
        "of texts",
    )
    parser.add_argument("--model", default=DEFAULT_MODEL, help=f"model of --bench (default: {DEFAULT_MODEL})")


def run(args: argparse.Namespace) -> int:
    """Run ``skltransfer doctor``."""
    return _bench(args) if args.bench is not None else _diagnosis(args)


def _bench(args: argparse.Namespace) -> int:
    given = samples.of_path(Path(args.bench)) if args.bench else None
    found = profile.measure(args.model, args.device or "auto", given)
    what = "synthetic samples" if given is None else f"samples of {visible(args.bench)}"
    say(f"{found.samples} {what}, {visible(found.model)} on {found.device}, {found.workers} threads\n")
    say(table(_speeds(found), ("", "samples/s", "ms each")))
    share = "" if found.bus is not None else f", {found.share:.0%} of the time"
    say(f"\nBottleneck: {found.bottleneck}{share}. To speed it up:")
    say("\n".join(f"- {tip}" for tip in profile.advice(found, catalog.load_card(args.model))))
    return 0


def _speeds(found: profile.Profile) -> Iterator[tuple[str, str, str]]:
    """Return the rows of the table of a bench."""
    where = "one thread" if found.bus is None else "the device"
    speeds = {
        "prepare: read, decode, resize or tokenize; one thread": found.prepare,
        "prepare, with draft=True": found.draft,
        f"graph, batches of up to {found.batch_size}; {where}": found.graph,
        "transfer to the device": found.bus and found.bus / found.sample_bytes,
        "end to end, all threads": found.end_to_end,
    }
    return ((name, f"{speed:,.0f}", f"{1000 / speed:.2f}") for name, speed in speeds.items() if speed)


def _diagnosis(args: argparse.Namespace) -> int:
    kind, _, index = (args.device or "cuda").partition(":")
    if args.device in (None, "auto", "cpu") and not runtime.has_gpu():
        findings = runtime.diagnose_cpu()
    else:
        findings = runtime.diagnose(runtime.Device(kind.replace("auto", "cuda"), int(index) if index.isdigit() else 0))
    versions = [f"{library} {importlib.metadata.version(library)}" for library in LIBRARIES]
    say(f"skltransfer {__version__}, Python {platform.python_version()}, {', '.join(versions)}")
    say(f"Threads this process may use: {runtime.cpu_share()}\n")
    say(table((row for finding in findings for row in _rows(finding)), ("checked", "ok", "found")))
    verdict, status = _verdict(args.device or "auto")
    say(f"\n{verdict}")
    return status


def _rows(finding: runtime.Finding) -> Iterator[tuple[str, str, str]]:
    """Yield a row of the diagnosis and, below a problem, the command that fixes it."""
    yield finding.what, "yes" if finding.ok else "no", finding.seen
    if finding.fix:
        yield "", "", f"type: {finding.fix}"


def _verdict(name: str) -> tuple[str, int]:
    try:
        return f"device={name!r} runs on {runtime.resolve(name)}.", 0
    except DeviceError as err:
        return one_line(err), 1


COMMAND = Command("doctor", "check which device runs here and, if a GPU does not, why", run, add_arguments)
