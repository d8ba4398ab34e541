"""What the tests of graphs share."""

import numpy as np

from skltransfer._engine import graph, modalities, runtime
from skltransfer.cards import ImageSpec, Recipe, spatial_axes
from skltransfer.testing import MIX, SIDE

RAW = ImageSpec((SIDE, SIDE), "squash")
PICTURES = np.random.default_rng(0).integers(0, 256, (5, SIDE, SIDE, 3), dtype=np.uint8)
NUMBERS = np.random.default_rng(1).standard_normal((5, 4)).astype(np.float32)


def built_graph(model, spec, layers, *, pool="", normalize=False, precision="auto", free_batch=True):
    """Build the graph of a recipe with these choices."""
    shapes = graph.read(model).layers
    ranks = [len(shapes.get(name, ())) + 1 for name in layers]
    axes = tuple(spatial_axes(rank, spec.layout) if rank > 2 else () for rank in ranks)
    recipe = Recipe("", spec, tuple(layers), pool, normalize, precision, axes=axes)
    return graph.build(model, recipe, modalities.of(spec), free_batch=free_batch)


def rows(model, samples, layers, spec=RAW, **options):
    """Build and run."""
    built = built_graph(model, spec, layers, **options)
    return runtime.Session(built.SerializeToString(), runtime.Device()).run(samples)


def maps(pictures=PICTURES):
    """Compute the layer ``map`` of `testing.image_backbone` by hand."""
    return np.einsum("mc,nhwc->nmhw", MIX, pictures.astype(np.float64))
