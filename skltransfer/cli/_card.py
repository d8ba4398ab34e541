"""``skltransfer models card``: write the card of an .onnx file."""

from __future__ import annotations

import argparse
import dataclasses
import shlex
from typing import Any

from skltransfer import cards
from skltransfer._engine import catalog, golden
from skltransfer._engine.modalities import image
from skltransfer.cards import Card
from skltransfer.cli._arguments import (
    Command,
    Pairs,
    add_renamed,
    file_name,
    graph_file,
    json_number,
    name,
    numbers,
    output_file,
    pair,
)
from skltransfer.cli._output import say
from skltransfer.errors import visible

#: Options that are fields of the card or of its input, or a preset of several; the others are not passed on.
PARTS: tuple[Any, ...] = (Card, *cards.SPECS.values())
FIELDS = {"preset", *(field.name for part in PARTS for field in dataclasses.fields(part))}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``skltransfer models card``."""
    parser.add_argument("file", type=graph_file, metavar="FILE.onnx")
    _add_samples(parser)
    _add_pixels(parser)
    _add_geometry(parser)
    _add_texts(parser)
    _add_embedding(parser)
    _add_description(parser)
    add = parser.add_argument
    add("--external", action="append", default=[], type=file_name, metavar="NAME", help="a file of weights beside it")
    add("--output", type=output_file, metavar="PATH", help="default: FILE.card.json")


def _add_samples(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--modality", choices=sorted(cards.SPECS), help="kind of sample, where the graph does not make it clear")
    add("--layout", choices=cards.LAYOUTS, help="axes of the input, where the graph does not make it clear")
    add("--dtype", choices=cards.DTYPES, help="type of numbers (default: that of the graph)")
    add("--constant", dest="constants", action=Pairs, type=pair(json_number), metavar="NAME=VALUE", help=CONSTANT)


PROMPT = "what is put before a text for a purpose, such as query='query: '; may be given several times"
CONSTANT = "value of an input that is the same for every sample; may be given several times"
CHANNELS = "axis of a layer's channels, that of the samples being 0; may be given several times"


def _add_pixels(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--preset", choices=sorted(image.PRESETS), help="sets --range, --mean and --std, as in training")
    add("--range", type=float, metavar="R", help="value of a white pixel before mean and std: 1 or 255")
    add(
        "--mean",
        type=numbers(float, 3, 1),
        metavar="A,B,C",
        help="per channel, in units of --range; one of gray images",
    )
    add(
        "--std", type=numbers(float, 3, 1), metavar="A,B,C", help="per channel, in units of --range; one of gray images"
    )
    add("--color", choices=cards.COLORS, help="order of the channels, or L for gray (default: RGB)")
    add("--max-pixels", type=int, metavar="N", help="larger images are refused (default: 50,000,000)")
    add("--draft", action=argparse.BooleanOptionalAction, help="let the JPEG decoder scale down: faster, other pixels")
    add_renamed(parser, "--colour", "--color", choices=cards.COLORS)


def _add_geometry(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--size", type=numbers(int, 2), metavar="H,W", help="if the graph leaves it open")
    add("--resize", choices=cards.RESIZES, help="scale the shorter side and crop, or squash (default: shorter)")
    add("--resize-to", type=int, metavar="N", help="shorter side before the crop (default: 8/7 of the size)")
    add("--interpolation", choices=cards.INTERPOLATIONS, help="filter of the resize (default: bilinear)")
    add("--rounding", choices=cards.ROUNDINGS, help="fractions of a pixel, as that library rounds them")


def _add_texts(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--max-length", type=int, metavar="N", help="tokens of a text that the graph takes (default: 256)")
    add("--truncation", choices=("right", "left"), help="side of a longer text that is cut off (default: right)")
    add("--long-text", choices=cards.LONG_TEXTS, help="cut longer texts, or average their windows (default: truncate)")
    add("--prefix", metavar="TEXT", help="put before every text, as in training")
    add("--max-chars", type=int, metavar="N", help="characters of a text that are looked at (default: 1,000,000)")
    add("--pad", type=int, metavar="ID", help="token that fills up shorter texts (default: 0)")
    add("--lowercase", action=argparse.BooleanOptionalAction, help="turn texts to lower case, as in training")
    add("--prompt", dest="prompts", action=Pairs, type=pair(str), metavar="NAME=TEXT", help=PROMPT)
    add("--fill", action=argparse.BooleanOptionalAction, help="fill every text up to --max-length, and mask nothing")


def _add_embedding(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--layer", type=name, metavar="L", help="tensor that holds the embedding (default: the first output)")
    add("--pool", choices=cards.POOLS, help="how a feature map becomes a row (default: its mean)")
    add("--normalize", action=argparse.BooleanOptionalAction, help="scale the embedding to unit length")
    add("--channels", action=Pairs, type=pair(int), metavar="LAYER=AXIS", help=CHANNELS)


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
