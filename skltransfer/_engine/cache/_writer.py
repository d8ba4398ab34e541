"""A folder whose rows are written by a thread, so that the line does not wait for the disk.

Rows that are put are found at once. They are committed after `DELAY`, many in one transaction, and at the latest when
the call ends, before a fork, on `close` and when Python exits. A process that is killed loses those that were queued.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from skltransfer._engine import process
from skltransfer._engine.cache._blocks import Row
from skltransfer._engine.cache._disk import DiskCache
from skltransfer._engine.cache._missing import Missing
from skltransfer._engine.cache._record import decode, encode
from skltransfer._engine.cache._room import Session
from skltransfer._engine.cache._unkept import recipe_of
from skltransfer.errors import warn

#: Seconds in which rows gather: a transaction costs as much as some hundred rows.
DELAY = 0.1
#: Rows in one transaction, for which claims and others' transactions wait; 20 ms.
TRANSACTION = 2048
#: Bytes that may be queued; beyond, whoever puts rows writes them.
QUEUE = 64 * 2**20
#: Seconds of work that are claimed at once, and the most rows: others who share the folder take what is not claimed.
CLAIMED = 0.2
MOST_CLAIMED = 4096
#: Seconds after which whoever claims again may run another backbone, slower or faster.
PAUSE = 1.0


class Part:
    """Records of a recipe that are written together.

    Parameters
    ----------
    recipe : bytes
        Of all of them.

    Attributes
    ----------
    records : dict of bytes to bytes
        By key.
    size : int
        Bytes of the records.
    """

    def __init__(self, recipe: bytes) -> None:
        self.recipe = recipe
        self.records: dict[bytes, bytes] = {}
        self.size = 0

    def add(self, records: Mapping[bytes, bytes], size: int) -> None:
        """Add records of so many bytes."""
        self.records.update(records)
        self.size += size


class FolderCache:
    """Rows in a folder.

    Parameters
    ----------
    folder : Path
        As in `DiskCache`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._warned = False
        self._warning: tuple[str, type[Warning]] | None = None
        session = Session()
        # While one connection writes, the other reads.
        self._writer = DiskCache(folder, session=session, say=self._keep_warning)
        self._reader = DiskCache(folder, session=session, say=self._keep_warning)
        self._lock, self._write_lock = process.lock(), process.lock()
        #: Records of rows that are not in the folder yet, and how long they are together. Those of the first part are
        #: being written where `_writing` says so.
        self._queue: deque[Part] = deque()
        self._queued = 0
        self._writing = False
        self._thread: threading.Thread | None = None
        #: Set when it is not worth waiting for more.
        self._wake = threading.Event()
        self._closed = False
        self._missing = Missing()
        #: How often rows were put.
        self._puts = 0
        self._rate = Rate()
        process.register(self)
        self.claim([])  # to see the first version

    @property
    def claims_ahead(self) -> int:
        """How many rows to claim at once: as many as are computed in `CLAIMED` seconds."""
        return min(MOST_CLAIMED, int(CLAIMED * self._rate.per_second))

    def holds(self, recipe: bytes) -> bool:
        """Return whether there may be rows of a recipe."""
        with self._lock:
            waiting = any(part.recipe == recipe for part in self._queue)
        return waiting or self._reader.holds(recipe)

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Row]:
        """Return the rows that are known and whose checksum holds."""
        known: dict[bytes, Row] = {}
        with self._lock:
            puts, asked = self._puts, self._missing.possible(keys)
            if asked:
                waiting = [(key, part.records[key]) for part in self._queue for key in asked if key in part.records]
                known = {key: row for key, record in waiting if (row := decode(key, record)) is not None}
        if rest := [key for key in asked if key not in known]:
            known |= (found := self._reader.get(rest))
            self._note_missing([key for key in rest if key not in found] if found else rest, puts)
        self._issue_warning()
        return known

    def put(self, rows: Mapping[bytes, Row]) -> None:
        """Queue records of rows; their claims end when they are written."""
        if not rows:
            return
        self._rate.add(len(rows))
        recipe = recipe_of(next(iter(rows)))
        records = {key: encode(key, row) for key, row in rows.items()}
        size = sum(map(len, records.values()))
        with self._lock:
            self._puts += 1
            self._missing.note_put(records.keys(), recipe)
            self._part_for(recipe).add(records, size)
            self._queued += size
            late = self._queued > QUEUE or not self._start()
        if late:
            self.flush()

    def claim(self, keys: Sequence[bytes]) -> set[bytes]:
        """Return those of the keys that no other thread or process is computing."""
        self._rate.note_claim()
        free = self._writer.claim(keys)
        with self._lock:
            self._missing.note_claims(free, self._writer.version)
        self._issue_warning()
        return free

    def release(self, keys: Collection[bytes]) -> None:
        """End claims whose rows will not come."""
        with self._lock:
            self._missing.note_release(keys)
        self._writer.release(keys)

    def expect_end(self) -> None:
        """Write what has gathered without waiting for more."""
        self._wake.set()

    def end_call(self, recipe: bytes, computed: int) -> None:
        """Write what is queued, and warn if rows of a recipe could not be kept, once."""
        self.flush()
        self._wake.set()
        self._issue_warning()
        self._writer.end_call(recipe, computed)

    def flush(self) -> None:
        """Write what is queued, and wait for what is being written."""
        with self._write_lock:
            while part := self._begin():
                self._writer.write(part.recipe, part.records)
                with self._lock:
                    self._queue.popleft()
                    self._queued -= part.size
                    self._writing = False

    def close(self) -> None:
        """Write what is queued and close the connections; nothing is found or kept afterwards."""
        self.flush()
        self._closed = True
        self._wake.set()
        self._writer.count()
        self._writer.close()
        self._reader.close()

    def before_fork(self) -> None:
        """Write what is queued: the child has no connection to the folder, and opens its own."""
        if not self._closed:
            self.flush()

    def after_fork(self) -> None:
        """Leave what the parent has to the parent; `process.Table` sets the cache aside."""
        self._closed, self._queue, self._writing, self._thread = True, deque(), False, None

    def reset(self) -> None:
        """Do nothing: rows in folders stay."""

    def _note_missing(self, keys: Sequence[bytes], puts: int) -> None:
        """Note keys that were not found, or that all of their recipe are missing, unless rows were put meanwhile."""
        if not keys or self._reader.rests:
            return
        is_new = not self.holds(recipe := recipe_of(keys[0]))
        with self._lock:
            if self._puts != puts:
                return
            if is_new:
                self._missing.note_new(recipe)
            else:
                self._missing.note_absent(keys)

    def _part_for(self, recipe: bytes) -> Part:
        """Return the part of the queue that takes records of a recipe. The lock is held."""
        last = self._queue[-1] if len(self._queue) > self._writing else None
        if last is None or last.recipe != recipe or len(last.records) >= TRANSACTION:
            self._queue.append(last := Part(recipe))
        return last

    def _begin(self) -> Part | None:
        """Return what is to be written next; it stays in the queue, where it is found, and takes no more."""
        with self._lock:
            self._writing = bool(self._queue)
            return self._queue[0] if self._queue else None

    def _start(self) -> bool:
        """Start the thread, unless it runs; return whether there is one. The lock is held."""
        if self._thread is None:
            self._wake.clear()
            thread = threading.Thread(target=self._write, name="skltransfer-cache")
            try:
                thread.start()
            except RuntimeError:  # no more threads, or Python is about to exit
                return False
            self._thread = thread
        return True

    def _write(self) -> None:
        """Write what gathers, and end as soon as nothing has gathered: Python waits for the thread when it exits."""
        while True:
            self._wake.wait(DELAY)
            with self._lock:
                if not self._queue:
                    self._thread = None
                    return
            self.flush()

    def _keep_warning(self, message: str, category: type[Warning]) -> None:
        """Keep the first warning of both connections, for a thread that has the user's line above it."""
        if not self._warned:
            self._warned = True
            self._warning = message, category

    def _issue_warning(self) -> None:
        """Issue the warning that was kept, once."""
        if self._warning is not None:
            warning, self._warning = self._warning, None
            warn(*warning)


class Rate:
    """Rows that are put in a second, as of the last few tenths."""

    def __init__(self) -> None:
        self.per_second = 0.0
        self._rows, self._since = 0.0, 0.0
        self._last = -PAUSE

    def note_claim(self) -> None:
        """Begin anew where nothing was claimed or put for a while."""
        now = time.monotonic()
        if now - self._last >= PAUSE:
            self.per_second, self._rows, self._since = 0.0, 0.0, now
        self._last = now

    def add(self, rows: int) -> None:
        """Count rows that were just put."""
        self._last = time.monotonic()
        self._rows += rows
        seconds = max(self._last - self._since, 1e-3)
        self.per_second = self._rows / seconds
        if seconds >= 2 * CLAIMED:  # what was long ago counts for less
            self._rows, self._since = self._rows / 2, self._last - seconds / 2
