"""``skltransfer demo``: scores of embeddings and of raw pixels, a picture, and a snippet to continue with."""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path

from skltransfer import report
from skltransfer._engine import demo
from skltransfer.cli._arguments import DEFAULT_MODEL, Command, device, picture_file
from skltransfer.cli._output import complain, one_line, say, table
from skltransfer.errors import MissingDependencyError, visible

DEFAULT_PICTURE = Path("skltransfer-demo.png")
#: Number of unreadable images that are named; the others are counted.
MAX_NAMED = 10
NEXT = """\
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from skltransfer import PretrainedEmbedder
{load}
embed = PretrainedEmbedder({model})
pipe = Pipeline([("embed", embed), ("clf", LogisticRegression(max_iter=1000))])
pipe.fit({X}, y)
print(pipe.predict({X}[:5]))
"""
LOAD_FOLDER = """from skltransfer.datasets import load_folder

data = load_folder({folder!r})
paths, y = data.paths, [data.target_names[i] for i in data.target]
"""
LOAD_EMOJI = """from skltransfer.datasets import load_emoji

images, y = load_emoji(return_X_y=True)
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``skltransfer demo``."""
    add = parser.add_argument
    add("folder", nargs="?", help="one subfolder of images per class (default: emoji)")
    add("--model", default=DEFAULT_MODEL, help=f"name, .onnx file or card folder (default: {DEFAULT_MODEL})")
    add("--output", type=picture_file, default=DEFAULT_PICTURE, help=f"default: {DEFAULT_PICTURE}")
    add("--device", type=device, default="auto", help="auto, cpu, cuda, cuda:1, tensorrt (default: auto)")


def run(args: argparse.Namespace) -> int:
    """Run ``skltransfer demo``."""
    result = demo.run(args.folder, model=args.model, device=args.device, log=_log)
    say(_scores(result))
    say(_remarks(result))
    say(_picture(result, args.output))
    say("\nNext, in Python:\n")
    say(textwrap.indent(snippet(args), "    "))
    if args.folder is None:
        say("With your own images, one subfolder per class:\n\n    skltransfer demo FOLDER")
    return 0


def _log(text: str) -> None:
    complain(f"{text} ...")


def _scores(result: demo.Result) -> str:
    header = ["labels per class", *map(str, result.labels[:-1]), f"{result.labels[-1]} (all)"]
    rows = [
        [curve.name, *(f"{100 * mean:.0f} ± {100 * std:.0f}" for mean, std in zip(curve.mean, curve.std, strict=True))]
        for curve in result.curves
    ]
    splits = demo.FOLDS * demo.REPEATS
    return f"Accuracy on unseen images, %: mean ± standard deviation of {splits} splits\n\n{table(rows, header)}\n"


def _remarks(result: demo.Result) -> str:
    used, classes = len(result.data.y), len(result.data.names)
    where = f"{visible(result.model)} on {result.device}: {result.images_per_second:.0f} images/s"
    lines = [f"{used} of {result.found} images, {classes} classes; {where}."]
    if result.enough is not None:
        lines.append(f"{result.enough} labels per class with the embedding beat all {result.labels[-1]} without it.")
    named = result.dropped[:MAX_NAMED]
    lines += [one_line(f"Skipped, fix or remove it: {failure.path}: {failure.reason}") for failure in named]
    if len(result.dropped) > MAX_NAMED:
        lines.append(f"Skipped as well: {len(result.dropped) - MAX_NAMED} more.")
    return "\n".join(lines)


def _picture(result: demo.Result, path: Path) -> str:
    try:
        report.learning_curves_and_map(result, path)
    except MissingDependencyError as err:
        return f"No picture: {one_line(err)}"
    return f"Picture: {visible(path)}"


def snippet(args: argparse.Namespace) -> str:
    """Return a script that trains a classifier on the same images."""
    model = "" if args.model == DEFAULT_MODEL else repr(args.model)
    if args.folder is None:
        return NEXT.format(load=LOAD_EMOJI, model=model, X="images")
    return NEXT.format(load=LOAD_FOLDER.format(folder=args.folder), model=model, X="paths")


COMMAND = Command("demo", "compare embeddings with raw pixels on emoji or on your images", run, add_arguments)
