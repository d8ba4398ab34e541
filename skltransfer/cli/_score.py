"""``skltransfer score``: a fitted pipeline over millions of rows."""

from __future__ import annotations

import argparse
import sys

from skltransfer import scoring
from skltransfer.cli._arguments import Command
from skltransfer.cli._output import complain, say
from skltransfer.errors import UnfinishedError, visible

#: Exit status: rows without a result; parts that are missing.
SOME_FAILED, MISSING = 1, 3


def rows(text: str) -> int | str:
    """Read a number of rows, or ``auto``."""
    if text == "auto" or (text.isdecimal() and int(text) > 0):
        return text if text == "auto" else int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not 'auto' or a number from 1")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``skltransfer score``."""
    add = parser.add_argument
    add("pipeline", help="file of a fitted pipeline: .skops, or a pickle, which runs code of whoever wrote it")
    add("input", help="file, pattern, folder or address of the rows")
    add("--output", required=True, metavar="FOLDER", help="folder or address for the parts")
    add("--column", action="append", help="column of the samples; several times for a frame; in archives a suffix")
    add("--id", help="column that names the rows")
    add("--root", metavar="FOLDER", help="folder of relative paths")
    add("--result", action="append", metavar="NAME", help="prediction, probability or score; by default all there are")
    add("--embeddings", choices=("float16", "float32"), help="write embeddings, too")
    add("--format", choices=[*scoring.FORMATS], default="parquet", help="of the parts")
    add("--rows-per-part", type=rows, default="auto", metavar="N", help="most rows of a part")
    add("--n-jobs", type=int, metavar="N", help="threads in each process")
    add("--compact", action="store_true", help="merge the parts into larger ones at the end")
    add("--engine", choices=scoring.ENGINES, help="where the parts are made, instead of this process")
    add("--scheduler", metavar="ADDRESS", help="of Dask or Ray, such as tcp://127.0.0.1:8786")
    add("--workers", type=int, metavar="N", help="processes of the engine")
    add("--no-resume", dest="resume", action="store_false", help="refuse a folder that holds a job")
    add("--quiet", dest="progress", action="store_false", help="show no progress bar")
    add("--here", action="store_true", help=argparse.SUPPRESS)  # the child that scores


def run(args: argparse.Namespace) -> int:
    """Run ``skltransfer score``: this process watches over the one that scores."""
    if not args.here and not scoring.is_finished(args.output):
        status = scoring.supervise([*_typed(args), "--here"], args.output)
        if status > 128:
            _say_interrupted(args)
        return status
    if args.here:
        scoring.end_with_parent()
    scoring.end_on_sigterm()
    try:
        with scoring.opened(args.engine, args.scheduler, args.workers):
            scored = _scored(args)
    except UnfinishedError as err:
        complain(err)
        return MISSING
    except (KeyboardInterrupt, SystemExit):
        if not args.here:  # else the process above says it, also where this one has no time to
            _say_interrupted(args)
        raise
    parts = scoring.compact(args.output) if args.compact else scored.parts
    say(f"{scored.rows:,} rows, {scored.failed:,} failed, {parts:,} parts in {visible(args.output)}")
    return SOME_FAILED if scored.failed else 0


def _say_interrupted(args: argparse.Namespace) -> None:
    complain(f"interrupted; the parts in {args.output} are whole. Run the same again to go on.")


def _typed(args: argparse.Namespace) -> list[str]:
    """Return the arguments of this command as they were typed."""
    return args.argv if args.argv is not None else sys.argv[1:]


def _scored(args: argparse.Namespace) -> scoring.Scored:
    column = args.column[0] if args.column and len(args.column) == 1 else args.column
    return scoring.score(
        args.pipeline,
        args.input,
        args.output,
        column=column,
        id=args.id,
        root=args.root,
        output=args.result or "auto",
        embeddings=args.embeddings,
        format=args.format,
        rows_per_part=args.rows_per_part,
        resume=args.resume,
        n_jobs=args.n_jobs,
        progress=args.progress,
    )


COMMAND = Command("score", "score any number of rows with a fitted pipeline, in parts, and resume", run, add_arguments)
