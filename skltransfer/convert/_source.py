"""What every conversion has in common: export by torch, a card beside the graph, and the comparison that decides."""

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

#: Largest difference between the source's embeddings and the card's, relative to the largest number.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Source:
    """What is known of a model before it is exported.

    Parameters
    ----------
    module : torch.nn.Module
        Takes the inputs in order; gives the embedding, then the states before it.
    inputs : dict of str to torch.Tensor
        An example, of at least two samples.
    outputs : list of str
        Names of what the module gives.
    card : Card
        Without files.
    samples : sequence
        What the two must agree on.
    reference : callable
        The source's own embeddings of samples, prepared in its own way; it is also given the card.
    free : tuple of str
        Names of the axes, from the first on, that may have any length.
    files : dict of str to str
        Content of what lies beside the graph, as ``ROLE.json``.
    changes : dict
        What is known of the card as `catalog.load_card` takes it.
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
    """Export the graph, put the other files beside it, write the card.

    Parameters
    ----------
    source : Source
        What to convert.
    folder : Path
        Empty.

    Returns
    -------
    Card
        As it is found in the folder.
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
    """Export with free axes; the example has two samples of several tokens: no length of it is taken for fixed."""
    torch = need("torch", extra="convert")
    need("onnxscript", extra="convert")
    axes = {axis: torch.export.Dim(name) for axis, name in enumerate(source.free)}
    with warnings.catch_warnings(), refusing("torch cannot export the model to ONNX"):
        warnings.simplefilter("ignore")  # of torch about itself
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
    """Refuse a card whose rows are not the source's.

    Parameters
    ----------
    card : Card
        As `write` gave it.
    source : Source
        Whose reference decides.

    Raises
    ------
    ConversionError
        If they differ by more than `TOLERANCE`, or have another shape.
    """
    want = source.reference(source.samples, card)
    made = plan.make(card, Device())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)  # samples are meant to be too long, or too small
        have = stream.embed(Samples(source.samples, len(source.samples)), made).rows
    if have.shape != want.shape:
        raise ConversionError(f"The source gives rows of shape {want.shape}, the card {have.shape}.")
    difference = np.abs(have - want).max(axis=1) / np.abs(want).max()
    if not difference.max() <= TOLERANCE:  # nor is a NaN
        worst = int(difference.argmax())
        raise ConversionError(
            f"The card's embedding of {_called(source.samples[worst], worst)} differs from the source's by "
            f"{difference.max():.1e} of the largest number, more than {TOLERANCE:.0e}; nothing was written."
        )


def _called(sample: Any, number: int) -> str:
    """Call a sample by its text, or by its number and size."""
    if isinstance(sample, str):
        return repr(sample[:40])
    return f"sample {number}, {getattr(sample, 'size', '')} {type(sample).__name__}"


@contextlib.contextmanager
def refusing(what: str) -> Iterator[None]:
    """Turn whatever another library throws into our error, with its own words."""
    try:
        yield
    except ConversionError:
        raise
    except Exception as err:
        raise ConversionError(f"{what}: {type(err).__name__}: {err}") from err


def wrapped(forward: Callable[..., Any], *modules: Any) -> Any:
    """Make a module in evaluation mode of a function and the modules it uses.

    Parameters
    ----------
    forward : callable
        Takes the inputs in order.
    *modules : torch.nn.Module
        Whose weights it uses.

    Returns
    -------
    torch.nn.Module
    """
    torch = need("torch", extra="convert")

    # torch may be absent where types are checked; where it is not, this is no error to ignore
    class Wrapped(torch.nn.Module):  # type: ignore[misc,name-defined,unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.parts = torch.nn.ModuleList(modules)

        def forward(self, *inputs: Any) -> Any:
            return forward(*inputs)

    return Wrapped().eval()
