"""`score`: the one call, from arguments to a job that is done."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from skltransfer._engine import process
from skltransfer.errors import JobError, need
from skltransfer.scoring import _outputs, _pipeline
from skltransfer.scoring._driver import Driver
from skltransfer.scoring._formats import FORMATS
from skltransfer.scoring._job import Job, Options, facts_of, open_job
from skltransfer.scoring._sink import open_sink
from skltransfer.scoring._source import Source, select
from skltransfer.scoring._sources import open_source
from skltransfer.scoring._worker import Predictor

#: Rows of a part by default: 5 to 10 s of one worker with photos and vision-mini, 1 s with short texts and text-mini, a
#: minute and more with larger backbones; a few such parts in memory take 50 MB.
ROWS = 4096
#: Types of embeddings.
TYPES = ("float16", "float32")


class Scored(NamedTuple):
    """Result of a job.

    Attributes
    ----------
    rows : int
        Rows of the source, each of which is in a part.
    failed : int
        Those without a result; ``failures`` in the sink names them.
    parts : int
        Files of results.
    seconds : float
        Of this call; 0 if nothing was left to do.
    """

    rows: int
    failed: int
    parts: int
    seconds: float


def score(
    pipeline: Any,
    source: Any,
    sink: str | os.PathLike[str],
    *,
    column: str | Sequence[str] | None = None,
    id: str | None = None,
    root: str | os.PathLike[str] | None = None,
    output: str | Sequence[str] = "auto",
    embeddings: str | None = None,
    format: str = "parquet",
    rows_per_part: int | str = "auto",
    resume: bool = True,
    n_jobs: int | None = None,
    progress: bool = True,
) -> Scored:
    """Score a source with a fitted pipeline, part by part, and go on where an earlier call ended.

    Every part is written whole or not at all, under a name that a retry writes again; so a job that was interrupted, by
    whatever, is finished by the same call. Inside ``joblib.parallel_config("loky" | "dask" | "ray" | "spark")`` the
    parts are made there. Needs ``skltransfer[score]``.

    Parameters
    ----------
    pipeline : estimator or path
        Fitted: a Pipeline or any estimator of scikit-learn, a `PretrainedEmbedder`; or the file of one, of skops or a
        pickle. A pickle runs code of whoever wrote it.
    source : path, address, frame, list or array
        A file (Parquet, Arrow, CSV, JSONL, a list of texts or paths, tar, zip), a pattern or a folder of such files, a
        folder of images, an address (``s3://``, needs ``skltransfer[remote]``); or rows in memory.
    sink : path or address
        Folder for the parts: a new one, or that of the same job. A local one is on one file system.
    column : str, sequence of str or None, default=None
        Column of the samples; several for pipelines that take frames. None: the only one, or those the pipeline was
        fitted with. In archives, the suffix of the files, such as ``"jpg"``.
    id : str or None, default=None
        Column that names the rows. None: their numbers from 0; in folders and archives, the names of the files.
    root : path or None, default=None
        Folder of relative paths. None: that of the source.
    output : "auto" or sequence of {"prediction", "probability", "score"}, default="auto"
        Columns of results: all the estimator can do, scores only where it has no probabilities.
    embeddings : {"float16", "float32"} or None, default=None
        Type in which to write the embeddings, too. None: only where they are the result, as float32.
    format : {"parquet", "csv", "jsonl"}, default="parquet"
        Of the parts. The last two are for people: Parquet is smaller, and keeps types.
    rows_per_part : int or "auto", default="auto"
        Most rows of a part. ``"auto"``: 4,096. What a killed worker has to do again is a part, and a few of them lie in
        memory; a billion rows want larger ones.
    resume : bool, default=True
        Whether to go on with a job that is there; False refuses it.
    n_jobs : int or None, default=None
        Threads in each process, in place of the embedder's own `n_jobs`.
    progress : bool, default=True
        Whether to show a bar.

    Returns
    -------
    Scored

    Raises
    ------
    JobError
        If the sink holds another job, or the pipeline cannot do what is asked.
    UnfinishedError
        If parts are missing after all retries; the same call goes on.

    Notes
    -----
    The sink holds ``part-NUMBER-FINGERPRINT.parquet`` with the columns ``id``, results and ``error``, one row for each
    of the source, in its order; ``_job``; and, at the end, ``failures.parquet`` and ``_SUCCESS.json``.

    A sample that cannot be read has no result and the reason in ``error``. A row on which the process dies is found by
    halving, in child processes, once its part has been begun twice; ``skltransfer score`` begins again by itself.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from skltransfer import PretrainedEmbedder, score
    >>> from skltransfer.datasets import load_emoji
    >>> emoji = load_emoji()
    >>> pipeline = make_pipeline(PretrainedEmbedder(), LogisticRegression(max_iter=1000))
    >>> _ = pipeline.fit(emoji.images[::20], emoji.target[::20])
    >>> sink = Path(tempfile.mkdtemp())
    >>> scored = score(pipeline, [*emoji.images[:20], b"damaged"], sink, progress=False)
    >>> scored.rows, scored.failed, scored.parts
    (21, 1, 1)
    """
    start = time.monotonic()
    need("pyarrow", extra="score")
    estimator = _pipeline.load(pipeline) if isinstance(pipeline, (str, os.PathLike)) else pipeline
    parts = _pipeline.Parts(estimator, n_jobs)
    rows = open_source(source)
    options = _options(
        parts, rows, estimator, column, id, root, output=output, embeddings=embeddings, format=format,
        rows_per_part=rows_per_part,
    )  # fmt: skip
    job = open_job(open_sink(sink), facts_of(parts.key(), rows, options), rows, resume=resume)
    missing = job.missing()
    if not missing and (done := job.success()) is not None:
        return Scored(done["rows"], done["failed"], done["parts"], 0.0)
    job.sink.clear()
    predictor = Predictor(parts, options.output, options.embeddings)
    with _bar(job, sum(unit.rows for unit in missing), shown=progress) as report:
        Driver(job, estimator, predictor, rows, report).run()
    seconds = time.monotonic() - start
    done = job.finish(seconds)
    return Scored(done["rows"], done["failed"], done["parts"], seconds)


def _options(
    parts: _pipeline.Parts, source: Source, estimator: Any, column: Any, id: str | None, root: Any, *,
    output: str | Sequence[str], embeddings: str | None, format: str, rows_per_part: int | str,
) -> Options:  # fmt: skip
    """Check the arguments and settle what is left open."""
    if format not in FORMATS:
        raise JobError(f"format={format!r} is not one of {', '.join(map(repr, FORMATS))}.")
    if embeddings is not None and embeddings not in TYPES:
        raise JobError(f"embeddings={embeddings!r} is not one of {', '.join(map(repr, TYPES))}.")
    paths = parts.strings_are_paths
    if rows_per_part == "auto":
        rows_per_part = ROWS
    if not isinstance(rows_per_part, int) or rows_per_part < 1:
        raise JobError(f"rows_per_part={rows_per_part!r} is not 'auto' or a number from 1.")
    wanted = _outputs.chosen(parts.after, output, embeddings)
    if embeddings is not None and wanted and parts.embedder is None:
        raise JobError("embeddings= needs a pipeline with a PretrainedEmbedder as one of its steps.")
    expected = getattr(estimator, "feature_names_in_", None)
    source.selection = select(
        source, column, id, root, frames=parts.takes_frames, paths=paths,
        expected=None if expected is None else list(map(str, expected)),
    )  # fmt: skip
    chosen = source.selection
    return Options(
        column=chosen.column,
        id=id,
        root=chosen.root,
        output=list(wanted),
        embeddings=embeddings or (None if wanted else "float32"),
        rows_per_part=rows_per_part,
        format=format,
    )


@contextmanager
def _bar(job: Job, missing: int, *, shown: bool) -> Iterator[Callable[[int], object]]:
    """Show how many rows are committed, and when the rest will be."""
    if not shown:
        yield lambda rows: None
        return
    bar = need("tqdm.auto", extra="score").tqdm
    with bar(total=job.rows, initial=job.rows - missing, desc="score", unit="row", unit_scale=True) as progress:
        lock = process.lock()

        def report(rows: int) -> None:
            with lock:
                progress.update(rows)

        yield report
