"""Any `torch.nn.Module`, exported with an example; the caller describes its input."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from skltransfer._engine.modalities import image
from skltransfer.cards import Card, ImageSpec
from skltransfer.convert._images import IMAGES
from skltransfer.convert._source import Source, conversion_errors, wrapped
from skltransfer.errors import ConversionError, need

#: Fields that mean that the module takes the pixels of images.
PIXELS = {"preset", "range", "mean", "std"}
#: Fields that are parameters of `PretrainedEmbedder`, or that the conversion sets.
LATER = {"layer", "pool", "modality", "input", "files", "folder"}


def module(source: Any, *, example: Any = None, **changes: Any) -> Source:
    """Read a module of torch.

    Parameters
    ----------
    source : torch.nn.Module
        Takes one tensor; returns the embedding, or several tensors, the embedding first.
    example : ndarray or torch.Tensor
        Example input.
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
            f"example must be an input of the module, with samples along the first axis, not {example!r:.80}: "
            "convert('module', model, 'folder', example=torch.zeros(1, 3, 224, 224), preset='imagenet')."
        )
    if wrong := LATER & changes.keys():
        raise ConversionError(
            f"{', '.join(sorted(wrong))} cannot be set here; pass layer and pool to PretrainedEmbedder."
        )
    example = torch.as_tensor(example, dtype=torch.float32)
    example = torch.cat([example, example])  # torch would export an axis of length one as fixed
    return _source(copy.deepcopy(source).eval(), example, changes)


def _source(model: Any, example: Any, changes: dict[str, Any]) -> Source:
    torch = need("torch", extra="convert")

    def forward(numbers: Any) -> tuple[Any, ...]:
        outputs = model(numbers)
        return (outputs,) if isinstance(outputs, torch.Tensor) else tuple(outputs)

    def reference(samples: Sequence[Any], card: Card) -> np.ndarray:
        numbers = image.to_tensor(samples, card.input) if isinstance(card.input, ImageSpec) else np.stack(samples)
        with torch.inference_mode():
            rows = forward(torch.from_numpy(np.ascontiguousarray(numbers, np.float32)))[0].numpy()
        return np.asarray(rows if rows.ndim == 2 else rows.mean(axis=_pooled_axes(rows, card)))

    with conversion_errors(f"{type(model).__name__} does not run on the example"), torch.inference_mode():
        outputs = forward(example)
        if not all(isinstance(part, torch.Tensor) and part.ndim >= 2 for part in outputs):
            name = type(model).__name__
            raise ConversionError(f"{name} must return tensors with a batch axis and columns, not {outputs!r:.80}.")
    modality = "image" if PIXELS & changes.keys() else "array"
    size = example.shape[1:]
    random = np.random.default_rng(0).standard_normal((5, *size)).astype(np.float32)
    return Source(
        module=wrapped(forward, model),
        inputs={"input": example},
        outputs=[f"output_{i}" for i in range(len(outputs))],
        card=Card(
            name="", modality=modality, files={}, layer="output_0", source=f"a module of torch: {type(model).__name__}"
        ),
        samples=image.pictures(IMAGES) if modality == "image" else [*example[: len(example) // 2].numpy(), *random],
        reference=reference,
        changes=changes,
    )


def _pooled_axes(rows: np.ndarray, card: Card) -> tuple[int, ...]:
    """Return the axes to average: all but those of the samples and the channels, which the graph's operators tell."""
    channels = card.channels.get(str(card.layer))
    if channels is None:
        raise ConversionError(
            f"Which axis of the module's output, of shape {rows.shape}, holds its channels cannot be told from the "
            "operators that make it; return rows (n, columns), such as rows.mean(dim=(2, 3))."
        )
    return tuple(axis for axis in range(1, rows.ndim) if axis != channels)
