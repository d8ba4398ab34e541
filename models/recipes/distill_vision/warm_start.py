"""Warm start: weights of an exported student, pruned where the new one is narrower, and a projector that fits them."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from distill_vision.student import STAGES, Distiller, Student
from distill_vision.views import Cache, load_views


@torch.no_grad()
def load_exported(student: Student, path: Path, pixels: Tensor) -> None:
    """Load the weights of an exported student, so that training can go on without its checkpoint.

    The export folded batch normalisation into the convolutions. Each one is restored so that it is the identity on
    the statistics of `pixels` (n, 3, height, width): in evaluation mode the student equals the exported network, and
    training begins close to it. Blocks that are narrower inside keep the channels with the largest weights.
    """
    weights = {
        tensor.name.removesuffix("_float16"): torch.from_numpy(numpy_helper.to_array(tensor).astype(np.float32))
        for tensor in onnx.load(path).graph.initializer
    }
    pairs = {"stem_conv": student.stem}
    for number, (block, stage) in enumerate(zip(student.blocks, STAGES, strict=True), 1):
        pairs |= {f"block_{number}_{part}": pair for part, pair in block.named_children()}
        prune_channels(weights, f"block_{number}", stage.inner)
    hooks = []
    for name, pair in pairs.items():
        if not isinstance(pair, nn.Identity):
            pair[0].weight.copy_(weights[f"{name}_weight"])
            pair[1].bias.copy_(weights[f"{name}_bias"])
            hooks.append(pair[1].register_forward_pre_hook(become_identity))
    student.eval()(pixels)
    for hook in hooks:
        hook.remove()
    student.train()


def prune_channels(weights: dict[str, Tensor], block: str, inner: int) -> None:
    """Keep `inner` inner channels of a block: those whose weights in and out have the largest norms."""
    first, second = weights[f"{block}_first_weight"], weights[f"{block}_second_weight"]
    weight = first.flatten(1).norm(dim=1) * second.transpose(0, 1).flatten(1).norm(dim=1)
    kept = weight.topk(inner).indices.sort().values
    for name in ("first_weight", "first_bias"):
        weights[f"{block}_{name}"] = weights[f"{block}_{name}"][kept]
    weights[f"{block}_second_weight"] = second[:, kept]


def become_identity(norm: nn.BatchNorm2d, inputs: tuple[Tensor]) -> None:
    """Set the statistics to those of a map, and scale and offset so that they undo them; the offset is added to."""
    norm.running_mean.copy_(inputs[0].mean((0, 2, 3)))
    norm.running_var.copy_(inputs[0].var((0, 2, 3), unbiased=False))
    norm.weight.copy_(torch.sqrt(norm.running_var + norm.eps))
    norm.bias.add_(norm.running_mean)


@torch.no_grad()
def fit_projector(projector: nn.Linear, embeddings: Tensor, targets: Tensor) -> None:
    """Set the projector to the ridge regression of targets (n, targets) on embeddings (n, dim)."""
    mean, centre = embeddings.mean(0), targets.mean(0)
    centred = embeddings - mean
    gram = centred.T @ centred
    gram += 1e-3 * gram.diagonal().mean() * torch.eye(len(gram), device=gram.device)
    matrix = torch.linalg.solve(gram, centred.T @ (targets - centre))
    projector.weight.copy_(matrix.T)
    projector.bias.copy_(centre - mean @ matrix)


@torch.no_grad()
def start_from(path: Path, model: Distiller, cache: Cache, size: int, args: argparse.Namespace) -> None:
    """Load the weights of an exported student, and fit the projector to them on the views of 32 steps."""
    loaded = [load_views(cache, step, size, args) for step in range(32)]
    load_exported(model.student, path, torch.cat([pixels for pixels, _ in loaded[:4]]))
    embeddings = torch.cat([model.student.eval()(pixels) for pixels, _ in loaded])
    targets = torch.cat([torch.cat(parts, 1) for _, parts in loaded])
    fit_projector(model.projector, embeddings, targets)
    model.train()
