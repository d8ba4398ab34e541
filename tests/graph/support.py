"""What the tests of graphs share."""

import numpy as np

from skltransfer._engine import graph, runtime
from skltransfer.cards import ImageSpec
from skltransfer.testing import MIX, SIDE

RAW = ImageSpec((SIDE, SIDE), "squash")
PICTURES = np.random.default_rng(0).integers(0, 256, (5, SIDE, SIDE, 3), dtype=np.uint8)
NUMBERS = np.random.default_rng(1).standard_normal((5, 4)).astype(np.float32)


def rows(model, samples, layers, spec=RAW, *, pool="", normalize=False, **options):
    """Build and run."""
    built = graph.build(model, spec, layers, pool=pool, normalize=normalize, **options)
    return runtime.Session(built.SerializeToString(), runtime.Device()).run(samples)


def maps(pictures=PICTURES):
    """Compute the layer ``map`` of `testing.image_backbone` by hand."""
    return np.einsum("mc,nhwc->nmhw", MIX, pictures.astype(np.float64))
