"""Decoded images per second that the line hands to a device which does nothing: the most a GPU can be fed here.

Usage: ``python tests/bench/feed.py [--number 4096] [--batch 256] [--size 224] [--rounds 5]``

The graph is not run: a copy of the batch stands for the bus, zeros for the rows. Ours is measured with memory that is
used again, as on a GPU, and with new memory for every batch; beside it stands the bare copy.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

from skltransfer import load_card
from skltransfer._engine import plan as plans
from skltransfer._engine import runtime, stream
from skltransfer._engine.modalities.image._prepare import ImagePreparer
from skltransfer._engine.samples import Samples
from skltransfer._engine.stream import _line


def idle(session: runtime.Session, batch: int, size: int, width: int) -> Callable[[np.ndarray], None]:
    """Let a session copy its batches and run nothing; give the copy."""
    bus = np.empty((batch, size, size, 3), np.uint8)

    def copy(samples: np.ndarray) -> None:
        np.copyto(bus[: len(samples)], samples)

    def rows(samples: np.ndarray, *rest: object) -> np.ndarray:
        copy(samples)
        return np.zeros((len(samples), width), np.float32)

    session._rows = rows
    return copy


def fastest(work: Callable[[], object], rounds: int) -> float:
    work()
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {"number": 4096, "batch": 256, "size": 224, "rounds": 5}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    stream.LINES["cpu"] = _line.Pipelined  # as a GPU's
    plan = plans.make(load_card("vision-mini"), runtime.Device())
    session = stream.open_backbone(plan)
    copy = idle(session, args.batch, args.size, session.row_shape[0])
    images = np.random.default_rng(0).integers(0, 256, (args.number, args.size, args.size, 3), np.uint8)
    pieces = list(images)
    # Images of the graph's size pass as they are; the graph, which is not run, does not ask for it.
    ImagePreparer.prepare = lambda self, sources: [[source.data] for source in sources]

    def ours() -> None:
        options = stream.Options(n_jobs=None, batch_size=args.batch)
        stream.embed(Samples(pieces, args.number), plan, options=options)

    def alone() -> None:
        for start in range(0, args.number, args.batch):
            copy(images[start : start + args.batch])

    print(f"| {args.number} images of {args.size} x {args.size}, batches of {args.batch} | images/s |\n|---|---|")
    for name, bound in {"memory that is used again": session._lazy, "new memory for every batch": None}.items():
        session._bound = bound
        print(f"| the line, {name} | {args.number / fastest(ours, args.rounds):,.0f} |")
    print(f"| a bare copy | {args.number / fastest(alone, args.rounds):,.0f} |")


if __name__ == "__main__":
    main()
