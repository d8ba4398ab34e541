"""A job: what is to be done, written down before any part of it is, and what of it is there.

``_job/`` in the sink holds ``manifest.json``, written last of its files: the fingerprint and what it is made of. A part
is called by its units and the first digits of the fingerprint, so a retry or a second driver writes the same rows under
the same name.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from skltransfer.errors import JobError, need, shorten
from skltransfer.scoring._files import File
from skltransfer.scoring._formats import FORMATS, of_parquet, to_parquet
from skltransfer.scoring._sink import Sink
from skltransfer.scoring._source import Source
from skltransfer.scoring._units import Unit

#: Number of the form of `_job/`; a job of another form is refused. Raise it where names or files change.
FORM = 1
MANIFEST, SUCCESS = "_job/manifest.json", "_SUCCESS.json"
#: First digits of the fingerprint in names of parts.
DIGITS = 8


@dataclass(frozen=True)
class Options:
    """Choices that decide what is in the parts.

    Attributes
    ----------
    column, id, root
        What is read of a row, as in `Selection`.
    output : list of str
        Columns of results.
    embeddings : str or None
        Type of the embeddings, if they are written.
    rows_per_part : int
        Most rows of a unit.
    format : str
        One of `FORMATS`.
    """

    column: Any
    id: str | None
    root: str | None
    output: list[str]
    embeddings: str | None
    rows_per_part: int
    format: str


class Job:
    """A job in a sink.

    Parameters
    ----------
    sink : Sink
        Where it writes.
    facts : mapping
        The manifest.
    units : list of Unit
        What is to be done.
    """

    def __init__(self, sink: Sink, facts: Mapping[str, Any], units: list[Unit]) -> None:
        self.sink, self.facts, self.units = sink, dict(facts), units
        self.options = Options(**facts["options"])
        self.fingerprint: str = facts["fingerprint"]
        self.rows = sum(unit.rows for unit in units)
        self._mark = self.fingerprint[:DIGITS]
        self._name = re.compile(rf"part-(\d+)(?:-(\d+))?-{self._mark}\.{self.options.format}")

    def name(self, first: int, last: int | None = None) -> str:
        """Return the name of the part of a unit, or of several."""
        numbers = f"{first:06d}" if last is None else f"{first:06d}-{last:06d}"
        return f"part-{numbers}-{self._mark}.{self.options.format}"

    def parts(self) -> dict[str, range]:
        """Return the parts that are there, and the units each holds."""
        found = {name: self._name.fullmatch(name) for name in self.sink.names()}
        return {name: range(int(m[1]), int(m[2] or m[1]) + 1) for name, m in sorted(found.items()) if m}

    def has(self, unit: Unit) -> bool:
        """Return whether the part of a unit is there: another driver may have written it."""
        return self.sink.exists(self.name(unit.number))

    def missing(self) -> list[Unit]:
        """Return the units without a part."""
        there = {number for numbers in self.parts().values() for number in numbers}
        return [unit for unit in self.units if unit.number not in there]

    def commit(self, unit: Unit, table: Any) -> int:
        """Write what failed, then the part; return how many rows failed."""
        pc = need("pyarrow.compute", extra="score")
        if table.num_rows != unit.rows:
            raise JobError(
                f"Unit {unit.number} has {unit.rows} rows, and {table.num_rows} came out: did a file change?"
            )
        failed = table.filter(pc.is_valid(table.column("error"))).select(["id", "error"])
        if failed.num_rows:
            self.sink.write(self._failed(unit.number), to_parquet(failed))
        self.sink.write(self.name(unit.number), FORMATS[self.options.format].write(table))
        self._unmark(unit)  # also what dead processes left
        return int(failed.num_rows)

    def _failed(self, number: int) -> str:
        return f"_job/failed/{number:06d}-{self._mark}.parquet"

    def failures(self) -> Any:
        """Return the table of all rows that failed, of the units that are there."""
        pa = need("pyarrow", extra="score")
        names = sorted(name for name in self.sink.names("_job/failed") if name.endswith(f"-{self._mark}.parquet"))
        tables = [of_parquet(self.sink.read(f"_job/failed/{name}")) for name in names]
        empty = pa.table({"id": pa.array([], pa.string()), "error": pa.array([], pa.string())})
        return pa.concat_tables(tables, promote_options="permissive") if tables else empty

    # Marks of units that were begun: what is still there when a process died was in its hands.

    def mark(self, unit: Unit) -> str:
        """Note that a unit is begun, and return the name of the mark."""
        name = f"_job/begun/{unit.number:06d}-{uuid.uuid4().hex[:8]}"
        self.sink.touch(name)
        return name

    def unmark(self, names: Iterable[str]) -> None:
        """Remove marks of this process: it lives, whatever became of the units."""
        for name in names:
            self.sink.remove(name)

    def attempts(self) -> dict[int, int]:
        """Return how often each unit was begun and not ended."""
        counts: dict[int, int] = {}
        for name in self.sink.names("_job/begun"):
            number = int(name.partition("-")[0])
            counts[number] = counts.get(number, 0) + 1
        return counts

    def _unmark(self, unit: Unit) -> None:
        for name in self.sink.names("_job/begun"):
            if name.startswith(f"{unit.number:06d}-"):
                self.sink.remove(f"_job/begun/{name}")

    def success(self) -> dict[str, Any] | None:
        """Return what the end of the job wrote, if it has ended."""
        try:
            found: dict[str, Any] = json.loads(self.sink.read(SUCCESS))
        except (FileNotFoundError, ValueError):
            return None
        return found if found.get("fingerprint") == self.fingerprint else None

    def finish(self, seconds: float) -> dict[str, Any]:
        """Write the table of failures, then that the job has ended."""
        from skltransfer import _version

        failures = self.failures()
        suffix = self.options.format
        self.sink.write(f"failures.{suffix}", FORMATS[suffix].write(failures))
        facts = {
            "fingerprint": self.fingerprint,
            "rows": self.rows,
            "failed": failures.num_rows,
            "parts": len(self.parts()),
            "seconds": round(seconds, 3),
            "skltransfer": _version.__version__,
        }
        self.sink.write(SUCCESS, json.dumps(facts, indent=1).encode())
        self.sink.clear()
        return facts


def facts_of(pipeline: str, source: Source, options: Options) -> dict[str, Any]:
    """Return the manifest of a job: all that decides its results, the hash of it, and how workers read the source."""
    listing = [asdict(file) for file in source.files]
    state = source.digest() or hashlib.sha256(json.dumps(listing).encode()).hexdigest()
    facts = {
        "form": FORM,
        "pipeline": pipeline,
        "source": {"kind": source.kind, "files": len(listing), "state": state},
        "options": json.loads(json.dumps(asdict(options))),
    }
    fingerprint = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    return {**facts, "fingerprint": fingerprint, "read": {**asdict(source.selection), "folder": source.folder}}


def open_job(sink: Sink, facts: Mapping[str, Any], source: Source, *, resume: bool) -> Job:
    """Begin a job, or go on with it.

    Raises
    ------
    JobError
        If the sink holds another job, or something else.
    """
    there = sink.names()
    if "_job" in there and (old := read_manifest(sink)) is not None:
        if not resume:
            raise JobError(f"{shorten(repr(sink.path))} holds a job; with resume=False name another folder.")
        _refuse_other(old, facts, sink, source)
        return Job(sink, old, read_units(sink))
    if strangers := sorted(there - {"_job"}):
        shown = shorten(", ".join(map(repr, strangers[:3])))
        raise JobError(f"{shorten(repr(sink.path))} holds {shown} and no job; name a folder of its own.")
    units = source.units(facts["options"]["rows_per_part"])
    sink.write("_job/units.parquet", _units_file(units))
    sink.write("_job/files.parquet", _files_file(source.files))
    sink.write(MANIFEST, json.dumps(facts, indent=1).encode())
    return Job(sink, facts, units)


def read_manifest(sink: Sink) -> dict[str, Any] | None:
    """Return the manifest of a sink, if there is one."""
    try:
        found: dict[str, Any] = json.loads(sink.read(MANIFEST))
    except FileNotFoundError:
        return None
    except ValueError as err:
        raise JobError(f"{shorten(repr(sink.path))} holds a manifest that cannot be read ({err}).") from err
    return found


def _refuse_other(old: Mapping[str, Any], new: Mapping[str, Any], sink: Sink, source: Source) -> None:
    """Raise an error that names what differs between the job of a sink and the one that is asked for."""
    if old["fingerprint"] == new["fingerprint"]:
        return
    found = [f"its form is {old.get('form')}, not {FORM}"] if old.get("form") != FORM else []
    if old["pipeline"] != new["pipeline"]:
        found.append("the pipeline, or the model in it, is another one")
    if old["source"] != new["source"]:
        found.append(f"the source changed{_changed_files(read_files(sink), source.files)}")
    before, after = old["options"], new["options"]
    found += [
        f"{name} was {before.get(name)!r}, now {after[name]!r}" for name in after if before.get(name) != after[name]
    ]
    raise JobError(
        f"{shorten(repr(sink.path))} holds another job: {'; '.join(found)}. Name another folder, or go on with what it "
        "was begun with."
    )


def _changed_files(old: list[File], new: list[File]) -> str:
    before, after = {file.path: file for file in old}, {file.path: file for file in new}
    kinds = {
        "gone": before.keys() - after.keys(),
        "new": after.keys() - before.keys(),
        "changed": {path for path in before.keys() & after.keys() if before[path] != after[path]},
    }
    shown = [
        f"{len(paths)} {kind}, such as {shorten(repr(os.path.basename(min(paths))))}"
        for kind, paths in kinds.items()
        if paths
    ]
    return f" ({'; '.join(shown)})" if shown else ""


def _units_file(units: list[Unit]) -> bytes:
    pa = need("pyarrow", extra="score")
    return to_parquet(
        pa.table({f.name: pa.array([getattr(u, f.name) for u in units], pa.int64()) for f in fields(Unit)})
    )


def read_units(sink: Sink) -> list[Unit]:
    """Read the units of a job."""
    columns = of_parquet(sink.read("_job/units.parquet")).to_pydict()
    return [Unit(*values) for values in zip(*(columns[field.name] for field in fields(Unit)), strict=True)]


def _files_file(files: list[File]) -> bytes:
    pa = need("pyarrow", extra="score")
    types = {"path": pa.string(), "size": pa.int64(), "version": pa.string()}
    return to_parquet(pa.table({name: pa.array([getattr(f, name) for f in files], t) for name, t in types.items()}))


def read_files(sink: Sink) -> list[File]:
    """Read the listing of a job."""
    columns = of_parquet(sink.read("_job/files.parquet")).to_pydict()
    return [File(*values) for values in zip(columns["path"], columns["size"], columns["version"], strict=True)]
