"""What `skltransfer demo` says: scores, remarks, and the snippet that goes on from there."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from skltransfer import report
from skltransfer._engine import demo
from skltransfer.errors import MissingDependencyError

DEFAULT_MODEL = "vision-mini"
#: Images that could not be read, of which so many are named.
NAMED = 10
NEXT = """\
from pathlib import Path

from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from skltransfer import PretrainedEmbedder
{load}
embed = PretrainedEmbedder({model})
pipe = Pipeline([("embed", embed), ("clf", LogisticRegression(max_iter=1000))])
pipe.fit({X}, y)
print(pipe.predict({X}[:5]))
"""
LOAD_FOLDER = """
paths = sorted(p for p in Path({folder!r}).glob("*/*") if p.suffix.lower() in {suffixes!r})
y = [p.parent.name for p in paths]
"""
LOAD_EMOJI = """from skltransfer.datasets import load_emoji

images, y = load_emoji(return_X_y=True)
"""


def run(args: argparse.Namespace) -> int:
    result = demo.run(args.folder, model=args.model, device=args.device, tell=_tell)
    print(_scores(result))
    print(_remarks(result))
    print(_picture(result, args.output))
    print("\nWhat to type next, in Python:\n")
    print(textwrap.indent(snippet(args, result.data.samples), "    "))
    if args.folder is None:
        print("On your own images, a subfolder per class:\n\n    skltransfer demo FOLDER")
    return 0


def _tell(text: str) -> None:
    print(f"skltransfer: {text} ...", file=sys.stderr)


def _scores(result: demo.Result) -> str:
    header = ["labels per class", *map(str, result.labels[:-1]), f"{result.labels[-1]} (all)"]
    rows = [
        [curve.name, *(f"{100 * mean:.0f} ± {100 * std:.0f}" for mean, std in zip(curve.mean, curve.std, strict=True))]
        for curve in result.curves
    ]
    splits = demo.FOLDS * demo.REPEATS
    return (
        f"Accuracy on unseen images, %: mean ± standard deviation of {splits} splits\n\n{report.table(rows, header)}\n"
    )


def _remarks(result: demo.Result) -> str:
    used, classes = len(result.data.y), len(result.data.names)
    where = f"{result.model} on {result.device}: {result.images_per_second:.0f} images/s"
    lines = [f"{used} of {result.found} images, {classes} classes; {where}."]
    if result.enough is not None:
        lines.append(f"{result.enough} labels per class with the embedding beat all {result.labels[-1]} without it.")
    lines += [f"Left out, mend or move it: {failure.path}: {failure.reason}" for failure in result.dropped[:NAMED]]
    if len(result.dropped) > NAMED:
        lines.append(f"Left out, too: {len(result.dropped) - NAMED} more.")
    return "\n".join(lines)


def _picture(result: demo.Result, path: Path) -> str:
    try:
        report.learning_curves_and_map(result, path)
    except MissingDependencyError as err:
        return f"No picture: {err}"
    return f"Picture: {path}"


def snippet(args: argparse.Namespace, samples: Sequence[Any]) -> str:
    model = "" if args.model == DEFAULT_MODEL else repr(args.model)
    if args.folder is None:
        return NEXT.partition("\n\n")[2].format(load=LOAD_EMOJI, model=model, X="images")
    suffixes = {Path(path).suffix.lower() for path in samples}
    load = LOAD_FOLDER.format(folder=args.folder, suffixes=tuple(sorted(suffixes)))
    return NEXT.format(load=load, model=model, X="paths")
