"""The command line: arguments to calls, and their results to text. Nothing is computed here.

Every command is a row of a table. An error is one line on stderr and exit status 2; ``python -X dev`` shows the
traceback of one that was not raised on purpose. Status 1 means that a check failed: the device cannot run, or the model
is not the recorded one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from skltransfer import __version__
from skltransfer.cli import _cache, _convert, _demo, _detect, _doctor, _export, _finetune, _models, _score
from skltransfer.cli._arguments import Command, add_commands
from skltransfer.cli._output import Parser, complain, drop_output, open_streams, quiet_libraries
from skltransfer.errors import SklTransferError

__all__ = [
    "main",
    "make_parser",
]

COMMANDS = (_demo.COMMAND, _doctor.COMMAND, _convert.COMMAND, _export.COMMAND, _finetune.COMMAND, _score.COMMAND)
#: Groups of commands, each with its help.
GROUPS: dict[str, tuple[str, tuple[Command, ...]]] = {
    "models": ("list, show, describe and verify models", _models.COMMANDS),
    "detect": ("train a detector of objects, detect, and measure", _detect.COMMANDS),
    "cache": ("inspect, check and empty the folder of `cache=True` or `cache=FOLDER`", _cache.COMMANDS),
}

#: What to do about an error that was not raised on purpose.
REPORT = "This is a mistake of skltransfer; report it with what this shows: python -X dev -m skltransfer ..."


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments; by default those of the process.

    Returns
    -------
    int
        Exit status.
    """
    open_streams()
    try:
        with quiet_libraries():
            return _run(argv)
    except BrokenPipeError:  # the reader of our output, such as `head`, has closed it
        drop_output()
        return 141  # 128 + SIGPIPE, as shells report it
    except KeyboardInterrupt:
        return 130  # 128 + SIGINT
    except (SklTransferError, OSError) as err:
        complain(err)
    except Exception as err:  # the last door: whoever typed the command has no use for a traceback
        if sys.flags.dev_mode:
            raise
        complain(f"{type(err).__name__}: {err}. {REPORT}")
    drop_output()
    return 2


def _run(argv: Sequence[str] | None) -> int:
    try:
        args = make_parser().parse_args(argv, argparse.Namespace(argv=argv))
        status: int = args.run(args)
    finally:
        sys.stdout.flush()
    return status


def make_parser() -> argparse.ArgumentParser:
    """Build the parser from the tables.

    Returns
    -------
    argparse.ArgumentParser
        Its namespaces hold the function to call as ``run``.
    """
    parser = Parser("skltransfer", description="Pretrained ONNX backbones inside scikit-learn.")
    parser.add_argument("--version", action="version", version=f"skltransfer {__version__}")
    groups = add_commands(parser, COMMANDS)
    for name, (text, commands) in GROUPS.items():
        add_commands(groups.add_parser(name, help=text, description=text), commands)
    return parser
