"""Small backbones that can be tuned, and samples that a frozen one cannot tell apart well."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from skltransfer._engine import graph
from skltransfer.finetune import _interpreter
from skltransfer.testing import SIDE, make_graph, save_backbone

node = helper.make_node
#: Residual blocks of `residual`.
BLOCKS = 3
WIDTH = 8


def residual(*, half: bool = False, shared: bool = False, channels: int = 3) -> onnx.ModelProto:
    """Residual blocks; layers ``sum_1`` ... are their ends.

    With `half`, weights are kept in float16 and widened; with `shared`, all blocks have the first one's kernel.
    """
    random, nodes, weights = np.random.default_rng(0), [], {}

    def weight(name: str, *shape: int) -> str:
        value = random.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape).astype(np.float32)
        weights[name] = value.astype(np.float16) if half else value
        if half:
            nodes.append(node("Cast", [name], [f"{name}_wide"], to=onnx.TensorProto.FLOAT))
        return f"{name}_wide" if half else name

    nodes.append(node("Conv", ["x", weight("stem", WIDTH, channels, 3, 3)], ["sum_0"], pads=[1] * 4))
    for i in range(1, BLOCKS + 1):
        kernel = "kernel_1" if shared and i > 1 else weight(f"kernel_{i}", WIDTH, WIDTH, 3, 3)
        nodes += [
            node("Conv", [f"sum_{i - 1}", kernel], [f"conv_{i}"], pads=[1] * 4),
            node("Relu", [f"conv_{i}"], [f"relu_{i}"]),
            node("Add", [f"sum_{i - 1}", f"relu_{i}"], [f"sum_{i}"]),
        ]
    nodes += [node("GlobalAveragePool", [f"sum_{BLOCKS}"], ["pooled"]), node("Flatten", ["pooled"], ["embedding"])]
    return make_graph(nodes, {"x": ("float32", ["n", channels, SIDE, SIDE])}, "embedding", **weights)


def save(folder: Path, model: onnx.ModelProto | None = None) -> str:
    """Save a backbone that takes images of `SIDE` pixels; return its path."""
    return str(save_backbone(residual() if model is None else model, folder, layer="embedding"))


def stripes(n: int, seed: int = 0) -> tuple[list[np.ndarray], np.ndarray]:
    """Return images with stripes, upright or level, of any colors, and which."""
    dice = np.random.default_rng(seed)
    images, upright = [], dice.permutation(n) % 2 == 0
    for label in upright:
        light, dark = dice.integers(120, 256, 3), dice.integers(0, 100, 3)
        lines = (np.arange(SIDE) // 2 + dice.integers(0, 2)) % 2
        picture = np.where(lines[:, None, None], light, dark) * np.ones((SIDE, SIDE, 1))
        picture = picture + dice.normal(0, 25, picture.shape)
        images.append(np.clip(picture.transpose(1, 0, 2) if label else picture, 0, 255).astype(np.uint8))
    return images, np.where(upright, "upright", "level")


def weights_of(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def names(tails: Sequence) -> list[str]:
    return [tail.cut for tail in tails]


def assert_tail_agrees(plan, parts, tail) -> None:
    """Compare a tail in torch with the graph in ONNX Runtime, and look whether every weight of it can learn."""
    import torch

    whole = onnx.ModelProto.FromString(parts.model.SerializeToString())
    whole.graph.output.append(onnx.ValueInfoProto(name=tail.cut))
    samples = plan.preparer().probe(None)
    session = onnxruntime.InferenceSession(whole.SerializeToString(), providers=["CPUExecutionProvider"])
    rows, held = session.run(None, {graph.INPUT: samples})
    module = _interpreter.module(parts, tail)
    found = module({tail.cut: torch.from_numpy(held), graph.INPUT: torch.from_numpy(samples)})
    np.testing.assert_allclose(found.detach().numpy(), rows, atol=1e-5 * np.abs(rows).max())
    # Weighted: squares of what a last layer normalizes always have the same sum.
    (found * torch.linspace(1, 2, found.shape[-1])).square().sum().backward()
    assert all(weight.grad.abs().sum() > 0 for weight in module.weights)
