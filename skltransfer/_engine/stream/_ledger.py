"""Who computes which row, and for whom: duplicates, known rows, claims."""

from __future__ import annotations

from collections.abc import Iterable, Set
from typing import Any

import numpy as np

from skltransfer._engine.cache import Cache
from skltransfer._engine.plan import Plan
from skltransfer._engine.stream._claims import Claims
from skltransfer._engine.stream._work import Item


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
        #: The wider plan, if some of its rows may be known.
        self._wider = plan.wider
        if cache is None or plan.wider is None or not cache.holds(plan.wider.recipe.key.encode()):
            self._wider = None
        #: Keys whose rows are awaited, and further indices that wait for one of them: what comes twice is run once.
        #: Not a list for each key, which the garbage collector would look at again and again.
        self._awaited: set[bytes] = set()
        self._twins: dict[bytes, list[int]] = {}
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
        known, fresh, placed = self.known(items), [], {}
        for item in items:
            if item.key in known:
                placed[item.index] = known[item.key]
            elif item.key in self._awaited:
                self._twins.setdefault(item.key, []).append(item.index)
            else:
                self._awaited.add(item.key)
                fresh.append(item)
        return fresh, placed

    def claim(self, items: list[Item]) -> tuple[list[Item], list[Item]]:
        """Return the items that are ours to compute, and those that others compute."""
        if self._claims is None:
            return items, []
        ours = self._claims.claim(items)
        return [item for item in items if item.key in ours], [item for item in items if item.key not in ours]

    def ahead(self, batches: list[list[Item]], waiting: list[Item]) -> Iterable[list[Item]]:
        """Return batches to claim one after the other, before those that wait; see `Claims.ahead`."""
        return batches if self._claims is None else self._claims.ahead(batches, waiting)

    def settle(self, items: list[Item]) -> tuple[list[Item], dict[int, Any]]:
        """Look entered items up once more: others may have computed them since. Return as `enter` does."""
        if not self.cached:
            return items, {}
        known = self.known(items, again=True)
        self.release(known.keys())
        placed = {index: known[item.key] for item in items if item.key in known for index in self.indices(item)}
        return [item for item in items if item.key not in known], placed

    def keep(self, items: list[Item], rows: Iterable[Any], *, finite: bool = True) -> dict[int, Any]:
        """Put computed rows into the cache, finite ones only; return what is wanted of them, by index."""
        if self._cache is not None and self._claims is not None:
            kept = {item.key: row for item, row in zip(items, rows, strict=True) if finite or np.isfinite(row).all()}
            self._cache.put(kept)
            self._computed += len(kept)
            self.release({item.key for item in items} - kept.keys())
            self._claims.end(item.key for item in items)
        if self._plan.view is not None:
            rows = map(self._plan.view.take, rows)
        if self._cache is None:
            return {item.index: row for item, row in zip(items, rows, strict=True)}
        return self._spread(items, rows)

    def _spread(self, items: list[Item], rows: Iterable[Any]) -> dict[int, Any]:
        """Return rows by the indices that wait for them."""
        placed = {item.index: row for item, row in zip(items, rows, strict=True)}
        self._awaited.difference_update([item.key for item in items])
        if self._twins:
            placed |= {twin: placed[item.index] for item in items for twin in self._twins.pop(item.key, ())}
        return placed

    def indices(self, item: Item) -> list[int]:
        """Return the indices that wait for an item's row, once."""
        self._awaited.discard(item.key)
        return [item.index, *self._twins.pop(item.key, ())]

    def release(self, keys: Set[bytes] | None = None) -> None:
        """End claims whose rows will not come; by default all of ours, and with them the call."""
        if self._cache is None or self._claims is None:
            return
        self._claims.release(keys)
        if keys is None and self._computed:
            computed, self._computed = self._computed, 0
            self._cache.end_call(self._plan.recipe.key.encode(), computed)
