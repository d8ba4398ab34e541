"""A graph of several inputs and outputs, run to see the types and shapes of its tensors."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy.typing as npt

from skltransfer._engine.runtime._device import Device
from skltransfer._engine.runtime._open import open_inference_session
from skltransfer._engine.runtime._providers import import_onnxruntime, provider_options

#: NumPy's names of ONNX Runtime's types, where they differ.
TYPES = {"float": "float32", "double": "float64"}


class OpenGraph:
    """A graph on the CPU.

    Parameters
    ----------
    model : path
        A graph without external data.

    Attributes
    ----------
    inputs : tuple of str
        Names of its inputs.
    types : dict of str to str
        NumPy's name of the type of every output.
    """

    def __init__(self, model: os.PathLike[str]) -> None:
        cpu = Device()
        providers = provider_options(cpu, allow_tf32=False, engines=None)
        self._session = open_inference_session(import_onnxruntime(), model, cpu, providers)
        self.inputs = tuple(value.name for value in self._session.get_inputs())
        kinds = {value.name: value.type for value in self._session.get_outputs()}
        names = {name: kind.removeprefix("tensor(").removesuffix(")") for name, kind in kinds.items()}
        self.types = {name: TYPES.get(kind, kind) for name, kind in names.items()}

    def run(self, feeds: Mapping[str, npt.NDArray[Any]], outputs: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
        """Return some of the outputs."""
        return dict(zip(outputs, self._session.run(list(outputs), dict(feeds)), strict=True))
