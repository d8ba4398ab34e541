"""Views: random crops of the cached squares, and the targets of each crop."""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from distill_vision.student import PIXEL_MEAN, PIXEL_STD
from skltransfer._engine.training import epoch_rows


@dataclass
class Cache:
    """The arrays that `prepare` wrote.

    Attributes
    ----------
    images : ndarray of uint8, shape (n, side, side, 3)
    targets : list of ndarray of float16, shape (n, cells, components)
        One per teacher; the cells are a square grid over the image, row by row.
    heads : list of Tensor, shape (components + 1, classes) or (0, 0)
        Maps from targets to logits; see `Projection`.
    """

    images: np.ndarray
    targets: list[np.ndarray]
    heads: list[Tensor]

    @classmethod
    def load(cls, folder: Path) -> Cache:
        """Map the arrays of a folder into memory, without reading them."""
        stems = sorted(path.with_suffix("") for path in folder.glob("teacher_*.npz"))
        targets = [np.load(stem.with_suffix(".npy"), "r") for stem in stems]
        heads = [torch.from_numpy(np.load(f"{stem}.npz")["head"]).float() for stem in stems]
        return cls(np.load(folder / "images.npy", "r"), targets, heads)


@dataclass
class Views:
    """Random crops of a batch: `low` and `high` corners (n, 2) as x, y in 0..1, and mirroring."""

    low: Tensor
    high: Tensor
    mirrored: Tensor

    def to(self, device: torch.device) -> Views:
        """Return the views on a device."""
        return Views(self.low.to(device), self.high.to(device), self.mirrored.to(device))


def random_views(count: int, smallest: float, generator: torch.Generator) -> Views:
    """Draw crops of an area in `smallest`..1 and of proportions between 3:4 and 4:3."""
    area, ratio, x, y, flip = torch.rand(5, count, generator=generator)
    area = smallest + (1 - smallest) * area
    stretch = torch.exp((2 * ratio - 1) * math.log(4 / 3) / 2)
    size = torch.stack([area.sqrt() * stretch, area.sqrt() / stretch], 1).clamp(max=1)
    low = (1 - size) * torch.stack([x, y], 1)
    return Views(low, low + size, flip < 0.5)


def crop(images: np.ndarray, views: Views, size: int) -> Tensor:
    """Return the views of uint8 NHWC images as float NCHW pixels in 0..255, on the device of the views."""
    pixels = torch.from_numpy(images).to(views.low.device).permute(0, 3, 1, 2).float()
    scale, centre = views.high - views.low, views.high + views.low - 1
    theta = torch.zeros(len(images), 2, 3, device=pixels.device)
    theta[:, 0, 0] = torch.where(views.mirrored, -scale[:, 0], scale[:, 0])
    theta[:, 1, 1] = scale[:, 1]
    theta[:, :, 2] = centre
    grid = F.affine_grid(theta, [len(images), 3, size, size], align_corners=False)
    return F.grid_sample(pixels, grid, padding_mode="border", align_corners=False)


def jitter(pixels: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Change contrast, brightness and, a little, the balance of colors; then normalise."""
    contrast, offset, color = (
        (2 * torch.rand(len(pixels), channels, 1, 1, generator=generator) - 1).to(pixels.device)
        for channels in (1, 1, 3)
    )
    contrast = 1 + strength * contrast
    normal = (pixels - PIXEL_MEAN) / PIXEL_STD
    return (normal * contrast + strength * (offset + color / 4)).clamp(-1, 1)


def region_mean(cells: np.ndarray, views: Views) -> Tensor:
    """Return the mean of a map (n, cells, components) over each view, as (n, components)."""
    side = math.isqrt(cells.shape[1])
    edges = torch.arange(side, device=views.low.device) / side
    low, high = views.low[:, :, None], views.high[:, :, None]
    overlap = (torch.minimum(high, edges + 1 / side) - torch.maximum(low, edges)).clamp(min=0)
    weights = overlap[:, 1, :, None] * overlap[:, 0, None, :]
    weights = weights.flatten(1) / weights.sum((1, 2))[:, None]
    return torch.bmm(weights[:, None], torch.from_numpy(cells).to(weights.device).float())[:, 0]


def load_views(cache: Cache, step: int, size: int, args: argparse.Namespace) -> tuple:
    """Return the pixels and, one per teacher, the targets of one step."""
    generator = torch.Generator().manual_seed(args.seed * 1_000_003 + step)
    rows = epoch_rows(step, len(cache.images), args.batch, args.seed)
    views = random_views(len(rows), args.smallest_crop, generator).to(torch.device(args.device))
    pixels = jitter(crop(cache.images[rows], views, size), args.jitter, generator)
    targets = [region_mean(cells[rows], views) for cells in cache.targets]
    return pixels.contiguous(memory_format=torch.channels_last), targets
