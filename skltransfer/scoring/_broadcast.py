"""Files for workers, in the sink, which all of them reach: the pipeline, the models, a table out of memory.

Tasks carry the name of the pipeline's file and its SHA-256, which is compared before anything is unpickled.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import io
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from skltransfer._engine import hub, process
from skltransfer.cards import Card
from skltransfer.errors import IntegrityError, JobError, need
from skltransfer.scoring import _pipeline
from skltransfer.scoring._job import Job, read_files, read_manifest, read_units
from skltransfer.scoring._sink import Sink, open_sink
from skltransfer.scoring._source import Source
from skltransfer.scoring._sources import restored
from skltransfer.scoring._tables import Memory, Objects
from skltransfer.scoring._worker import Predictor

MODELS, TABLE = "_job/models", "_job/source.arrow"


class Sent(NamedTuple):
    """Message of a task: where the job is, and the pipeline's file and hash."""

    sink: str
    name: str
    sha256: str


def send(job: Job, estimator: Any, source: Source) -> Sent:
    """Write the pipeline, its models and, if it is in memory, the source.

    Raises
    ------
    JobError
        If the source cannot be written.
    """
    if isinstance(source, Memory):
        job.sink.write(TABLE, _to_ipc(source.table))
    elif isinstance(source, Objects):
        if (table := source.table()) is None:
            raise JobError("Rows that are not all texts or all bytes stay in this process: write them to files first.")
        job.sink.write(TABLE, _to_ipc(table))
    name, data = _pipeline.dumped(_with_models(estimator, job.sink))
    digest = hashlib.sha256(data).hexdigest()
    place = f"_job/{digest[:8]}-{name}"
    job.sink.write(place, data)
    return Sent(job.sink.path, place, digest)


def _to_ipc(table: Any) -> bytes:
    pa, out = need("pyarrow", extra="score"), io.BytesIO()
    with pa.ipc.new_file(out, table.schema) as file:
        file.write_table(table)
    return out.getvalue()


def _with_models(estimator: Any, sink: Sink) -> Any:
    """Return a copy whose embedders name the models in the sink; bundled ones come with the package."""
    made = copy.deepcopy(estimator)
    for one in _pipeline.embedders(made):
        planned = one._planned()
        card, key = planned.card, planned.model_key
        if _bundled(folder := (card.folder or Path()).resolve()):
            continue
        place = f"{MODELS}/{hub.fingerprint(card)}"
        for file in card.files.values():
            if not sink.exists(f"{place}/{file.path}"):
                sink.write(f"{place}/{file.path}", (folder / file.path).read_bytes())
        one.model = dataclasses.replace(card, folder=Path(place))
        # Checked by whoever embeds, as after a fit.
        one.model_sha256_, one.model_key_ = planned.plan.recipe.graph, key
        one._fitted_with = (one.model, one.precision)
    return made


def _bundled(folder: Path) -> bool:
    """Return whether a model comes with the package, which the workers have as well."""
    from importlib import resources

    return folder.parent == Path(str(resources.files("skltransfer.models"))).resolve()


#: What this process received, by what was sent: unpickled, planned and opened once.
_received: process.Table[Sent, tuple[Job, Predictor, Source]] = process.Table(4)


def receive(sent: Sent) -> tuple[Job, Predictor, Source]:
    """Return the job, what is computed and what is read, in a worker.

    Raises
    ------
    IntegrityError
        If the pipeline's file is not the one that was sent.
    """
    if (found := _received.get_recent(sent)) is not None:
        return found
    sink = open_sink(sent.sink)
    facts = read_manifest(sink)
    if facts is None:
        raise JobError(f"{sent.sink!r} holds no job, seen from this worker: can it reach the folder?")
    data = sink.read(sent.name)
    if (digest := hashlib.sha256(data).hexdigest()) != sent.sha256:
        raise IntegrityError(f"{sent.name} in {sent.sink!r} has the SHA-256 {digest}, and {sent.sha256} was sent.")
    job = Job(sink, facts, read_units(sink))
    parts = _pipeline.Parts(_with_local_models(_pipeline.loaded(data, sent.name), sink))
    parts.embedders()
    predictor = Predictor(parts, job.options.output, job.options.embeddings)
    source = restored(facts, read_files(sink), lambda: _of_ipc(sink.read(TABLE)))
    _received.keep(sent, (job, predictor, source))
    return job, predictor, source


def _of_ipc(data: bytes) -> Any:
    pa = need("pyarrow", extra="score")
    return pa.ipc.open_file(pa.BufferReader(data)).read_all()


def _with_local_models(estimator: Any, sink: Sink) -> Any:
    """Let embedders find the models of the sink; those of a bucket are fetched first."""
    for one in _pipeline.embedders(estimator):
        card = one.model
        if isinstance(card, Card) and card.folder is not None and card.folder.as_posix().startswith(MODELS):
            folder = sink.local(card.folder.as_posix()) or _fetched(card, sink)
            one.model = dataclasses.replace(card, folder=folder)
            one._fitted_with = (one.model, one.precision)
    return estimator


def _fetched(card: Card, sink: Sink) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="skltransfer-"))
    assert card.folder is not None
    for file in card.files.values():
        target = folder / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(sink.read(f"{card.folder.as_posix()}/{file.path}"))
    return folder
