"""Cutting what waits into batches; where samples have lengths, similar ones come together."""

from __future__ import annotations

from collections.abc import Callable

from skltransfer._engine.stream._line import Line
from skltransfer._engine.stream._work import Batch, Item

#: Texts prepared by one worker at a time to be sorted.
AHEAD_PART = 128


def cut(window: list[Item], line: Line, note_failures: Callable[[Batch], None]) -> list[list[Item]]:
    """Cut a window into batches; where lengths differ, it is prepared first.

    Parameters
    ----------
    window : list of Item
        At most `Line.window` of them.
    line : Line
        Prepares them.
    note_failures : callable
        Is given each batch that was prepared.

    Returns
    -------
    list of list of Item
    """
    if not line.work.preparer.by_length:
        return [window]
    items = [item for item in window if item.pieces]  # others were to run them, and did not
    fresh = [item for item in window if not item.pieces]
    parts = [line.prepare(fresh[i : i + AHEAD_PART]) for i in range(0, len(fresh), AHEAD_PART)]
    for part in [part.result() for part in parts]:
        note_failures(part)
        items += part.items
    items.sort(key=_length, reverse=True)
    return within(items, line.work.batch_size, counted=line.work.counted)


def _length(item: Item) -> int:
    return max(map(len, item.pieces))


def within(items: list[Item], budget: int, *, counted: bool) -> list[list[Item]]:
    """Cut sorted items into batches of a number of items, or of tokens with their padding."""
    batches: list[list[Item]] = []
    pieces = longest = 0
    for item in items:
        pieces, longest = pieces + len(item.pieces), longest or _length(item)
        size = len(batches[-1]) + 1 if counted and batches else pieces * longest
        if not batches or size > budget:
            batches.append([])
            pieces, longest = len(item.pieces), _length(item)
        batches[-1].append(item)
    return batches
