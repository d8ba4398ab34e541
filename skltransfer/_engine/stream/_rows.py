"""The result as it grows, in memory or on a device."""

from __future__ import annotations

from typing import Any

import numpy as np

from skltransfer._engine import runtime
from skltransfer._engine.plan import Plan
from skltransfer._engine.stream._order import Finished

#: Rows made room for when it is not known how many will come.
FIRST_ROOM = 1024


class Rows:
    """Rows in memory.

    Room is added in place, and memory that is not written to is not resident: the peak is that of the result.

    Parameters
    ----------
    plan : Plan
        Says the shape of a row, if it is known before a run.
    count : int or None
        Number of rows, if known.
    """

    def __init__(self, plan: Plan, count: int | None) -> None:
        self.shape, self._ragged, self._dtype = plan.shape, plan.ragged, np.dtype(plan.recipe.dtype)
        self._count = FIRST_ROOM if count is None else count
        self._failed: list[int] = []
        self._room: Any = self._new(0)

    def put(self, finished: Finished) -> None:
        """Set rows; failures will be NaN. A sequence shorter than its room is padded with zeros."""
        start, rows, failures = finished
        self._failed += [failure.index for failure in failures]
        if self.shape is None:
            self.shape = next((tuple(row.shape) for row in rows if row is not None), None)
        if start + len(rows) > len(self._room):
            self._grow(max(self._count, start + len(rows), 2 * len(self._room)))
        room, ragged = self._room, self._ragged
        for index, row in enumerate(rows, start):
            if row is None:
                continue
            if ragged:
                room[index, : len(row)] = row
                room[index, len(row) :] = 0
            else:
                room[index] = row

    def take(self, count: int) -> Any:
        """Return the first rows; nothing may be set afterwards."""
        self._grow(count)
        for index in self._failed:
            self._room[index] = np.nan
        return self._room

    def _new(self, count: int) -> Any:
        return np.empty((count, *(self.shape or (0,))), self._dtype)

    def _grow(self, count: int) -> None:
        if not len(self._room):  # where it is known how many come, once: a larger array is filled with zeros first
            self._room = self._new(count)
        else:
            self._room.resize((count, *(self.shape or (0,))), refcheck=False)


class DeviceRows(Rows):
    """Rows on a device, where room is not added in place."""

    def __init__(self, plan: Plan, count: int | None, output: runtime.Torch) -> None:
        self._output, self._device = output, plan.device
        super().__init__(plan, count)

    def _new(self, count: int) -> Any:
        return self._output.room(count, self.shape or (0,), self._device)

    def _grow(self, count: int) -> None:
        if count <= len(self._room):
            self._room = self._room[:count]
            return
        old, self._room = self._room, self._new(count)
        if len(old):
            self._room[: len(old)] = old
