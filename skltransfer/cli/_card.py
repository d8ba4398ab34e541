"""``skltransfer models card``: write the card of an .onnx file."""

from __future__ import annotations

import argparse
import dataclasses
import shlex

from skltransfer import cards
from skltransfer._engine import catalog, golden
from skltransfer._engine.modalities import image
from skltransfer.cards import Card, ImageSpec
from skltransfer.cli._arguments import Command, add_renamed, file_name, graph_file, name, numbers, output_file
from skltransfer.cli._output import say
from skltransfer.errors import visible

#: Options that are fields of the card or of its input, or a preset of several; the others are not passed on.
FIELDS = {"preset", *(field.name for part in (Card, ImageSpec) for field in dataclasses.fields(part))}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``skltransfer models card``."""
    parser.add_argument("file", type=graph_file, metavar="FILE.onnx")
    _add_pixels(parser)
    _add_geometry(parser)
    _add_embedding(parser)
    _add_description(parser)
    add = parser.add_argument
    add("--external", action="append", default=[], type=file_name, metavar="NAME", help="a file of weights beside it")
    add("--output", type=output_file, metavar="PATH", help="default: FILE.card.json")


def _add_pixels(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--preset", choices=sorted(image.PRESETS), help="sets --range, --mean and --std, as in training")
    add("--range", type=float, metavar="R", help="value of a white pixel before mean and std: 1 or 255")
    add("--mean", type=numbers(float, 3), metavar="A,B,C", help="per channel, in units of --range")
    add("--std", type=numbers(float, 3), metavar="A,B,C", help="per channel, in units of --range")
    add("--color", choices=cards.COLORS, help="order of the channels (default: RGB)")
    add_renamed(parser, "--colour", "--color", choices=cards.COLORS)


def _add_geometry(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--size", type=numbers(int, 2), metavar="H,W", help="if the graph leaves it open")
    add("--resize", choices=cards.RESIZES, help="scale the shorter side and crop, or squash (default: shorter)")
    add("--resize-to", type=int, metavar="N", help="shorter side before the crop (default: 8/7 of the size)")
    add("--interpolation", choices=cards.INTERPOLATIONS, help="filter of the resize (default: bilinear)")


def _add_embedding(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--layer", type=name, metavar="L", help="tensor that holds the embedding (default: the first output)")
    add("--pool", choices=cards.POOLS, help="how a feature map becomes a row (default: its mean)")


def _add_description(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--name", type=name, metavar="N", help="short name (default: that of the file)")
    add("--description", metavar="TEXT", help="one line about the model")
    add("--license", metavar="L", help="such as Apache-2.0")
    add_renamed(parser, "--licence", "--license")
    add("--source", metavar="S", help="where the model comes from")


def run(args: argparse.Namespace) -> int:
    """Run ``skltransfer models card``."""
    changes = {name: value for name, value in vars(args).items() if name in FIELDS and value is not None}
    card = catalog.renew_card(args.file, args.external, **changes)
    written = golden.write_card(card, args.output)
    say(f"Written: {visible(written)}")
    show = f"skltransfer models show {shlex.quote(str(args.file))}"
    say(f"Use it with PretrainedEmbedder({str(args.file)!r}), show it with: {show}")
    if written.resolve().parent != args.file.resolve().parent:
        names = " and ".join(file.path for file in card.files.values())
        say(f"Copy {names} into {str(written.parent)!r}: a card names files beside itself.")
    return 0


COMMAND = Command("card", "write the card of your own .onnx file", run, add_arguments)
