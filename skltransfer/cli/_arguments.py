"""Commands and their arguments: types that refuse a wrong value before any work, and options that were renamed."""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from skltransfer import report
from skltransfer._engine import process
from skltransfer.errors import warn

DEFAULT_MODEL = "vision-mini"


def device(text: str) -> str:
    """Check the form of a device name; whether the device runs is checked later."""
    if not re.fullmatch(r"auto|cpu|(cuda|tensorrt)(:(\d+|all))?", text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not one of auto, cpu, cuda, cuda:1, cuda:all or, likewise, tensorrt"
        )
    return text


def _can_be_a_path(text: str) -> bool:
    """Return whether the system could have a file of that name."""
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


def output_file(text: str) -> Path:
    """Check that a file could be written at a path."""
    path = Path(text)
    if not _can_be_a_path(text) or not path.parent.is_dir() or (path.exists() and not path.is_file()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a file in an existing folder; create the folder with mkdir")
    return path


def picture_file(text: str) -> Path:
    """Check that a picture could be written at a path."""
    path = output_file(text)
    if path.suffix.lower() not in report.SUFFIXES:
        raise argparse.ArgumentTypeError(f"{text!r} does not end in {', '.join(report.SUFFIXES)}")
    return path


def cache_folder(text: str) -> Path:
    """Return the folder of a cache; of an empty text the user's own."""
    return Path(text) if text else process.user_folder()


def name(text: str) -> str:
    """Check that a name is not empty."""
    if not text.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is not a name")
    return text


def file_name(text: str) -> str:
    """Check that a path leads to a file beside the graph, or below."""
    path = Path(text)
    if not path.name or path.is_absolute() or ".." in path.parts or not _can_be_a_path(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not the name of a file beside the graph")
    return text


def graph_file(text: str) -> Path:
    """Check that a path is that of a graph."""
    path = Path(text)
    if path.suffix != ".onnx":
        raise argparse.ArgumentTypeError(f"{text!r} is not an .onnx file")
    return path


def numbers(kind: type[int] | type[float], *counts: int) -> Callable[[str], tuple[float, ...]]:
    """Return a type that reads comma-separated numbers, of which there may be so many."""

    def read(text: str) -> tuple[float, ...]:
        try:
            values = tuple(kind(part) for part in text.split(","))
        except ValueError:
            values = ()
        if len(values) not in counts:
            example = ",".join(["224", "224"] if kind is int else ["0.5"] * counts[0])
            raise argparse.ArgumentTypeError(f"{text!r} is not {counts[0]} numbers such as {example}")
        return values

    return read


def json_number(text: str) -> Any:
    """Read a number, or a list of numbers as JSON writes it."""
    try:
        return json.loads(text)
    except ValueError as err:
        raise argparse.ArgumentTypeError(f"{text!r} is no number, nor a list such as [0, 1]") from err


def pair(kind: Callable[[str], Any]) -> Callable[[str], tuple[str, Any]]:
    """Return a type that reads NAME=VALUE; names of layers may hold equals signs, texts as well."""

    def read(text: str) -> tuple[str, Any]:
        name, equals, value = text.partition("=") if kind is str else text.rpartition("=")
        try:
            return (name, kind(value)) if equals and name else _refuse_pair(text)
        except ValueError:
            return _refuse_pair(text)

    return read


def _refuse_pair(text: str) -> tuple[str, Any]:
    raise argparse.ArgumentTypeError(f"{text!r} is not a name and a number such as NAME=1")


class Pairs(argparse.Action):
    """Collect pairs of an option that may be given several times in a dictionary."""

    def __call__(self, parser: object, namespace: argparse.Namespace, values: Any, option: str | None = None) -> None:
        key, value = values
        setattr(namespace, self.dest, {**(getattr(namespace, self.dest) or {}), key: value})


class _Renamed(argparse.Action):
    """Store the value of an option under its old name, and warn with the new one, which is in ``const``."""

    def __call__(self, parser: object, namespace: argparse.Namespace, values: Any, option: str | None = None) -> None:
        warn(f"{option} was renamed to {self.const} and will be removed; type {self.const}.", FutureWarning)
        setattr(namespace, self.dest, values)


def add_renamed(parser: argparse.ArgumentParser, old: str, new: str, **options: Any) -> None:
    """Add the old name of an option, which still works and which ``--help`` does not show."""
    dest = new.lstrip("-").replace("-", "_")
    parser.add_argument(old, dest=dest, action=_Renamed, const=new, help=argparse.SUPPRESS, **options)


def _no_arguments(parser: argparse.ArgumentParser) -> None:
    """Add nothing."""


class Command(NamedTuple):
    """A command.

    Attributes
    ----------
    name, help : str
        The word to type, and what the command does.
    run : callable
        Does it; returns the exit status.
    add_arguments : callable
        Adds the arguments of the command to its parser.
    hidden : bool
        Whether ``--help`` of the group leaves it out.
    """

    name: str
    help: str
    run: Callable[[argparse.Namespace], int]
    add_arguments: Callable[[argparse.ArgumentParser], None] = _no_arguments
    hidden: bool = False

    def add_to(self, group: Any) -> None:
        """Add the command to a group, the result of ``ArgumentParser.add_subparsers``."""
        # Abbreviated options would break when others are added.
        shown = {} if self.hidden else {"help": self.help}
        parser = group.add_parser(self.name, description=self.help, allow_abbrev=False, **shown)
        parser.set_defaults(run=self.run)
        self.add_arguments(parser)


def add_commands(parser: argparse.ArgumentParser, commands: Sequence[Command]) -> Any:
    """Add commands to a parser; without a command it prints its help and ends with status 2."""
    parser.set_defaults(run=lambda args: _help(parser))
    group = parser.add_subparsers(metavar="COMMAND")
    for command in commands:
        command.add_to(group)
    return group


def _help(parser: argparse.ArgumentParser) -> int:
    parser.exit(2, parser.format_help())
