"""Facts of a graph: names, types and shapes, read without running it."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from skltransfer.errors import CardError

#: Lengths of axes, None for an unknown one.
Shape = tuple[int | None, ...]
#: Parts of the names of inputs that come beside token ids.
BESIDE = ("mask", "type", "segment", "position")
#: Layers that a message names.
NAMED = 5


class InputInfo(NamedTuple):
    """One input of a graph.

    Attributes
    ----------
    dtype : str
        NumPy's name of its type; empty if the graph does not say.
    shape : tuple of int or None
        Every axis.
    names : tuple of str
        What the graph calls its free axes; empty for one without a name.
    """

    dtype: str
    shape: Shape
    names: tuple[str, ...]


@dataclass(frozen=True)
class GraphInfo:
    """Facts of a graph: names, types and shapes, read without running it.

    Parameters
    ----------
    input : str
        Name of its input; of several, the first that holds samples.
    dtype : str
        NumPy's name of the input's type.
    shape : tuple of int or None
        Shape of the input, the batch axis first.
    output : str
        Its first output.
    layers : dict of str to tuple
        Every floating-point tensor with a batch axis, with its shape after that axis.
    others : dict of str to str
        Names and types of further inputs, such as the attention mask of texts.
    features : str or None
        The input of the last operator with weights, a classifier's if the graph ends in one; None if not a layer.
    channels : dict of str to int
        Axis of the channels, the batch axis being 0, of layers and inputs with more than one axis after it. Those whose
        operators do not tell are missing.
    inputs : dict of str to InputInfo
        Every input.
    needs : dict of str to tuple
        The inputs that a layer is computed of.
    refused : dict of str to str
        Why a tensor is no layer.
    unknown : tuple of str
        Tensors whose type or number of axes only a run can tell.
    single : tuple of str
        Layers that the graph computes for one sample at a time, whatever the length of its batch axis.
    bare : tuple of str
        Layers that are the row of a single sample, without a batch axis.
    outputs : tuple of str
        All outputs.
    positions : int or None
        Tokens that its table of positions has rows for; None if it has no such table.
    depths : dict of str to int
        Number of channels that weights expect of inputs, by the name of the input.
    """

    input: str
    dtype: str
    shape: Shape
    output: str
    layers: dict[str, Shape]
    others: dict[str, str] = field(default_factory=dict)
    features: str | None = None
    channels: dict[str, int] = field(default_factory=dict)
    inputs: dict[str, InputInfo] = field(default_factory=dict)
    needs: dict[str, tuple[str, ...]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    single: tuple[str, ...] = ()
    bare: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    positions: int | None = None
    depths: dict[str, int] = field(default_factory=dict)

    @property
    def frozen_batch(self) -> int | None:
        """Batch size the graph was exported with; None if it is free."""
        return self.shape[0]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the free axes of its input."""
        return self.inputs[self.input].names

    def at(self, layers: Sequence[str], constants: Collection[str] = ()) -> GraphInfo:
        """Return the facts of the part that some layers need: inputs behind them, or fixed by the card, do not count.

        Parameters
        ----------
        layers : sequence of str
            Names.
        constants : collection of str
            Inputs that are fixed.

        Raises
        ------
        CardError
            If the part has an input without type or shape.
        """
        needed = {name for layer in layers for name in self.needs.get(layer, self.inputs)} - set(constants)
        inputs = {name: info for name, info in self.inputs.items() if name in needed}
        if not inputs and constants:
            raise CardError(
                f"constants fix every input that {', '.join(layers)} needs ({', '.join(constants)}); one must hold "
                "samples."
            )
        if not inputs:
            return self
        main = main_input(inputs)
        if bad := [name for name, info in inputs.items() if not info.dtype]:
            raise CardError(f"The graph has no type or no shape for its input {bad[0]!r}; export it again.")
        others = {name: info.dtype for name, info in inputs.items() if name != main}
        return dataclasses.replace(self, input=main, dtype=inputs[main].dtype, shape=inputs[main].shape, others=others)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> GraphInfo:
        """Rebuild from ``dataclasses.asdict`` that went through JSON."""
        tuples = {name: tuple(data[name]) for name in ("shape", "unknown", "single", "bare", "outputs")}
        tables = {name: {key: tuple(value) for key, value in data[name].items()} for name in ("layers", "needs")}
        inputs = {
            name: InputInfo(dtype, tuple(shape), tuple(names)) for name, (dtype, shape, names) in data["inputs"].items()
        }
        return cls(**{**data, **tuples, **tables, "inputs": inputs})

    def check_single_input(self) -> None:
        """Refuse a graph with several inputs.

        Raises
        ------
        CardError
            With their names, and the two ways out.
        """
        if not self.others:
            return
        listed = ", ".join(f"{name} {_shown(self.inputs[name])}" for name in (self.input, *self.others))
        fixed = ", ".join(f"{name!r}: 0" for name in self.others)
        options = " ".join(f"--constant {name}=0" for name in self.others)
        alone = [name for name in (*self.outputs, *reversed(self.layers)) if self.needs.get(name) == (self.input,)]
        some = ", ".join(list(dict.fromkeys(alone))[:NAMED])
        raise CardError(
            f"The graph takes several inputs ({listed}); one is expected. Fix those that are the same for every sample "
            f"to what the model expects: load_card(FILE, constants={{{fixed}}}), or skltransfer models card FILE "
            f"{options}" + (f"; or choose a layer that needs {self.input!r} alone, such as {some}." if some else ".")
        )


def _shown(info: InputInfo) -> str:
    """Format the shape and type of an input."""
    names = (*info.names, *[""] * len(info.shape))
    axes = ", ".join(str(n) if n is not None else name or "?" for n, name in zip(info.shape, names, strict=False))
    return f"({axes}) of {info.dtype or 'unknown type'}"


def main_input(inputs: Mapping[str, InputInfo]) -> str:
    """Return the name of the input that holds samples: token ids, else the first with a batch axis."""
    wide = [name for name, info in inputs.items() if info.shape] or list(inputs)
    own = [name for name in wide if not any(part in name for part in BESIDE)] or wide
    return next((name for name in own if name.endswith("ids")), own[0])
