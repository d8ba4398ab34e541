"""Rows that one call computes, so that others who share its cache take other rows meanwhile."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from itertools import chain, islice

from skltransfer._engine.cache import Cache
from skltransfer._engine.stream._work import Item


class Claims:
    """Claims of one call.

    Parameters
    ----------
    cache : Cache
        Knows who computes which row, and how many rows it is worth claiming at once.
    """

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        #: Keys that are ours to compute.
        self._ours: set[bytes] = set()
        #: Items whose turn comes after this batch, and how many of the first ones were decided on already.
        self._coming: Iterable[Item] = ()
        self._decided = 0

    def claim_window(self, items: list[Item]) -> None:
        """Claim what will be cut into batches, while it is prepared, if most of it would be claimed at once anyway."""
        self._decided = 0
        if 2 * self._cache.claims_ahead >= len(items):
            self._ours |= self._cache.claim([item.key for item in items])
            self._decided = len(items)

    def ahead(self, batches: list[list[Item]], waiting: list[Item]) -> Iterator[list[Item]]:
        """Yield batches, and know what comes after each, so that `claim` can decide on several at once.

        Parameters
        ----------
        batches : list of list of Item
            To be claimed one after the other.
        waiting : list of Item
            What will be cut into batches after these.
        """
        for number, batch in enumerate(batches, 1):
            self._coming = chain(chain.from_iterable(islice(batches, number, None)), waiting)
            yield batch
        self._coming = ()

    def claim(self, items: list[Item]) -> tuple[list[Item], list[Item]]:
        """Claim items, and some of those that come after them; return those that are ours, and those that are not."""
        keys = [item.key for item in items]
        if self._decided < len(keys):
            coming = [item.key for item in islice(self._coming, self._cache.claims_ahead)]
            self._ours |= self._cache.claim(keys + coming)
            self._decided = len(keys) + len(coming)
        self._decided -= len(keys)
        if self._ours.issuperset(keys):
            return items, []
        ours = self._ours.intersection(keys)
        return [item for item in items if item.key in ours], [item for item in items if item.key not in ours]

    def end(self, keys: Iterable[bytes]) -> None:
        """Forget claims that ended because their rows came."""
        self._ours.difference_update(keys)

    def release(self, keys: Set[bytes] | None = None) -> None:
        """End claims whose rows will not come, by default all."""
        if ended := set(self._ours) if keys is None else keys & self._ours:
            self._cache.release(ended)
            self._ours -= ended
