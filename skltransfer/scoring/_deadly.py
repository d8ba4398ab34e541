"""Rows on which the process dies: a unit that killed it twice is tried in a child process and halved until one is left.

The child writes a piece for each range that it survives; the first one that is missing is the one it died on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from skltransfer._engine import process
from skltransfer.errors import UnfinishedError, need, shorten
from skltransfer.scoring._broadcast import Sent, receive
from skltransfer.scoring._formats import of_parquet, to_parquet
from skltransfer.scoring._job import Job
from skltransfer.scoring._source import Source
from skltransfer.scoring._units import Block, Unit, sliced
from skltransfer.scoring._worker import Predictor, Run

#: Times that a process died with a unit in its hands, before the unit is suspected.
DEATHS = 2
#: Seconds in which a child has to end.
SECONDS = 3600.0
REASON = "the process died on it"

Range = tuple[int, int]


def isolate(job: Job, unit: Unit, predictor: Predictor, source: Source, sent: Sent) -> None:
    """Score a unit in child processes and commit it, unless another driver does; rows on which these die are named.

    Raises
    ------
    UnfinishedError
        If no child can be started, or it fails without dying.
    """
    ranges: list[Range] = [(0, unit.rows)]
    while not job.has(unit) and (left := _left(job, unit, ranges)):
        try:
            found = process.run_child(
                "skltransfer.scoring._child", {"sent": sent, "number": unit.number, "ranges": left}, seconds=SECONDS
            )
        except process.ChildFailure as err:
            _refuse_machine(err)
            ranges = _narrowed(job, unit, predictor, source, ranges)
        else:
            if found["error"] is not None:
                raise UnfinishedError(f"Unit {unit.number} cannot be scored: {found['error']}")
    try:
        _commit(job, unit, ranges)
    except FileNotFoundError:  # another driver removed the pieces
        if not job.has(unit):
            raise


def _refuse_machine(err: process.ChildFailure) -> None:
    """Raise what is no death of a child that was at work."""
    if not err.started:
        raise UnfinishedError(err.machine) from None
    if err.status is not None and err.status >= 0:
        raise UnfinishedError(f"A child process ended with status {err.status}: {shorten(err.words)}") from None


def _narrowed(job: Job, unit: Unit, predictor: Predictor, source: Source, ranges: list[Range]) -> list[Range]:
    """Return the ranges with the one that was died on halved; a single row gets a piece that says so."""
    first, last = _left(job, unit, ranges)[0]
    if last - first > 1:
        middle = (first + last) // 2
        place = ranges.index((first, last))
        return [*ranges[:place], (first, middle), (middle, last), *ranges[place + 1 :]]
    ids = [one for block in sliced(source.blocks(unit), first, last) for one in block.ids]
    job.sink.write(_piece(unit, first, last), to_parquet(predictor.blank(ids, REASON)))
    return ranges


def _left(job: Job, unit: Unit, ranges: Sequence[Range]) -> list[Range]:
    return [one for one in ranges if not job.sink.exists(_piece(unit, *one))]


def _piece(unit: Unit, first: int, last: int) -> str:
    return f"_job/pieces/{unit.number:06d}-{first}-{last}.parquet"


def _commit(job: Job, unit: Unit, ranges: Sequence[Range]) -> None:
    """Commit all pieces as one part."""
    pa = need("pyarrow", extra="score")
    names = [_piece(unit, *one) for one in ranges]
    pieces = [of_parquet(job.sink.read(name)) for name in names]
    table = pa.concat_tables(pieces, promote_options="default").combine_chunks()
    job.commit(unit, table.select([n for n in table.column_names if n != "error"] + ["error"]))
    for name in names:
        job.sink.remove(name)


def work(sent: Sequence[str], number: int, ranges: Sequence[Range]) -> Mapping[str, Any]:
    """Write the pieces of a unit, in the child."""
    job, predictor, source = receive(Sent(*sent))
    unit = job.units[number]
    for first, last in ranges:
        blocks, name = sliced(source.blocks(unit), first, last), _piece(unit, first, last)
        run = Run(predictor, partial(_same, blocks), partial(_write, job, name))
        if errors := run.units([unit]):
            return {"error": errors[number]}
    return {"error": None}


def _same(blocks: Iterable[Block], unit: Unit) -> Iterable[Block]:
    return blocks


def _write(job: Job, name: str, unit: Unit, table: Any) -> None:
    job.sink.write(name, to_parquet(table))
