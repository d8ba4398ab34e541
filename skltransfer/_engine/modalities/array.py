"""Numbers: rows of a numeric array, for backbones that take numbers. Nothing is done to them but float32."""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from skltransfer.cards import ArraySpec

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
        """Fingerprint the content: 16 bytes."""
        shape = hashlib.blake2b(repr(self.data.shape).encode(), digest_size=16).digest()
        return hashlib.blake2b(self.data.data, digest_size=16, person=b"array", salt=shape).digest()


def read(sample: Any) -> Source:
    """Read one row of a checked numeric array."""
    return Source(np.ascontiguousarray(sample, dtype=np.float32))


def prepare(source: Source, spec: ArraySpec) -> Numbers:
    """Give the row as it is."""
    return source.data


def probe(spec: ArraySpec, like: Numbers) -> Numbers:
    """Make three rows, of the shape of another, to try a graph on."""
    return np.random.default_rng(0).standard_normal((3, *like.shape)).astype(np.float32)
