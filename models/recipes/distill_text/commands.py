"""The command line."""

from __future__ import annotations

import argparse

import distill_text
from distill_text import make, probe


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(prog="distill_text", description=distill_text.__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    for module in (make, probe):
        module.add_command(commands)
    return parser


def main() -> None:
    """Run the command line."""
    args = build_parser().parse_args()
    args.command(args)
