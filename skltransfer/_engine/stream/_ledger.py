"""Who computes which row, and for whom: duplicates, known rows, claims."""

from __future__ import annotations

from collections.abc import Iterable, Set
from typing import Any

import numpy as np

from skltransfer._engine.cache import Cache
from skltransfer._engine.plan import Plan
from skltransfer._engine.stream._claims import Claims
from skltransfer._engine.stream._work import Item


class Awaited:
    """Samples whose rows are on their way: what comes twice is run once."""

    def __init__(self) -> None:
        self._keys: set[bytes] = set()
        #: Further indices that wait for a key. Few have any: the garbage collector would look at a list for each key
        #: again and again.
        self._twins: dict[bytes, list[int]] = {}

    def enter(self, items: list[Item]) -> list[Item]:
        """Let items wait; return those that are the first with their key."""
        keys = {item.key for item in items}
        if len(keys) == len(items) and keys.isdisjoint(self._keys):
            self._keys |= keys
            return items
        return [item for item in items if self._is_first(item)]

    def _is_first(self, item: Item) -> bool:
        if item.key in self._keys:
            self._twins.setdefault(item.key, []).append(item.index)
            return False
        self._keys.add(item.key)
        return True

    def take(self, item: Item) -> list[int]:
        """Return the indices that wait for the row of an item, once."""
        self._keys.discard(item.key)
        return [item.index, *self._twins.pop(item.key, ())]

    def spread(self, rows: dict[int, Any], items: list[Item], keys: list[bytes]) -> dict[int, Any]:
        """Return the rows of items by all indices that wait for them."""
        self._keys.difference_update(keys)
        if self._twins:
            rows |= {twin: rows[item.index] for item in items for twin in self._twins.pop(item.key, ())}
        return rows


class Ledger:
    """The rows of one call.

    Without a cache samples have no keys: each is its own.

    Parameters
    ----------
    plan : Plan
        What is run.
    cache : Cache or None
        Where rows are kept, and who computes which is known.

    Attributes
    ----------
    cached : bool
        Whether there is one.
    """

    def __init__(self, plan: Plan, cache: Cache | None) -> None:
        self._plan, self._cache = plan, cache
        self.cached = cache is not None
        self._shape = None if plan.ragged else plan.shape
        self._wider = _kept(plan.wider, cache)
        self._awaited = Awaited()
        #: Returns the indices that wait for an item's row, once.
        self.indices = self._awaited.take
        self._claims = None if cache is None else Claims(cache)
        #: Rows that were computed and put into the cache.
        self._computed = 0

    def known(self, items: list[Item], *, again: bool = False) -> dict[bytes, Any]:
        """Return rows the cache has, by themselves or, at first, as parts of wider ones, if they fit."""
        if self._cache is None or not items:
            return {}
        plan, wider, rows = self._plan, self._wider, self._cache.get([item.key for item in items])
        if plan.view is not None:
            rows = {key: plan.take(row) for key, row in rows.items()}
        if wider is not None and not again and len(rows) < len(items):
            own, other = plan.recipe.key.encode(), wider.recipe.key.encode()
            asked = {item.key.removesuffix(own) + other: item.key for item in items if item.key not in rows}
            rows |= {asked[key]: wider.take(row) for key, row in self._cache.get([*asked]).items()}
        return {key: row for key, row in rows.items() if row.shape == self._shape or plan.fits(row)}

    def enter(self, items: list[Item]) -> tuple[list[Item], dict[int, Any]]:
        """Enter items that were fingerprinted; return those to compute, and rows that are known with their indices."""
        if not (known := self.known(items)):
            return self._awaited.enter(items), {}
        placed = {item.index: known[item.key] for item in items if item.key in known}
        return self._awaited.enter([item for item in items if item.key not in known]), placed

    def claim(self, items: list[Item]) -> tuple[list[Item], list[Item]]:
        """Return the items that are ours to compute, and those that others compute."""
        return (items, []) if self._claims is None else self._claims.claim(items)

    def claim_window(self, items: list[Item]) -> None:
        """Claim items whose batches are not cut yet, where that is done at once; see `Claims.claim_window`."""
        if self._claims is not None:
            self._claims.claim_window(items)

    def ahead(self, batches: list[list[Item]], waiting: list[Item]) -> Iterable[list[Item]]:
        """Return batches to claim one after the other, before those that wait; see `Claims.ahead`."""
        return batches if self._claims is None else self._claims.ahead(batches, waiting)

    def settle(self, items: list[Item]) -> tuple[list[Item], dict[int, Any]]:
        """Look entered items up once more: others may have computed them since. Return as `enter` does."""
        if not (known := self.known(items, again=True)):
            return items, {}
        self.release(known.keys())
        placed = {index: known[item.key] for item in items if item.key in known for index in self.indices(item)}
        return [item for item in items if item.key not in known], placed

    def keep(self, items: list[Item], rows: Iterable[Any], *, finite: bool = True) -> dict[int, Any]:
        """Put computed rows into the cache, finite ones only; return what is wanted of them, by index."""
        rows = list(rows)
        of_items = rows if self._plan.view is None else map(self._plan.view.take, rows)
        wanted = {item.index: row for item, row in zip(items, of_items, strict=True)}
        if self._cache is None or self._claims is None:
            return wanted
        keys = [item.key for item in items]
        kept = {key: row for key, row in zip(keys, rows, strict=True) if finite or np.isfinite(row).all()}
        self._cache.put(kept)
        self._computed += len(kept)
        if len(kept) < len(keys):
            self.release({*keys} - kept.keys())
        self._claims.end(keys)
        return self._awaited.spread(wanted, items, keys)

    def expect_end(self) -> None:
        """Begin to finish what was put: the last batches are being run."""
        if self._cache is not None:
            self._cache.expect_end()

    def release(self, keys: Set[bytes] | None = None) -> None:
        """End claims whose rows will not come; by default all of ours, and with them the call."""
        if self._cache is None or self._claims is None:
            return
        self._claims.release(keys)
        if keys is None and self._computed:
            computed, self._computed = self._computed, 0
            self._cache.end_call(self._plan.recipe.key.encode(), computed)


def _kept(plan: Plan | None, cache: Cache | None) -> Plan | None:
    """Return a plan if some of its rows may be known."""
    return plan if plan and cache is not None and cache.holds(plan.recipe.key.encode()) else None
