"""``skltransfer finetune``: the last blocks of a backbone, trained on labeled samples, as a card folder."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from skltransfer import PretrainedEmbedder, datasets, load_card
from skltransfer.cli._arguments import DEFAULT_MODEL, Command
from skltransfer.cli._output import say
from skltransfer.errors import TableError, visible
from skltransfer.finetune import FineTunedEmbedder

#: Options of the command line that are parameters of `FineTunedEmbedder`.
CHOICES = ("blocks", "cut", "objective", "views", "epochs", "learning_rate", "average", "adapter", "device", "n_jobs")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``skltransfer finetune``."""
    add = parser.add_argument
    add("samples", type=Path, metavar="FOLDER|CSV", help="a folder of images for each class, or a table")
    add("--output", required=True, type=Path, metavar="CARD", help="folder to write; it must not exist")
    add("--model", default=DEFAULT_MODEL, help=f"name, .onnx file or card folder (default: {DEFAULT_MODEL})")
    add("--column", help="of a table: the column of samples")
    add("--target", help="of a table: the column of labels")
    add("--root", type=Path, help="of a table: the folder its paths begin at (default: that of the table)")
    add("--blocks", type=int, help="blocks that are trained, counted from the rows (default: 2)")
    add("--cut", help="tensor behind which all is trained, in place of --blocks")
    add("--objective", help="auto, classes, numbers, labels or contrast (default: auto)")
    add("--views", type=int, help="views of an image (default: 8, of more than 2,500 images 2)")
    add("--epochs", type=int, help="passes over the samples (default: 3 to 12, by their number)")
    add("--learning-rate", type=float, help="its peak (default: as the card says, else 0.0001)")
    add("--average", type=float, help="share of the weights as they were (default: 0)")
    add("--adapter", choices=["lora"], help="train factors of rank 8 in place of matrices")
    add("--device", help="where PyTorch trains (default: cpu)")
    add("--n-jobs", type=int, help="threads of PyTorch (default: 1)")


def run(args: argparse.Namespace) -> int:
    """Run ``skltransfer finetune``."""
    X, y = _read(args)
    choices = {name: getattr(args, name) for name in CHOICES if getattr(args, name) is not None}
    fitted = FineTunedEmbedder(PretrainedEmbedder(args.model), **choices).fit(X, y)
    fitted.save(args.output)
    say(
        f"{fitted.n_trained_:,} numbers behind {visible(fitted.cut_)} were trained on {len(X):,} samples for "
        f"{fitted.objective_}: PretrainedEmbedder({visible(repr(str(args.output)))})"
    )
    return 0


def _read(args: argparse.Namespace) -> tuple[Any, Any]:
    if args.samples.is_dir():
        data: Any = datasets.load_folder(args.samples)
        return data.paths, data.target
    if args.column is None or args.target is None:
        raise TableError(f"{str(args.samples)!r} is a table; say which columns: --column NAME --target NAME")
    data = datasets.load_table(args.samples, column=args.column, target=args.target, root=args.root)
    spec = load_card(args.model).input
    has_length = spec is not None and spec.longest is not None  # texts, which are in the table themselves
    return data.columns[args.column] if has_length else data.paths, data.target


COMMAND = Command("finetune", "train the last blocks of a backbone on labeled samples", run, add_arguments)
