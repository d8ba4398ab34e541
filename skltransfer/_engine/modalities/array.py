"""Numbers: rows of a numeric array, in the type of the graph's input, and otherwise left alone."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from skltransfer._engine.modalities._modality import Modality, Numbers, Piece, Plain
from skltransfer.cards import DTYPES, ArraySpec, Card, GraphInfo
from skltransfer.errors import CardError

#: Types that are prepared as they are; a graph of another one is given float32, which its first node casts.
OWN = frozenset(DTYPES) - {"auto"}


class Source(NamedTuple):
    """A row that has been read.

    Attributes
    ----------
    data : ndarray
        Contiguous and in native byte order: ONNX Runtime reads the memory as it lies.
    path : None
        Rows have none.
    """

    data: npt.NDArray[Any]
    path: str | None = None

    def digest(self) -> bytes:
        """Compute the fingerprint: 16 bytes."""
        shape = hashlib.blake2b(repr(self.data.shape).encode(), digest_size=16).digest()
        return hashlib.blake2b(self.data.data, digest_size=16, person=b"array", salt=shape).digest()


def read(sample: Any) -> Source:
    """Read one row of an array that `to_numbers` has returned."""
    data = np.asarray(sample)
    return Source(np.ascontiguousarray(data, data.dtype.newbyteorder("=")))


def to_numbers(X: npt.NDArray[Any], spec: ArraySpec) -> npt.NDArray[Any]:
    """Return numbers in the type the graph takes.

    Parameters
    ----------
    X : ndarray
        Finite numbers.
    spec : ArraySpec
        Of the card.

    Returns
    -------
    ndarray
        Of the same shape.

    Raises
    ------
    ValueError
        If the graph takes whole numbers and X has others, or larger ones.
    """
    dtype = np.dtype(spec.numbers)
    if dtype.kind == "f":
        return X.astype(dtype, copy=False)
    with np.errstate(invalid="ignore"):
        whole = X.astype(dtype)
    if (wrong := np.argwhere(_changed(whole, X))).size:
        place = tuple(map(int, wrong[0]))
        raise ValueError(
            f"The graph takes {dtype}, and X{list(place)} is {X[place]!r}, which is none; give numbers it can hold."
        )
    return whole


def _changed(whole: npt.NDArray[Any], X: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Mark numbers that a conversion changed; compared as they are, for float64 holds no large integers."""
    changed = (whole.astype(X.dtype) != X) | ((whole > 0) != (X > 0))
    return np.asarray(changed, np.bool_)


def _type_of(spec: ArraySpec) -> str:
    """Return the type of numbers, as scikit-learn's validation takes it: whole numbers keep their own at first."""
    return spec.numbers if np.dtype(spec.numbers).kind == "f" else "numeric"


class ArrayPreparer(Plain):
    """Prepares rows: one piece each, as they are."""

    sizes: ClassVar = {"fused": 1024, "pipelined": 4096}

    def read(self, sample: Any) -> Source:
        """Read one row of a checked numeric array."""
        return read(sample)

    def prepare(self, sources: Sequence[Source]) -> list[list[Piece]]:
        """Return each row as its one piece."""
        return [[source.data] for source in sources]

    def probe(self, like: Sequence[Piece] | None) -> npt.NDArray[Any]:
        """Return three rows to try a graph on: those at hand and, if they are fewer, others that have their numbers.

        Numbers drawn from nowhere need not be numbers that a graph takes: ids of a table that has no such row, values
        that have no logarithm.
        """
        if like is None or not len(like):
            raise CardError("The graph takes rows of any length; give it at least one, so that its width is known.")
        rows: dict[bytes, Piece] = {}
        smaller = [like[0] / 2] if like[0].dtype.kind == "f" else []  # alone it has another range than with others
        for row in (*smaller, *like[:LOOKED_AT], *_parts(like[0])):
            rows.setdefault(row.tobytes(), row)
        found = list(rows.values())[:TRIED]
        return np.stack(found + [found[0]] * (TRIED - len(found)))

    def strangers(self, samples: npt.NDArray[Any], like: Sequence[Piece] | None) -> npt.NDArray[Any] | None:
        """Draw three other rows, where any number will do: rows at hand may well be the same to a graph."""
        if samples.dtype.kind != "f":
            return samples[:0]
        return np.random.default_rng(0).standard_normal(samples.shape).astype(samples.dtype)


#: Rows that a graph is tried on, and rows at hand that are looked at to find different ones.
TRIED, LOOKED_AT = 3, 64


def _parts(row: Piece) -> list[Piece]:
    """Return rows that have parts of the numbers of one: halves of floating-point numbers, zero for other ones."""
    early = np.arange(row.size).reshape(row.shape) < row.size / 2
    less = row / 2 if row.dtype.kind == "f" else np.zeros_like(row)
    parts = [np.where(early, row, less), np.where(early, less, row)]
    parts += [less, row + 1, row + 2] if row.dtype.kind == "f" else [less]
    return [part.astype(row.dtype) for part in parts]


def complete(card: Card, info: GraphInfo, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of the input; its type is the graph's."""
    known = dataclasses.asdict(card.input) if card.input is not None else {}
    dtype = info.dtype if info.dtype in OWN else "float32"
    if known.get("dtype", "auto") == "auto":
        known["dtype"] = dtype
    return {**known, **given} if given.get("dtype") != "auto" else {**known, **given, "dtype": dtype}


def signs(info: GraphInfo, files: Collection[str]) -> list[str]:
    """List the sign that a graph takes numbers: fractions in another form than that of images. Else it is the rest."""
    fractions = np.dtype(info.dtype).kind == "f" and len(info.shape) != 4
    return [f"floating-point numbers in {len(info.shape)} axes"] * fractions


def check(spec: ArraySpec, info: GraphInfo) -> None:
    """Refuse a graph of several inputs, of text, or of whole numbers where the card says others.

    Raises
    ------
    CardError
        With the types.
    """
    info.check_single_input()
    if np.dtype(info.dtype).kind not in "fiub":
        raise CardError(f"The graph's input {info.input!r} holds {info.dtype}; numbers are expected.")
    if spec.settled and np.dtype(info.dtype).kind in "iub" and np.dtype(spec.numbers).kind == "f":
        raise CardError(
            f"The graph's input {info.input!r} holds {info.dtype}, and input.dtype of the card is {spec.dtype!r}: its "
            f"fractions would be cut off; set it with load_card(FILE, dtype={info.dtype!r})."
        )


def preprocess(editor: Any, spec: ArraySpec, info: GraphInfo) -> None:
    """Numbers to the backbone's input: a cast, if it is of another type."""
    dtype = spec.numbers if spec.settled else info.dtype if info.dtype in OWN else "float32"
    editor.cast(editor.set_input(dtype, info.shape[1:]), info.dtype, output=info.input, front=True)


ARRAY = Modality(
    name="array",
    spec=ArraySpec,
    signs=signs,
    complete=complete,
    check=check,
    preprocess=preprocess,
    preparer=ArrayPreparer,
    to_tensor=lambda sample, spec: np.asarray(read(sample).data[np.newaxis], spec.numbers),
    numbers=Numbers(_type_of, to_numbers),
    prepared="arrays",
    explain=lambda spec: f"Pass the numbers as {spec.numbers}, samples first, as the pipeline took them.",
)
