"""Cutting what waits into batches; where samples have lengths, similar ones come together."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future

from skltransfer._engine.stream._line import Line
from skltransfer._engine.stream._work import Batch, Item

#: Texts prepared by one worker at a time to be sorted.
AHEAD_PART = 128
#: Batches of a window for each worker at least, so that none has nothing to do while others run a large one.
BATCHES = 4


class Window:
    """Items that are cut into batches together; where their lengths differ, workers prepare them at once.

    Parameters
    ----------
    items : list of Item
        At most `Line.window` of them.
    line : Line
        Prepares them.

    Attributes
    ----------
    items : list of Item
        As given.
    """

    def __init__(self, items: list[Item], line: Line) -> None:
        self.items, self._line, self._items = items, line, items
        self._parts: list[Future[Batch]] = []
        if line.work.preparer.by_length:
            fresh = [item for item in items if not item.pieces]
            self._items = [item for item in items if item.pieces]  # others were to run them, and did not
            self._parts = [line.prepare(fresh[i : i + AHEAD_PART]) for i in range(0, len(fresh), AHEAD_PART)]

    def batches(self, note_failures: Callable[[Batch], None]) -> list[list[Item]]:
        """Wait for the preparation and return the batches; `note_failures` is given each part that was prepared."""
        work = self._line.work
        if not work.preparer.by_length:
            return [self._items]
        for part in [part.result() for part in self._parts]:
            note_failures(part)
            self._items += part.items
        self._items.sort(key=_length, reverse=True)
        tokens = sum(len(piece) for item in self._items for piece in item.pieces)
        budget = (
            work.batch_size
            if work.counted
            else max(work.least, min(work.batch_size, tokens // (BATCHES * self._line.workers)))
        )
        return within(self._items, budget, counted=work.counted)


def _length(item: Item) -> int:
    return max(map(len, item.pieces))


def within(items: list[Item], budget: int, *, counted: bool) -> list[list[Item]]:
    """Cut sorted items into batches that hold as many items, or just as many tokens with their padding, as they must.

    A batch of texts is the smallest one that reaches the budget: fewer tokens are slower each, more mean more padding.
    """
    batches: list[list[Item]] = []
    size = budget
    for item in items:
        if size >= budget:
            batches.append([])
            pieces, longest = 0, _length(item)
        batches[-1].append(item)
        pieces += len(item.pieces)
        size = len(batches[-1]) if counted else pieces * longest
    return batches
