"""Any module of torch: exported with an example; what it takes is told by the caller."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from skltransfer._engine.modalities import image
from skltransfer.cards import Card, ImageSpec
from skltransfer.convert._images import IMAGES
from skltransfer.convert._source import Source, refusing, wrapped
from skltransfer.errors import ConversionError, need

#: What says that an array of four axes holds the pixels of images.
PIXELS = {"preset", "range", "mean", "std"}
#: What the caller may choose at every use, hence not here.
LATER = {"layer", "pool", "modality", "input", "files", "folder"}


def module(source: Any, *, example: Any = None, **changes: Any) -> Source:
    """Read a module.

    Parameters
    ----------
    source : torch.nn.Module
        Takes one tensor; gives one, the embedding, or several, the embedding first.
    example : ndarray or torch.Tensor
        What it takes.
    **changes
        As in `catalog.load_card`.

    Returns
    -------
    Source
    """
    torch = need("torch", extra="convert")
    if not isinstance(source, torch.nn.Module):
        raise ConversionError(f"kind='module' converts a torch.nn.Module, not a {type(source).__name__}.")
    if example is None or np.ndim(example) < 2 or not len(example):
        raise ConversionError(
            "kind='module' needs an example of what the module takes, samples along the first axis: "
            "convert('module', model, 'folder', example=torch.zeros(1, 3, 224, 224), preset='imagenet')."
        )
    if wrong := LATER & changes.keys():
        raise ConversionError(f"{', '.join(sorted(wrong))} cannot be given here; PretrainedEmbedder takes layer, pool.")
    example = torch.as_tensor(example, dtype=torch.float32)
    example = torch.cat([example, example])  # an axis of one would be taken for fixed
    return _source(copy.deepcopy(source).eval(), example, changes)


def _source(model: Any, example: Any, changes: dict[str, Any]) -> Source:
    torch = need("torch", extra="convert")

    def forward(numbers: Any) -> tuple[Any, ...]:
        given = model(numbers)
        return (given,) if isinstance(given, torch.Tensor) else tuple(given)

    def reference(samples: Sequence[Any], card: Card) -> np.ndarray:
        numbers = image.to_tensor(samples, card.input) if isinstance(card.input, ImageSpec) else np.stack(samples)
        with torch.inference_mode():
            rows = forward(torch.from_numpy(np.ascontiguousarray(numbers, np.float32)))[0].numpy()
        return np.asarray(rows if rows.ndim == 2 else rows.mean(axis=_places(rows, card)))

    with refusing(f"{type(model).__name__} does not run on the example"), torch.inference_mode():
        given = forward(example)
        if not all(isinstance(part, torch.Tensor) and part.ndim >= 2 for part in given):
            raise ConversionError(f"{type(model).__name__} must give one tensor of rows or several, not {given!r:.80}.")
    modality = "image" if PIXELS & changes.keys() else "array"
    size = example.shape[1:]
    random = np.random.default_rng(0).standard_normal((5, *size)).astype(np.float32)
    return Source(
        module=wrapped(forward, model),
        inputs={"input": example},
        outputs=[f"output_{i}" for i in range(len(given))],
        card=Card(
            name="", modality=modality, files={}, layer="output_0", source=f"a module of torch: {type(model).__name__}"
        ),
        samples=image.pictures(IMAGES) if modality == "image" else [*example[: len(example) // 2].numpy(), *random],
        reference=reference,
        changes=changes,
    )


def _places(rows: np.ndarray, card: Card) -> tuple[int, ...]:
    """Give the axes whose mean is a row: places of a map, tokens of a sequence."""
    assert card.input is not None
    first = rows.ndim == 4 and card.input.layout == "NCHW"
    return tuple(range(2, rows.ndim)) if first else tuple(range(1, rows.ndim - 1))
