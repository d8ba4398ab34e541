"""Targets: feature maps of teachers on few principal components, on disk."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap

from distill_vision.teachers import Teacher, run_teacher


@dataclass
class Projection:
    """Linear map from a teacher's features to a few uncorrelated, scaled coordinates.

    Attributes
    ----------
    mean, matrix : ndarray of shape (channels,), (channels, components)
        ``(features - mean) @ matrix`` are the targets. Distances among targets equal distances among standardised
        features, except for the dropped components.
    head : ndarray of shape (components + 1, classes) or (0, 0)
        Least-squares map from targets, with a one appended, to the teacher's logits; empty for a teacher without
        logits. It computes the logits of any region without the teacher's graph.
    """

    mean: np.ndarray
    matrix: np.ndarray
    head: np.ndarray

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Return the targets of features of shape (..., channels)."""
        return (torch.from_numpy(features - self.mean) @ torch.from_numpy(self.matrix)).numpy()


def fit_projection(pooled: np.ndarray, logits: np.ndarray | None, components: int) -> Projection:
    """Fit principal components of the standardised embeddings (n, channels) of a sample."""
    mean, std = pooled.mean(0), pooled.std(0) + 1e-6
    standard = (pooled - mean) / std
    values, vectors = np.linalg.eigh(standard.T @ standard / len(standard))
    kept = vectors[:, ::-1][:, :components]
    scale = math.sqrt(components / values[::-1][:components].sum())  # unit mean square
    print(f"  {components} components keep {values[::-1][:components].sum() / values.sum():.3f}")
    matrix = (kept / std[:, None] * scale).astype(np.float32)
    projection = Projection(mean, matrix, head=np.empty((0, 0)))
    if logits is not None:
        targets = projection(pooled)
        design = np.c_[targets, np.ones(len(targets), np.float32)]
        projection.head = np.linalg.lstsq(design, logits, rcond=None)[0].astype(np.float32)
        residual = logits - design @ projection.head
        print(f"  logits from targets: R2 {1 - residual.var() / logits.var():.3f}")
    return projection


def cache_targets(teacher: Teacher, images: np.ndarray, components: int, threads: int, stem: Path) -> None:
    """Write STEM.npy, targets (n, cells, components) in float16, and STEM.npz, their projection."""
    sample = images[:: max(1, len(images) // 2500)]
    runs = list(run_teacher(teacher, sample, threads))
    pooled = np.concatenate([cells.mean(1) for _, cells, _ in runs])
    logits = None if runs[0][2] is None else np.concatenate([run[2] for run in runs])
    projection = fit_projection(pooled, logits, components)
    shape = (len(images), runs[0][1].shape[1], components)
    targets = open_memmap(stem.with_suffix(".npy"), "w+", np.float16, shape)
    for rows, cells, _ in run_teacher(teacher, images, threads):
        targets[rows] = projection(cells)
    targets.flush()
    np.savez(stem.with_suffix(".npz"), **asdict(projection))
