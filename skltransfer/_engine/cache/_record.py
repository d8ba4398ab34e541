"""The form of a row on disk, which explains itself and shows when it is damaged.

::

    SKR3 | checksum, 4 bytes | type, 1 | axes, 1 | bytes of the numbers, 8 | length of each axis, 4 | numbers

Integers and numbers are little-endian; the checksum (CRC-32) is over the key and everything behind itself. It finds
damage, not forgery: whoever may write to a folder is trusted. BLAKE2b takes four times as long (measured). To change
the form, change `MAGIC`: records of another form are misses and are computed again. No pickle is ever read or written.
"""

from __future__ import annotations

import math
import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from skltransfer._engine import process

MAGIC = b"SKR3"
CHECKSUM = 4
HEAD = struct.Struct("<BBQ")
#: Types of numbers by their code.
TYPES: dict[int, np.dtype[Any]] = {0: np.dtype("<f4"), 1: np.dtype("<f2")}
CODES = {dtype: code for code, dtype in TYPES.items()}
#: Axes a row may have.
MOST_AXES = 8


def encode(key: bytes, row: npt.NDArray[Any]) -> bytes:
    """Write a record.

    Parameters
    ----------
    key : bytes
        Fingerprints of sample and recipe.
    row : ndarray, float32 or float16
        Of any shape.
    """
    head = _head(row.dtype, row.shape)
    numbers = (row if row.dtype in CODES else row.astype(row.dtype.newbyteorder("<"))).tobytes()
    return b"".join((MAGIC, _checksum(key, head, numbers), head, numbers))


@process.memo(256)
def _head(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """Return what stands between checksum and numbers."""
    little = dtype.newbyteorder("<")
    return HEAD.pack(CODES[little], len(shape), math.prod(shape) * dtype.itemsize) + struct.pack(
        f"<{len(shape)}I", *shape
    )


def decode(key: bytes, record: object) -> npt.NDArray[Any] | None:
    """Read a record, or return None if anything about it is not as it was written."""
    start = len(MAGIC) + CHECKSUM
    if not isinstance(record, bytes) or not record.startswith(MAGIC) or len(record) < start + HEAD.size:
        return None
    code, axes, length = HEAD.unpack_from(record, start)
    end = start + HEAD.size + 4 * axes
    if code not in TYPES or axes > MOST_AXES or len(record) != end + length:
        return None
    shape = struct.unpack_from(f"<{axes}I", record, start + HEAD.size)
    head, numbers = record[start:end], record[end:]
    if math.prod(shape) * TYPES[code].itemsize != length or _checksum(key, head, numbers) != record[len(MAGIC) : start]:
        return None
    return np.frombuffer(numbers, dtype=TYPES[code]).reshape(shape)


def _checksum(key: bytes, head: bytes, numbers: bytes) -> bytes:
    return zlib.crc32(numbers, zlib.crc32(key + head)).to_bytes(CHECKSUM, "little")
