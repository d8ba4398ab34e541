"""The protocol of caches, and the cache in memory."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from skltransfer._engine import process

Row = npt.NDArray[np.float32]

#: Bound of the memory cache of a process.
MEMORY_BYTES = 256 * 2**20
#: What Python needs per row besides the numbers.
OVERHEAD = 256
#: Seconds after which a claim no longer counts; in a folder, unless its owner has put a row meanwhile.
LEASE = 30.0


class Cache(Protocol):
    """Where rows are kept, and who computes which. Every method may be called by any thread."""

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Row]:
        """Return the rows that are known."""

    def put(self, rows: Mapping[bytes, Row]) -> None:
        """Keep rows, if they can be kept, and end their claims."""

    def claim(self, keys: Sequence[bytes]) -> set[bytes]:
        """Return those of the keys whose rows the caller is to compute; the others are being computed."""

    def release(self, keys: Collection[bytes]) -> None:
        """End claims whose rows will not come."""


class MemoryCache:
    """Rows in memory; beyond `limit` bytes the one unused for longest goes first.

    Parameters
    ----------
    limit : int
        Bytes, the overhead of Python included.
    """

    def __init__(self, limit: int = MEMORY_BYTES) -> None:
        self.limit = limit
        self.bytes = 0
        self._rows: OrderedDict[bytes, Row] = OrderedDict()
        self._claims: dict[bytes, float] = {}
        self._lock = process.lock()
        process.register(self)

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Row]:
        """Return the rows that are known; they must not be written to."""
        with self._lock:
            known = {key: self._rows[key] for key in keys if key in self._rows}
            for key in known:
                self._rows.move_to_end(key)
            return known

    def put(self, rows: Mapping[bytes, Row]) -> None:
        """Keep copies of rows, and end their claims."""
        with self._lock:
            self._end_claims(rows)
            for key, row in rows.items():
                if key not in self._rows:
                    self._rows[key] = row.copy()
                    self.bytes += row.nbytes + OVERHEAD
            while self.bytes > self.limit:
                _, row = self._rows.popitem(last=False)
                self.bytes -= row.nbytes + OVERHEAD

    def claim(self, keys: Sequence[bytes]) -> set[bytes]:
        """Return those of the keys that no other thread is computing."""
        with self._lock:
            now = time.monotonic()
            free = {key for key in keys if self._claims.get(key, now) <= now}
            self._claims.update(dict.fromkeys(free, now + LEASE))
            return free

    def release(self, keys: Collection[bytes]) -> None:
        """End claims whose rows will not come."""
        with self._lock:
            self._end_claims(keys)

    def _end_claims(self, keys: Iterable[bytes]) -> None:
        for key in keys:
            self._claims.pop(key, None)

    def after_fork(self) -> None:
        """Drop the claims of the parent's threads, which the child does not have; rows stay."""
        self._claims = {}

    def clear(self) -> None:
        """Forget every row."""
        with self._lock:
            self._rows.clear()
            self.bytes = 0

    reset = clear

    def __len__(self) -> int:
        return len(self._rows)
