"""What the tests of variants share."""

import numpy as np
import onnx

from skltransfer import testing
from skltransfer._engine import hub
from skltransfer._engine.quantization import MIN_COSINE

PRECISIONS = sorted(MIN_COSINE)
PICTURES = testing.noise_images(12)


def operators(card) -> set[str]:
    return {node.op_type for node in onnx.load(hub.verified(card)).graph.node}


def cosine(left, right) -> float:
    return float((left * right).sum() / np.linalg.norm(left) / np.linalg.norm(right))
