"""The command line."""

from __future__ import annotations

import argparse

import distill_vision
from distill_vision import card, export, prepare, probe, train


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(prog="distill_vision", description=distill_vision.__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    for module in (prepare, train, export, probe, card):
        module.add_command(commands)
    return parser


def main() -> None:
    """Run the command line."""
    args = build_parser().parse_args()
    args.command(args)
