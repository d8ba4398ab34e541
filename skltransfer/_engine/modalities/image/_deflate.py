"""Deflated pixels that take a decoder seconds and are none: found by inflating them under a clock."""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterable

#: Bytes inflated at once: the most that is held, and the grain of the clock.
STEP = 2**16
#: Bytes a stream of pixels must give in a second of processor time. Measured: 340 million for smooth pixels, which are
#: the slowest; 26 million for a block every 258 bytes; none for blocks without content.
RATE = 40e6
#: Seconds that may pass above that, of a whole file: threads that take turns on a core lose milliseconds.
WASTE = 0.2


def stalls(streams: Iterable[Iterable[memoryview]]) -> bool:
    """Return whether streams of deflated pixels take time for which they give no pixels.

    Parameters
    ----------
    streams : iterable of iterable of memoryview
        The parts of each zlib stream. A damaged one is left to the decoder.

    Returns
    -------
    bool
        Known at the latest `WASTE` seconds after the pixels that were worth their time.
    """
    wasted = 0.0
    for parts in streams:
        stream = zlib.decompressobj()
        for step in (part[at : at + STEP] for part in parts for at in range(0, len(part), STEP)):
            start = time.thread_time()
            try:
                given = _inflate(stream, step)
            except zlib.error:
                break
            wasted += max(0.0, time.thread_time() - start - given / RATE)
            if wasted > WASTE:
                return True
            if stream.eof:
                break
    return False


def _inflate(stream: zlib._Decompress, step: memoryview) -> int:
    """Return the number of bytes that a step of a stream gives, which are dropped."""
    given, rest = 0, bytes(step)
    while rest:
        given += len(stream.decompress(rest, STEP))
        rest = stream.unconsumed_tail
    return given
