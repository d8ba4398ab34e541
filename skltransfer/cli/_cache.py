"""``skltransfer cache``: inspect, check and empty a folder of rows."""

from __future__ import annotations

import argparse

from skltransfer._engine import cache
from skltransfer.cli._arguments import Command, cache_folder
from skltransfer.cli._output import say, table
from skltransfer.errors import visible


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the argument of every ``skltransfer cache`` command."""
    parser.add_argument(
        "folder", nargs="?", type=cache_folder, default="", help="folder of cache=... (default: that of cache=True)"
    )


def _info(args: argparse.Namespace) -> int:
    found = cache.info(args.folder)
    where = visible(args.folder)
    say(f"{where}: {found.rows:,} rows, {found.bytes / 2**20:.1f} of at most {found.limit / 2**20:,.0f} MB")
    say(f"{found.hits:,} rows were found in it, {found.misses:,} had to be computed")
    say(table((f"{rows:,}", f"rows of recipe {key}") for key, rows in found.recipes.items()))
    return 0


def _verify(args: argparse.Namespace) -> int:
    found = cache.verify(args.folder)
    where = visible(args.folder)
    say(f"{where}: {found.intact:,} rows are intact, {found.broken:,} were damaged and have been dropped")
    return int(found.broken > 0)


def _clear(args: argparse.Namespace) -> int:
    freed = cache.clear(args.folder)
    where = visible(args.folder)
    say(f"{where}: {freed / 2**20:.1f} MB freed" if freed else f"{where}: nothing to clear")
    return 0


COMMANDS = (
    Command("info", "count the rows of each recipe, and their size", _info, add_arguments),
    Command("verify", "check every row, and drop damaged ones", _verify, add_arguments),
    Command("clear", "remove all rows, and nothing else in the folder", _clear, add_arguments),
)
