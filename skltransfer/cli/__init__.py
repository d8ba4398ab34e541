"""The command line: arguments to calls, and their results to text. Nothing is computed here.

Every command is a row of a table. An error raised on purpose is one line on stderr and exit status 2. Status 1 means
that a check failed: the device cannot run, or the model is not the recorded one.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from skltransfer import __version__
from skltransfer.cli import _cache, _convert, _demo, _doctor, _models
from skltransfer.cli._arguments import Command, add_commands
from skltransfer.errors import SklTransferError

__all__ = [
    "main",
    "make_parser",
]

COMMANDS = (_demo.COMMAND, _doctor.COMMAND, _convert.COMMAND)
#: Groups of commands, each with its help.
GROUPS: dict[str, tuple[str, tuple[Command, ...]]] = {
    "models": ("list, show, describe and verify models", _models.COMMANDS),
    "cache": ("inspect, check and empty the folder of `cache=True` or `cache=FOLDER`", _cache.COMMANDS),
}


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
    try:
        with _warnings_in_one_line():
            args = make_parser().parse_args(argv)
            status: int = args.run(args)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of our output, such as `head`, has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141  # 128 + SIGPIPE, as shells report it
    except KeyboardInterrupt:
        return 130  # 128 + SIGINT
    except (SklTransferError, OSError) as err:
        print(f"skltransfer: {' '.join(str(err).split())}", file=sys.stderr)
        return 2
    return status


@contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    """Show warnings without the line of code that issued them."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *where: print(f"skltransfer: warning: {message}", file=sys.stderr)
        yield


def make_parser() -> argparse.ArgumentParser:
    """Build the parser from the tables.

    Returns
    -------
    argparse.ArgumentParser
        Its namespaces hold the function to call as ``run``.
    """
    parser = argparse.ArgumentParser("skltransfer", description="Pretrained ONNX backbones inside scikit-learn.")
    parser.add_argument("--version", action="version", version=f"skltransfer {__version__}")
    groups = add_commands(parser, COMMANDS)
    for name, (text, commands) in GROUPS.items():
        add_commands(groups.add_parser(name, help=text, description=text), commands)
    return parser
