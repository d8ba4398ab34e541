"""Every choice that changes the numbers of an embedding, and its fingerprint."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from skltransfer.cards._inputs import InputSpec

Axes = tuple[int, ...]


def spatial_axes(rank: int, layout: str) -> Axes:
    """Return the axes a pooling reduces by the rule of schema 1: all but the batch and the channels.

    Parameters
    ----------
    rank : int
        Number of axes of the tensor, the batch counted.
    layout : {"NCHW", "NHWC"}
        Of the graph's input. Of tensors with fewer than four axes, such as tokens, the last axis holds the channels.
    """
    return tuple(range(2, rank)) if layout == "NCHW" and rank > 3 else tuple(range(1, rank - 1))


@dataclass(frozen=True)
class Recipe:
    """Every choice that changes the numbers of an embedding.

    Parameters
    ----------
    graph : str
        SHA-256 over the model's files.
    input : InputSpec
        How samples are prepared.
    layers : tuple of str
        Tensors whose pooled values stand side by side in a row.
    pool : str
        One of `POOLS`, except ``"auto"``; ``""`` where every layer is a row already; ``"shared"`` for several side by
        side, see `graph.shared_pools`.
    normalize : bool
        Whether rows are scaled to unit L2 norm.
    precision : str
        One of `PRECISIONS`.
    device : str
        Kind of device ("cpu", "cuda", "tensorrt"): they differ in the last digits.
    axes : tuple of tuple of int
        For each layer the axes that pooling reduces, the batch axis being 0; empty for a layer that is a row already.
    views : str or None
        ``"flip"``: a row is the mean of those of an image and of its mirror image. ``"mirror"``: that of the mirror
        image; ``"crop K"``: that of a random part, another one for each number and sample.
    constants : tuple of (str, number or nested tuples of numbers)
        Values of inputs that hold no samples.
    dtype : {"float32", "float16"}
        Type of the rows.
    """

    graph: str
    input: InputSpec
    layers: tuple[str, ...]
    pool: str
    normalize: bool = False
    precision: str = "auto"
    device: str = "cpu"
    axes: tuple[Axes, ...] = ()
    views: str | None = None
    constants: tuple[tuple[str, Any], ...] = ()
    dtype: str = "float32"

    @property
    def averaged(self) -> bool:
        """Whether the row of a sample may be the mean of several: of views, or of the parts of a text."""
        return self.views is not None or self.input.averaged

    @cached_property
    def key(self) -> str:
        """Fingerprint: 32 hexadecimal digits; session key, cache key, log line and caption at once."""
        spec = self.input
        choices = json.dumps([spec.NUMERICS, spec.TAG, self.canonical()], sort_keys=True)
        return hashlib.blake2b(choices.encode(), digest_size=16).hexdigest()

    def canonical(self) -> dict[str, Any]:
        """Return what is hashed: names as in schema 1, and nothing that was added later and is not used.

        Written out, so that renaming a field or adding one leaves the keys of rows that are cached as they are.
        """
        settled: dict[str, Any] = {
            "graph": self.graph,
            "input": self.input.canonical(),
            "layers": self.layers,
            "pool": self.pool,
            "normalize": self.normalize,
            "precision": self.precision,
            "device": self.device,
        }
        if self.views is not None:
            settled["views"] = self.views
        by_rule = [spatial_axes(len(axes) + 2, self.input.layout) if axes else () for axes in self.axes]
        later: dict[str, Any] = {"axes": self.axes} if by_rule != list(self.axes) else {}
        if self.dtype != "float32":
            later["dtype"] = self.dtype
        return {**settled, **later, **({"constants": self.constants} if self.constants else {})}
