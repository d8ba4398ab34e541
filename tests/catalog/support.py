"""Graphs that the tests of the catalog share."""

import numpy as np
import onnxruntime

from skltransfer import PretrainedEmbedder, load_card
from skltransfer.testing import save_backbone
from tests import graphs

node = graphs.node
RANDOM = np.random.default_rng(0)
PICTURES = [RANDOM.integers(0, 256, (6, 8, 3), dtype=np.uint8) for _ in range(4)]
KERNEL = RANDOM.normal(size=(5, 3, 3, 3)).astype(np.float32)
RAW = {"preset": "raw", "resize": "squash"}


def saved(model, folder, **changes):
    return str(save_backbone(model, folder, pin=False))


def embed(model, folder, X, *, layer=None, pool="auto", **changes):
    card = load_card(saved(model, folder), **changes)
    return PretrainedEmbedder(card, layer=layer, pool=pool, cache=None).fit_transform(X)


def run(model, **feeds):
    outputs = onnxruntime.InferenceSession(model.SerializeToString()).run(None, feeds)
    return outputs[0].reshape(len(outputs[0]), -1)


def convolution(x="x", tail=("gap", "rows"), **weights):
    return [
        node("Conv", [x, "w"], ["map"]),
        node("Relu", ["map"], ["relu"]),
        node("GlobalAveragePool", ["relu"], ["gap"]),
        *([node("Flatten", [tail[0]], [tail[1]])] if tail else []),
    ]
