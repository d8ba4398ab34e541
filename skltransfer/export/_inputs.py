"""Inputs of the file: what each takes of a sample, and the tensors of samples to compare with."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from skltransfer._engine import samples
from skltransfer.errors import ExportError, Unreadable

if TYPE_CHECKING:
    from skltransfer._engine.plan import Plan
    from skltransfer.export._forms import Form


class Input(NamedTuple):
    """An input of the file.

    Attributes
    ----------
    name : str
        In the graph.
    column : str, int or None
        Of X; None if X is one column of samples.
    dtype : str
        NumPy's name of its type; ``"str"`` for strings.
    shape : tuple of int, str or None
        All axes.
    plan : Plan or None
        Of the backbone whose samples it takes; None for a column of numbers or strings.
    form : Form or None
        In which samples come as they are; None: prepared.
    """

    name: str
    column: Any
    dtype: str
    shape: tuple[int | str | None, ...]
    plan: Plan | None = None
    form: Form | None = None

    @property
    def key(self) -> tuple[Any, ...]:
        """Key by which two inputs are the same: the column, and how its samples are prepared."""
        if self.plan is None:
            return (self.column, self.dtype)
        tokenizer = {role: digest for role, digest in self.plan.digests.items() if role in self.plan.modality.needs}
        return (self.column, self.plan.recipe.input, tuple(tokenizer.items()))

    def pieces(self, X: Any) -> Sequence[Any]:
        """Return the prepared samples of X, one by one."""
        values = column(X, self.column)
        if self.plan is None:
            kind = object if self.dtype == "str" else np.dtype(self.dtype)
            return [np.asarray([value], kind) for value in values]
        if self.form is not None:
            return list(samples.unpack(values).items)
        return _prepared(self.plan, values)

    def batch(self, pieces: Sequence[Any]) -> npt.NDArray[Any]:
        """Stack prepared samples."""
        if self.form is not None:
            return self.form.stack(pieces)
        return np.stack(pieces) if self.plan is None else self.plan.preparer().collate(pieces)


def column(X: Any, name: Any) -> Any:
    """Return a column of a frame or array, by name or position; X itself if it is one column."""
    if name is None:
        return X
    if hasattr(X, "iloc") and not isinstance(name, str):
        return X.iloc[:, name]
    if hasattr(X, "columns"):
        return X[name]
    return np.asarray(X)[:, name]


def _prepared(plan: Plan, values: Any) -> list[Any]:
    numbers = plan.modality.numbers
    if numbers is not None:
        return list(numbers.convert(np.asarray(values, numbers.dtype(plan.recipe.input)), plan.recipe.input))
    preparer, found = plan.preparer(), []
    for index, sample in enumerate(samples.unpack(values).items):
        try:
            (piece,) = preparer.prepare([preparer.read(sample)])[0]
        except Unreadable as err:
            raise ExportError(f"Sample {index} cannot be read: {err}. Pass samples that can.") from err
        found.append(piece)
    return found


def named(wanted: str, taken: Iterable[str]) -> str:
    """Return a name for an input or output that is not taken, without characters that other tools refuse."""
    name = re.sub(r"\W", "_", wanted) or "column"
    taken, number = set(taken), 2
    free = name
    while free in taken:
        free, number = f"{name}_{number}", number + 1
    return free
