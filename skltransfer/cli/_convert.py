"""``skltransfer convert``: a card folder from a model of another library."""

from __future__ import annotations

import argparse
from pathlib import Path

from skltransfer import convert
from skltransfer.cli._arguments import Command
from skltransfer.cli._output import say
from skltransfer.errors import visible


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``skltransfer convert``."""
    kinds = sorted({*convert.SOURCES} - {"module"})
    parser.add_argument("kind", choices=kinds, help="library the model comes from")
    parser.add_argument("source", help="folder of the model, or its name in that library")
    parser.add_argument("--part", choices=sorted(convert.PARTS), help="encoder to convert, of a pair such as CLIP")
    parser.add_argument(
        "--output", required=True, type=Path, metavar="FOLDER", help="folder to write; it must not exist"
    )


def run(args: argparse.Namespace) -> int:
    """Run ``skltransfer convert``."""
    folder = convert.convert(args.kind, args.source, args.output, part=args.part)
    say(f"{visible(folder)} agrees with the source. Use it with: PretrainedEmbedder({str(folder)!r})")
    return 0


COMMAND = Command(
    "convert", "convert a model of another library to a card folder, if their embeddings agree", run, add_arguments
)
