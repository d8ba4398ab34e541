"""Numbers: rows of a numeric array, for backbones that take numbers; cast to float32 and otherwise left alone."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from skltransfer._engine.modalities._modality import Modality, Piece, Plain
from skltransfer.cards import ArraySpec, Card, GraphInfo
from skltransfer.errors import CardError

Numbers = npt.NDArray[np.float32]


class Source(NamedTuple):
    """A row that has been read.

    Attributes
    ----------
    data : ndarray, float32
        Contiguous and in native byte order: ONNX Runtime reads the memory as it lies.
    path : None
        Rows have none.
    """

    data: Numbers
    path: str | None = None

    def digest(self) -> bytes:
        """Compute the fingerprint: 16 bytes."""
        shape = hashlib.blake2b(repr(self.data.shape).encode(), digest_size=16).digest()
        return hashlib.blake2b(self.data.data, digest_size=16, person=b"array", salt=shape).digest()


def read(sample: Any) -> Source:
    """Read one row of a checked numeric array."""
    return Source(np.ascontiguousarray(sample, dtype=np.float32))


class ArrayPreparer(Plain):
    """Prepares rows: one piece each, as they are."""

    sizes: ClassVar = {"fused": 1024, "pipelined": 4096}
    read = staticmethod(read)

    def prepare(self, sources: Sequence[Source]) -> list[list[Piece]]:
        """Return each row as its one piece."""
        return [[source.data] for source in sources]

    def probe(self, like: Piece | None) -> npt.NDArray[Any]:
        """Draw three rows of the shape of another."""
        if like is None:
            raise CardError("The graph takes rows of any length; give it at least one, so that its width is known.")
        return np.random.default_rng(0).standard_normal((3, *like.shape)).astype(np.float32)


def complete(card: Card, info: GraphInfo, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that are known: numbers need none."""
    return {**(dataclasses.asdict(card.input) if card.input is not None else {}), **given}


def preprocess(editor: Any, spec: ArraySpec, info: GraphInfo) -> None:
    """Numbers to the backbone's input: a cast."""
    editor.cast(editor.set_input("float32", info.shape[1:]), info.dtype, output=info.input, front=True)


ARRAY = Modality(
    name="array",
    spec=ArraySpec,
    guess=lambda info: True,  # asked last: whatever is neither text nor image
    complete=complete,
    check=lambda spec, info: info.check_single_input(),
    preprocess=preprocess,
    preparer=ArrayPreparer,
    to_tensor=lambda sample, spec: read(sample).data[np.newaxis],
    numeric=True,
)
