"""Small parts of a finished job into large ones, by the rule of parts: one name for the same rows, whole or absent."""

from __future__ import annotations

import json
import os
from typing import Any

from skltransfer.errors import JobError, shorten
from skltransfer.scoring._formats import FORMATS
from skltransfer.scoring._job import SUCCESS, Job, read_manifest, read_units
from skltransfer.scoring._sink import open_sink

#: Bytes of a large part, as engines like to read them.
BYTES = 256 * 2**20


def compact(sink: str | os.PathLike[str], *, part_bytes: int = BYTES) -> int:
    """Merge the parts of a finished job into larger ones.

    While it runs the sink has no ``_SUCCESS.json``; if it is interrupted, call it again.

    Parameters
    ----------
    sink : path or address
        Of the job.
    part_bytes : int, default=268435456
        Parts are merged up to this size.

    Returns
    -------
    int
        Number of parts that are there now.

    Raises
    ------
    JobError
        If there is no job, or it is not finished.
    """
    place = open_sink(sink)
    if (facts := read_manifest(place)) is None:
        raise JobError(f"{shorten(repr(place.path))} holds no job.")
    job = Job(place, facts, read_units(place))
    if left := len(job.missing()):
        raise JobError(f"{shorten(repr(place.path))} lacks {left} of {len(job.units)} units; finish it first.")
    done = job.success() or json.loads(json.dumps(job.finish(0.0)))
    place.remove(SUCCESS)
    _drop_covered(job)
    for group in _groups(job, part_bytes):
        _merge(job, group)
    done["parts"] = len(job.parts())
    place.write(SUCCESS, json.dumps(done, indent=1).encode())
    return int(done["parts"])


def _drop_covered(job: Job) -> None:
    """Remove parts whose rows a larger one has, which an interrupted call left."""
    parts = job.parts()
    for name, units in parts.items():
        if any(set(units) < set(other) for other in parts.values() if len(other) > len(units)):
            job.sink.remove(name)


def _groups(job: Job, most: int) -> list[dict[str, range]]:
    """Return consecutive parts that make one of at most so many bytes."""
    groups: list[dict[str, range]] = []
    size = 0
    for name, units in sorted(job.parts().items(), key=lambda part: part[1].start):
        length = len(job.sink.read(name))
        if not groups or size + length > most:
            groups.append({})
            size = 0
        groups[-1][name] = units
        size += length
    return [group for group in groups if len(group) > 1]


def _merge(job: Job, group: dict[str, range]) -> None:
    numbers: list[Any] = list(group.values())
    data = FORMATS[job.options.format].join([job.sink.read(name) for name in group])
    job.sink.write(job.name(numbers[0].start, numbers[-1].stop - 1), data)
    for name in group:
        job.sink.remove(name)
