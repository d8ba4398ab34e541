"""Cutting what waits into batches; where samples have lengths, similar ones come together."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from math import ceil

from skltransfer._engine.stream._line import Line
from skltransfer._engine.stream._work import Batch, Item

#: Texts prepared by one worker at a time to be sorted, at most.
AHEAD_PART = 128
#: Batches of a window for each worker at least, so that none has nothing to do while others run a large one.
BATCHES = 4
#: Parts into which the least batch is cut at most, where there is not a whole one for every worker.
PARTS = 4


class Window:
    """Items that are cut into batches together; where their lengths differ, workers prepare them as they come.

    Parameters
    ----------
    line : Line
        Prepares them.

    Attributes
    ----------
    items : list of Item
        As they came.
    """

    def __init__(self, line: Line) -> None:
        self.items: list[Item] = []
        self._line = line
        self._size = line.window  # a runner may set another meanwhile
        #: Items that nobody prepares yet, the parts that are prepared, and items that came prepared: others were to run
        #: them, and did not.
        self._fresh: list[Item] = []
        self._parts: list[Future[Batch]] = []
        self._ready: list[Item] = []

    @property
    def full(self) -> bool:
        """Whether no more items should be added: there are enough, or they fill the memory they may."""
        return len(self.items) >= self._size or bool(self.items and self._line.work.budget.full)

    def add(self, items: list[Item]) -> list[Item]:
        """Add as many items as there is room for; return the others."""
        room = self._size - len(self.items)
        taken = items[:room]
        self.items += taken
        if self._line.work.preparer.by_length:
            self._ready += [item for item in taken if item.pieces]
            self._fresh += [item for item in taken if not item.pieces]
            whole = len(self._fresh) - len(self._fresh) % (self._line.workers * AHEAD_PART)
            self._prepare(whole)
        return items[room:]

    def close(self) -> None:
        """Prepare what is left; no more will come."""
        self._prepare(len(self._fresh))

    def _prepare(self, count: int) -> None:
        """Let each worker prepare as many of the first items."""
        parts = parted(self._fresh[:count], self._line.workers, AHEAD_PART)
        self._parts += [self._line.prepare(part) for part in parts]
        del self._fresh[:count]

    def batches(self, note_failures: Callable[[Batch], None]) -> list[list[Item]]:
        """Wait for the preparation and return the batches; `note_failures` is given each part that was prepared."""
        work = self._line.work
        if not work.preparer.by_length:
            return self._last()
        for part in [part.result() for part in self._parts]:
            note_failures(part)
            self._ready += part.items
        self._ready.sort(key=_length, reverse=True)
        budget = work.batch_size if work.counted else self._share()
        return within(self._ready, budget, counted=work.counted)

    def _last(self) -> list[list[Item]]:
        """Return a full batch as it is; part one that is not, the last of a call, among the workers."""
        whole = self._line.work.counted or len(self.items) >= self._size
        return [self.items] if whole else parted(self.items, self._line.abreast)

    def _share(self) -> int:
        """Return how many tokens a batch gets: where several are run at once, each worker gets as many batches."""
        work, abreast = self._line.work, self._line.abreast
        if abreast == 1:
            return work.batch_size
        tokens = sum(len(piece) for item in self._ready for piece in item.pieces)
        most = max(work.least, min(work.batch_size, tokens // (BATCHES * abreast)))
        rounds = max(1, round(tokens / (most * abreast)))
        return max(work.least // PARTS, ceil(tokens / (rounds * abreast)))


def _length(item: Item) -> int:
    return max(map(len, item.pieces))


def parted(items: list[Item], workers: int, most: int | None = None) -> list[list[Item]]:
    """Cut items into as many parts of one size for each worker, of at most so many items."""
    rounds = 1 if most is None else max(1, ceil(len(items) / (workers * most)))
    size = max(1, ceil(len(items) / (rounds * workers)))
    return [items[i : i + size] for i in range(0, len(items), size)]


def within(items: list[Item], budget: int, *, counted: bool) -> list[list[Item]]:
    """Cut sorted items into batches: of so many items, or the smallest ones of so many tokens, padding included.

    On a CPU a token of a smaller batch takes longer, and a larger batch has more padding.
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
