"""What the tests of the assembly line share."""

import time
from collections.abc import Collection

import numpy as np

from skltransfer import load_card
from skltransfer._engine import plan, runtime, stream
from skltransfer._engine.samples import Samples
from skltransfer._engine.stream import _line
from skltransfer.errors import Unreadable
from skltransfer.testing import image_rows, noise_images

PICTURES = noise_images(100)
ROWS = image_rows(PICTURES)
FORMS = {"fused": _line.Fused, "pipelined": _line.Pipelined}


def plan_of(path) -> plan.Plan:
    return plan.make(load_card(path), runtime.Device())


def embed(samples, made, *, count=None, cache=None, workers=1, **options) -> stream.Embedded:
    """Embed with options by their names."""
    given = Samples(samples, count)
    return stream.embed(given, made, cache=cache, options=stream.Options(n_jobs=workers, **options))


def slowly(step, failing: Collection[int] = ()):
    """Make a step take its time, which differs from sample to sample, and fail on some; a sample's red corner tells."""

    def slow(first, *rest):
        number = int((first if isinstance(first, np.ndarray) else first.data)[0, 0, 0])
        time.sleep(0.0005 * (number % 5))
        if number in failing:
            raise Unreadable(f"number {number}")
        return step(first, *rest)

    return slow


NUMBERED = [np.full((8, 8, 3), i, np.uint8) for i in range(200)]
