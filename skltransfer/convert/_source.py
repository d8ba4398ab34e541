"""The steps of every conversion: export by torch, card, and comparison with the source."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from skltransfer._engine import catalog, golden, plan, stream
from skltransfer._engine.runtime import Device
from skltransfer._engine.samples import Samples
from skltransfer.cards import Card, ModelFile, Shape
from skltransfer.errors import ConversionError, InputWarning, need

if TYPE_CHECKING:
    import torch

#: Largest difference between the embeddings of source and card, relative to the largest number.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Source:
    """A model that is ready to be exported.

    Parameters
    ----------
    module : torch.nn.Module
        Takes the inputs in order; returns the embedding, then the hidden states.
    inputs : dict of str to torch.Tensor
        Example inputs of at least two samples.
    outputs : list of str
        Names of the outputs of the module.
    card : Card
        The card, without files.
    samples : sequence
        Samples on which source and card must agree.
    reference : callable
        Computes the source's own embeddings of samples, with its own preparation; takes the samples and the card.
    free : tuple of str
        Names of the axes, from the first on, whose length is free.
    files : dict of str to str
        Content of further files ``ROLE.json`` beside the graph, by role.
    changes : dict
        Fields of the card, as `catalog.load_card` takes them.
    """

    module: torch.nn.Module
    inputs: dict[str, torch.Tensor]
    outputs: list[str]
    card: Card
    samples: Sequence[Any]
    reference: Callable[[Sequence[Any], Card], np.ndarray]
    free: tuple[str, ...] = ("batch",)
    files: dict[str, str] = field(default_factory=dict)
    changes: dict[str, Any] = field(default_factory=dict)


def write(source: Source, folder: Path) -> Card:
    """Export the graph, and write the other files and the card beside it.

    Parameters
    ----------
    source : Source
        Model to convert.
    folder : Path
        An empty folder.

    Returns
    -------
    Card
        The card, loaded from the folder.
    """
    _export(source, folder / "model.onnx")
    for role, text in source.files.items():
        (folder / f"{role}.json").write_text(text, "utf8")
    files = {"model": ModelFile("model.onnx"), **{role: ModelFile(f"{role}.json") for role in source.files}}
    card = replace(source.card, name=folder.name, files=files, folder=folder)
    card = catalog.load_card(card, **source.changes)
    card = replace(card, layers_table=_states(card.layers(), source.outputs))
    golden.write_card(card, folder / "card.json")
    return catalog.load_card(folder)


def _states(shapes: dict[str, Shape], outputs: Sequence[str]) -> dict[str, Shape]:
    """Keep what was exported as an output, if that is more than the embedding: of hundreds of tensors, the layers."""
    return {name: shapes[name] for name in outputs} if len(outputs) > 1 else shapes


def _export(source: Source, path: Path) -> None:
    """Export with free axes; torch would take an axis of length one in the example for fixed."""
    torch = need("torch", extra="convert")
    need("onnxscript", extra="convert")
    axes = {axis: torch.export.Dim(name) for axis, name in enumerate(source.free)}
    with warnings.catch_warnings(), conversion_errors("torch cannot export the model to ONNX"):
        warnings.simplefilter("ignore")  # torch warns about its own code
        torch.onnx.export(
            source.module,
            tuple(source.inputs.values()),
            str(path),
            dynamo=True,
            external_data=False,
            verbose=False,
            input_names=list(source.inputs),
            output_names=source.outputs,
            dynamic_shapes=(tuple(axes for _ in source.inputs),),  # one parameter, *inputs
        )


def compare(card: Card, source: Source) -> None:
    """Check that the embeddings of a card are the source's.

    Parameters
    ----------
    card : Card
        From `write`.
    source : Source
        The model it was converted from.

    Raises
    ------
    ConversionError
        If they differ by more than `TOLERANCE`, or in shape.
    """
    want = source.reference(source.samples, card)
    made = plan.make(card, Device())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)  # samples are meant to be too long, or too small
        have = stream.embed(Samples(source.samples, len(source.samples)), made).rows
    if have.shape != want.shape:
        raise ConversionError(
            f"The source computes rows of shape {want.shape}, the card of shape {have.shape}; nothing was written."
        )
    difference = np.abs(have - want).max(axis=1) / np.abs(want).max()
    if not difference.max() <= TOLERANCE:  # also false for NaN
        worst = int(difference.argmax())
        raise ConversionError(
            f"The card's embedding of {_described(source.samples[worst], worst)} differs from the source's by "
            f"{difference.max():.1e} of the largest number, more than {TOLERANCE:.0e}; nothing was written."
        )


def _described(sample: Any, number: int) -> str:
    """Describe a sample by its text, or by its number and size."""
    if isinstance(sample, str):
        return repr(sample[:40])
    return f"sample {number}, {getattr(sample, 'size', '')} {type(sample).__name__}"


@contextlib.contextmanager
def conversion_errors(what: str) -> Iterator[None]:
    """Raise errors of another library as `ConversionError`, with their message."""
    try:
        yield
    except ConversionError:
        raise
    except Exception as err:
        raise ConversionError(f"{what}: {type(err).__name__}: {err}") from err


def wrapped(forward: Callable[..., Any], *modules: Any) -> Any:
    """Return a module in evaluation mode that calls a function.

    Parameters
    ----------
    forward : callable
        Takes the inputs in order.
    *modules : torch.nn.Module
        Modules whose weights the function uses.

    Returns
    -------
    torch.nn.Module
    """
    torch = need("torch", extra="convert")

    # The ignore is needed where types are checked without torch, and unused with torch.
    class Wrapped(torch.nn.Module):  # type: ignore[misc,name-defined,unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.parts = torch.nn.ModuleList(modules)

        def forward(self, *inputs: Any) -> Any:
            return forward(*inputs)

    return Wrapped().eval()
