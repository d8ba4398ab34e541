"""Activations at the cut, of every view of every sample: computed once, kept in float16 where rows are kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from skltransfer._engine import graph, modalities, stream
from skltransfer._engine import plan as plans
from skltransfer._engine.cache import Cache
from skltransfer._engine.plan import Plan
from skltransfer.errors import TuningError, need

if TYPE_CHECKING:
    import torch


#: Samples with lengths that are filled up to the same one.
PIECE = 8


@dataclass(frozen=True)
class Activations:
    """Activations of all samples.

    Attributes
    ----------
    views : list
        For each view an array (n, ...), float16, or a list of arrays (tokens, channels), one per text.
    cut : str
        Name of the tensor.
    piece : tuple of int
        Shape of a prepared sample, where the tail looks at it.
    """

    views: list[Any]
    cut: str
    piece: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.views[0])

    @property
    def ragged(self) -> bool:
        """Whether samples have lengths."""
        return isinstance(self.views[0], list)

    def lengths(self) -> npt.NDArray[np.int64]:
        """Return the number of tokens of each sample; ones where samples have none."""
        return np.array([len(row) for row in self.views[0]] if self.ragged else [1] * len(self), np.int64)

    def batch(self, rows: Iterable[int], views: Iterable[int]) -> list[dict[str, torch.Tensor]]:
        """Return what the tail takes, of one view of each of some samples: a dictionary for each piece of the batch.

        Samples with lengths are in pieces of `PIECE`, and only those of one piece are filled up to the same length:
        with samples in the order of their lengths, that halves what is computed. Others are in one piece.
        """
        chosen = [self.views[view][row] for row, view in zip(rows, views, strict=True)]
        if self.ragged:
            return [self._filled(chosen[at : at + PIECE]) for at in range(0, len(chosen), PIECE)]
        torch = need("torch", extra="torch")
        blank = np.zeros((len(chosen), *self.piece), np.uint8)
        return [{self.cut: torch.from_numpy(np.stack(chosen)).float(), graph.INPUT: torch.from_numpy(blank)}]

    def _filled(self, chosen: list[npt.NDArray[Any]]) -> dict[str, torch.Tensor]:
        """Return samples with lengths, filled up to the longest, and where they are not."""
        torch = need("torch", extra="torch")
        longest = max(map(len, chosen))
        held = np.zeros((len(chosen), longest, chosen[0].shape[1]), np.float32)
        tokens = np.full((len(chosen), longest), modalities.text.PADDING, np.int32)
        for place, row in enumerate(chosen):
            held[place, : len(row)], tokens[place, : len(row)] = row, 0
        return {self.cut: torch.from_numpy(held), graph.INPUT: torch.from_numpy(tokens)}


def names_of_views(plan: Plan, count: int) -> list[str | None]:
    """Return views as recipes name them: the sample itself, its mirror image, random parts of it."""
    if "crop" not in modalities.of(plan.recipe.input).variants:
        return [None]
    return [None, "mirror", *(f"crop {number}" for number in range(2, count))][:count]


def activations(
    samples: Sequence[Any], plan: Plan, cut: str, views: int, cache: Cache | None, options: stream.Options
) -> Activations:
    """Run the trunk on every view.

    Parameters
    ----------
    samples : sequence
        As `stream.embed` takes them.
    plan : Plan
        Of the rows that are tuned.
    cut : str
        The tensor.
    views : int
        How many; samples that are no images have one.
    cache : Cache or None
        Where activations are kept.
    options : stream.Options
        Threads and batch size.

    Raises
    ------
    SampleError
        If a sample cannot be read.
    TuningError
        If the tensor has other shapes for other samples.
    """
    spec, found = plan.recipe.input, []
    ragged, card = spec.longest is not None, dataclasses.replace(plan.card, input=spec)
    for view in names_of_views(plan, views):
        trunk = plans.make(
            *(card, plan.device),
            layer=cut,
            pool="none" if ragged else "flatten",
            precision=plan.recipe.precision,
            views=view,
            dtype="float16",
        )
        trunk = dataclasses.replace(trunk, wider=None)
        rows: list[npt.NDArray[Any]] = []
        for finished in stream.batches(samples, trunk, cache=cache, options=options):
            rows += finished.rows
        found.append(rows if ragged else _shaped(np.stack(rows), trunk, cut))
    size = getattr(spec, "size", None)
    return Activations(found, cut, () if ragged else (*size, 3) if size else tuple(getattr(spec, "shape", ())))


def _shaped(rows: npt.NDArray[Any], trunk: Plan, cut: str) -> npt.NDArray[Any]:
    (shape,) = plans.shapes_of(trunk.card, [cut])
    if None in shape:
        raise TuningError(f"{cut!r} is {('n', *shape)}: its size depends on the sample. Choose another cut.")
    return rows.reshape(len(rows), *(int(length) for length in shape if length is not None))
