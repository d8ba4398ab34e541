"""What arguments look like: their forms, refused before the work, and the rows of the tables of commands."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from skltransfer import report
from skltransfer._engine import cache


def a_device(text: str) -> str:
    """Check the form of a device's name; whether it runs is seen later."""
    if not re.fullmatch(r"auto|cpu|(cuda|tensorrt)(:(\d+|all))?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is none of auto, cpu, cuda, cuda:1, cuda:all; tensorrt likewise")
    return text


def a_picture(text: str) -> Path:
    """Refuse, before the work, what could not be written after it."""
    path = an_output(text)
    if path.suffix.lower() not in report.SUFFIXES:
        raise argparse.ArgumentTypeError(f"{text!r} does not end in {', '.join(report.SUFFIXES)}")
    return path


def an_output(text: str) -> Path:
    path = Path(text)
    if path.is_dir() or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is not a file in a folder that exists; make it with mkdir")
    return path


def a_cache(text: str) -> Path:
    return Path(text) if text else cache.user_folder()


def a_graph(text: str) -> Path:
    path = Path(text)
    if path.suffix != ".onnx":
        raise argparse.ArgumentTypeError(f"{text!r} is not an .onnx file")
    return path


def numbers(kind: type[int] | type[float], count: int) -> Callable[[str], tuple[float, ...]]:
    """Make a reader of numbers with commas between them."""

    def read(text: str) -> tuple[float, ...]:
        try:
            values = tuple(kind(part) for part in text.split(","))
        except ValueError:
            values = ()
        if len(values) != count:
            example = ",".join(["224", "224"] if kind is int else ["0.5"] * count)
            raise argparse.ArgumentTypeError(f"{text!r} is not {count} numbers such as {example}")
        return values

    return read


class Flag(NamedTuple):
    """An argument, as ``ArgumentParser.add_argument`` takes it."""

    flag: str
    options: Mapping[str, Any]

    @property
    def name(self) -> str:
        """What the namespace calls it."""
        return self.flag.lstrip("-").replace("-", "_")


class Command(NamedTuple):
    """A command: what it is called, what it does, which function does it, what it takes."""

    name: str
    help: str
    run: Callable[[argparse.Namespace], int]
    flags: Sequence[Flag] = ()
