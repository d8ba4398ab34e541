"""Facts of a graph: names, types and shapes, read without running it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from skltransfer.errors import CardError

#: Lengths of axes, None for an unknown one.
Shape = tuple[int | None, ...]


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
    outputs : tuple of str
        All outputs.
    positions : int or None
        Tokens that its table of positions has rows for; None if it has no such table.
    """

    input: str
    dtype: str
    shape: Shape
    output: str
    layers: dict[str, Shape]
    others: dict[str, str] = field(default_factory=dict)
    features: str | None = None
    outputs: tuple[str, ...] = ()
    positions: int | None = None

    @property
    def frozen_batch(self) -> int | None:
        """Batch size the graph was exported with; None if it is free."""
        return self.shape[0]

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> GraphInfo:
        """Rebuild from ``dataclasses.asdict`` that went through JSON."""
        layers = {name: tuple(shape) for name, shape in data["layers"].items()}
        tuples = {"shape": tuple(data["shape"]), "outputs": tuple(data["outputs"])}
        return cls(**{**data, **tuples, "layers": layers})

    def check_single_input(self) -> None:
        """Refuse a graph with several inputs.

        Raises
        ------
        CardError
            With their names.
        """
        if self.others:
            raise CardError(
                f"The graph takes several inputs ({self.input}, {', '.join(self.others)}); one is expected."
            )
