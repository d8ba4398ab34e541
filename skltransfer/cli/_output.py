"""Where text leaves the program: control characters are escaped here, and nothing else writes to the terminal.

Names, licenses and layers come from cards and graphs of strangers. An escape sequence in them could rewrite what a
terminal shows, and a line break could forge a line.
"""

from __future__ import annotations

import argparse
import io
import logging
import os
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, NoReturn, TextIO

from skltransfer import report
from skltransfer.errors import shorten, visible

#: Characters of a message; characters of a value that a message quotes, and of a cell of a table.
MESSAGE, VALUE = 2000, 300
QUOTED = re.compile(rf"""(?<=')[^']{{{VALUE},}}(?=')|(?<=")[^"]{{{VALUE},}}(?=")""")


def say(text: str = "") -> None:
    """Print lines of the result to stdout; values in them that are not ours go through `visible` first."""
    print(visible(text, keep="\n"))


def complain(text: object) -> None:
    """Print one line to stderr, if it can be printed there."""
    with suppress(OSError, ValueError):
        print(f"skltransfer: {one_line(text)}", file=sys.stderr, flush=True)


def one_line(text: object) -> str:
    """Return a message as one line, with long values in quotes shortened."""
    line = QUOTED.sub(lambda found: shorten(found[0], VALUE), " ".join(str(text).split()))
    return visible(shorten(line, MESSAGE))


def table(rows: Iterable[Sequence[object]], header: Sequence[str] = ()) -> str:
    """Format rows as `report.table` does, every value on one line and shortened."""
    return report.table(([shorten(visible(value), VALUE) for value in row] for row in rows), header)


class Parser(argparse.ArgumentParser):
    """A parser whose messages are escaped and, apart from the usage, one line."""

    def error(self, message: str) -> NoReturn:
        """Print the usage and the error, and end with status 2."""
        super().error(one_line(message))

    def _print_message(self, message: str, file: Any = None) -> None:
        (file or sys.stderr).write(visible(message, keep="\n"))  # argparse would hide that a disk is full


def open_streams() -> None:
    """Open the standard streams that are closed, and let none fail for a character that it cannot encode."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf8"))  # noqa: SIM115 - it stays open
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def drop_output() -> None:
    """Send what cannot be written nowhere: the interpreter would try once more when it ends, and say so."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Show warnings without the line of code that issued them, and nothing of what libraries log or print."""

    def show(message: Warning | str, *where: Any, **more: Any) -> None:
        complain(f"warning: {message}")

    logged = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with _own_stderr(), warnings.catch_warnings():
            warnings.showwarning = show
            yield
    finally:
        logging.disable(logged)


@contextmanager
def _own_stderr() -> Iterator[None]:
    """Keep the terminal to ourselves: libraries in C, which write to file descriptor 2, write to nothing."""
    with ExitStack() as opened:
        if not sys.flags.dev_mode:  # which shows the stack of a crash there
            with suppress(OSError, ValueError, AttributeError):
                _move_stderr(opened)
        yield


def _move_stderr(opened: ExitStack) -> None:
    """Move ``sys.stderr`` to a new descriptor, and 2 to nothing, until `opened` is closed."""
    ours, shown = os.dup(2), sys.stderr
    opened.callback(os.close, ours)
    if shown.fileno() == 2:  # otherwise it goes elsewhere already, as under pytest
        moved = io.BufferedWriter(io.FileIO(os.dup(ours), "w"))
        sys.stderr = io.TextIOWrapper(moved, shown.encoding, shown.errors, line_buffering=True)
        opened.callback(_put_back, shown, sys.stderr)
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    os.close(nothing)
    opened.callback(os.dup2, ours, 2)


def _put_back(shown: TextIO, moved: TextIO) -> None:
    """Let ``sys.stderr`` be what it was."""
    sys.stderr = shown
    with suppress(OSError, ValueError):
        moved.close()
