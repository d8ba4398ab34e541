"""The protocol of caches, and the cache in memory."""

from __future__ import annotations

import tempfile
import time
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from skltransfer._engine import process
from skltransfer._engine.cache._blocks import BITS, SLOT, Block, Row, Shelf
from skltransfer._engine.cache._limits import Shares
from skltransfer._engine.cache._unkept import Unkept, in_words, recipe_of

#: What Python needs per row besides the numbers, wherever these lie: the key, and its place in a dictionary.
OVERHEAD = 256
#: Seconds after which a claim no longer counts; in a folder, unless its owner has put a row meanwhile.
LEASE = 30.0
#: Seconds for which no file is tried after one could not be written.
REST = 60.0


class Cache(Protocol):
    """Where rows are kept, and who computes which. Every method may be called by any thread.

    The keys of one call of a method are of one recipe.
    """

    @property
    def claims_ahead(self) -> int:
        """How many rows to claim at once, beyond a batch, because a claim takes longer than a batch runs; none: 0."""

    def holds(self, recipe: bytes) -> bool:
        """Return whether there may be rows of a recipe."""

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Row]:
        """Return the rows that are known; they must not be written to."""

    def put(self, rows: Mapping[bytes, Row]) -> None:
        """Keep rows, if they can be kept, and end their claims."""

    def claim(self, keys: Sequence[bytes]) -> set[bytes]:
        """Return those of the keys whose rows the caller is to compute; the others are being computed."""

    def release(self, keys: Collection[bytes]) -> None:
        """End claims whose rows will not come."""

    def expect_end(self) -> None:
        """Begin to finish what a call has put: its last batches are being run."""

    def end_call(self, recipe: bytes, computed: int) -> None:
        """Finish what a call has put, of so many rows it computed, and warn if some could not be kept."""


class CacheInfo(NamedTuple):
    """Content of the cache in memory of a process.

    Attributes
    ----------
    limit, bytes : int
        Bytes of memory it may take, and takes.
    spill_limit, spilled : int
        Bytes of disk its files may take, and take.
    rows : int
        Number of rows in both.
    hits, misses : int
        Rows that were found, and rows that had to be computed, since the process began or was `reset`.
    """

    limit: int
    bytes: int
    spill_limit: int
    spilled: int
    rows: int
    hits: int
    misses: int


class MemoryCache:
    """Rows in memory; beyond `limit` bytes in files without a name; beyond these it keeps what it has.

    When memory is full, rows of the recipe unused for longest move to a file. When the files are full, rows of other
    recipes go, those of the recipe unused for longest first; rows of one recipe never go for each other. So a scan that
    is larger than all finds the same part of its rows each time, where one that drops the oldest row would find none.

    Parameters
    ----------
    limit, spill_limit : int, optional
        Bytes, the overhead of Python included; default: as set, else shares of this machine, see `_limits`.
    """

    claims_ahead = 0

    def __init__(self, limit: int | None = None, spill_limit: int | None = None) -> None:
        self.limit, self.spill_limit = limit, spill_limit
        self._shares = Shares()
        self._claims: dict[bytes, float] = {}
        self._lock = process.lock()
        self._begin()
        process.register(self)

    def _begin(self) -> None:
        """Hold nothing."""
        #: Bytes in memory and in files; rows found, and rows put.
        self.bytes = self.spilled = self.hits = self.misses = 0
        self._index: dict[bytes, int] = {}
        #: Recipes, the one used last at the end.
        self._shelves: OrderedDict[bytes, Shelf] = OrderedDict()
        #: Blocks by number, and the rows of those in memory.
        self._blocks: dict[int, Block] = {}
        self._rows: dict[int, Row | None] = {}
        self._begun = 0
        self._unkept = Unkept()
        self._rests_until, self._refused = 0.0, ""

    def holds(self, recipe: bytes) -> bool:
        """Return whether there are rows of a recipe."""
        return recipe in self._shelves

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Row]:
        """Return the rows that are known; they cannot be written to."""
        with self._lock:
            find, rows = self._index.get, self._rows
            if self.spilled:
                known = self._get_spilled(keys)
            else:
                known = {key: rows[at >> BITS][at & SLOT] for key in keys if (at := find(key)) is not None}  # type: ignore[index]  # none is in a file
            if known:
                self.hits += len(known)
                if len(self._shelves) > 1:
                    self._shelves.move_to_end(recipe_of(next(iter(known))))
            return known

    def put(self, rows: Mapping[bytes, Row]) -> None:
        """Keep copies of rows, and end their claims."""
        with self._lock:
            self._end_claims(rows)
            self.misses += len(rows)
            limit, spill_limit = self._limits()
            for key, row in rows.items():
                if key not in self._index and not self._add(key, row, limit, spill_limit):
                    self._unkept.add(recipe_of(key), row.nbytes + OVERHEAD)

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

    def expect_end(self) -> None:
        """Do nothing: what was put is kept."""

    def end_call(self, recipe: bytes, computed: int) -> None:
        """Warn if rows of a recipe could not be kept, once."""
        self._unkept.say(recipe, computed, self._why_full)

    def info(self) -> CacheInfo:
        """Count what is there."""
        with self._lock:
            return CacheInfo(
                *(self._limits()[0], self.bytes, self._limits()[1], self.spilled),
                *(len(self._index), self.hits, self.misses),
            )

    def after_fork(self) -> None:
        """Drop the claims of the parent's threads, which the child does not have; rows stay."""
        self._claims = {}

    def clear(self) -> None:
        """Forget every row, and close the files."""
        with self._lock:
            self._begin()

    reset = clear

    def __len__(self) -> int:
        return len(self._index)

    def _end_claims(self, keys: Iterable[bytes]) -> None:
        for key in keys:
            self._claims.pop(key, None)

    def _get_spilled(self, keys: Sequence[bytes]) -> dict[bytes, Row]:
        """Return the rows that are known, some of which are in files: neighbors are read at once."""
        known, late = {}, []
        for key in keys:
            if (at := self._index.get(key)) is None:
                continue
            if (rows := self._rows[at >> BITS]) is not None:
                known[key] = rows[at & SLOT]
            else:
                late.append((at, key))
        late.sort()
        start = 0
        for end, (at, _) in enumerate(late, 1):
            if end == len(late) or late[end][0] != at + 1:
                first = late[start][0]
                rows = self._blocks[first >> BITS].read(first & SLOT, end - start)
                if rows is not None:
                    known |= {key: row for (_, key), row in zip(late[start:end], rows, strict=True)}
                start = end
        return known

    # -----------------------------------------------------------------------------------------------------------------
    # Room

    def _limits(self) -> tuple[int, int]:
        """Return the bytes that memory and files may hold."""
        return (
            self._shares.memory(self.bytes) if self.limit is None else self.limit,
            self._shares.spill(self.spilled) if self.spill_limit is None else self.spill_limit,
        )

    def _add(self, key: bytes, row: Row, limit: int, spill_limit: int) -> bool:
        """Keep a copy of a row, if there is room or can be made."""
        recipe, size = recipe_of(key), row.nbytes + OVERHEAD
        if recipe in self._shelves:
            self._shelves.move_to_end(recipe)
        while self.bytes + size > limit:
            if size > limit or not (self._spill(spill_limit) or self._evict(recipe)):
                return False
        try:
            block = self._shelves.setdefault(recipe, Shelf()).block_for(row, self._begun)
        except MemoryError:
            return False
        if block.number == self._begun:
            self._begun += 1
            self._blocks[block.number], self._rows[block.number] = block, block.rows
        self._index[key] = block.add(key, row)
        self.bytes += size
        return True

    def _spill(self, spill_limit: int) -> bool:
        """Move the oldest block of the recipe unused for longest to a file, if it fits."""
        oldest = ((shelf, block) for shelf in self._shelves.values() if (block := shelf.oldest()) is not None)
        shelf, block = next(oldest, (None, None))
        if shelf is None or block is None or self.spilled + block.nbytes > spill_limit:
            return False
        if time.monotonic() < self._rests_until:
            return False
        try:
            shelf.spill(block)
        except OSError as err:
            self._rests_until, self._refused = time.monotonic() + REST, f"; it cannot be written: {err}"
            return False
        self._rows[block.number] = None
        self.bytes -= block.nbytes
        self.spilled += block.nbytes
        return True

    def _evict(self, recipe: bytes) -> bool:
        """Drop rows of the recipe that was unused for longest; return False if there is no other than the given."""
        other = next(iter(self._shelves), recipe)
        if other == recipe:
            return False
        shelf = self._shelves[other]
        for block in shelf.pop_newest():
            self._drop(block, other)
        if not shelf.memory and not shelf.spilled:
            del self._shelves[other]
        return True

    def _drop(self, block: Block, recipe: bytes) -> None:
        del self._blocks[block.number], self._rows[block.number]
        for key in block.keys(recipe):
            del self._index[key]
        self.bytes -= block.count * OVERHEAD
        if block.file is None:
            self.bytes -= block.nbytes
        else:
            self.spilled -= block.nbytes

    def _why_full(self, missing: int) -> str:
        """Return what is full and what to type, for rows of so many bytes that were not kept."""
        limit, spill_limit = self._limits()
        return (
            f"cache='memory' holds {in_words(self.bytes)} of {in_words(limit)} in memory, and {in_words(self.spilled)} "
            f"of {in_words(spill_limit)} in a file in {tempfile.gettempdir()!r}{self._refused}. To keep them all, type "
            f"skltransfer.set_config(cache_memory={in_words(limit + missing)!r}), or cache_spill="
            f"{in_words(spill_limit + missing)!r} if the disk has room, or give a folder: PretrainedEmbedder(..., "
            "cache='rows')."
        )
