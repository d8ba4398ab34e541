"""``skltransfer export``: a fitted pipeline as one ONNX file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import skltransfer
from skltransfer import export
from skltransfer._engine import samples
from skltransfer.cli._arguments import Command, output_file
from skltransfer.cli._output import say
from skltransfer.errors import need, visible

#: Readers of tables of several columns.
TABLES = {".csv": "read_csv", ".parquet": "read_parquet"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``skltransfer export``."""
    add = parser.add_argument
    add("pipeline", type=Path, metavar="PIPELINE", help="a fitted pipeline: a .skops file, or a pickle of yours")
    add(
        "--samples",
        required=True,
        type=Path,
        metavar="PATH",
        help="200 or more: a folder of images, lines of text, a .npy file, or a .csv or .parquet table",
    )
    add("--output", required=True, type=output_file, metavar="FILE.onnx", help="file to write")
    add("--level", choices=export.LEVELS, default="tensors", help="what the file takes (default: tensors)")
    add("--labels", choices=export.LABELS, default="index", help="what labels are (default: index)")
    add("--opset", type=int, default=17, metavar="N", help="version of ONNX's operators (default: 17)")
    add("--pure", action="store_true", help="refuse operators of ai.onnx.ml")
    add("--accept", choices=export.ACCEPTED, help="what --level bytes asks for where samples are images")
    add("--triton", type=Path, metavar="DIR", help="also put it into this model repository of Triton")
    add("--trust-pickle", action="store_true", help="load a pickle, which runs the code it holds")


def run(args: argparse.Namespace) -> int:
    """Run ``skltransfer export``."""
    pipeline = export.load_pipeline(args.pipeline, skltransfer.TRUSTED, pickles=args.trust_pickle)
    choices = {name: getattr(args, name) for name in ("level", "labels", "opset", "pure", "accept")}
    done = export.to_onnx(pipeline, args.output, samples=_samples(args.samples), **choices)
    say(visible(done, keep="\n"))
    if args.triton is not None:
        say(f"for Triton: {visible(export.write_triton(done.path, args.triton))}")
    return 0


def _samples(path: Path) -> Any:
    reader = TABLES.get(path.suffix.lower())
    return samples.of_path(path) if reader is None else getattr(need("pandas", extra="compare"), reader)(path)


COMMAND = Command("export", "write a fitted pipeline as one ONNX file, if the file agrees with it", run, add_arguments)
