"""One array of all rows, out of `batches`."""

from __future__ import annotations

from typing import Any, NamedTuple

from skltransfer._engine.cache import Cache
from skltransfer._engine.plan import Plan
from skltransfer._engine.samples import Samples
from skltransfer._engine.stream._batches import batches, open_line
from skltransfer._engine.stream._options import DEFAULT, Options
from skltransfer._engine.stream._rows import DeviceRows, Rows
from skltransfer.errors import Failure


class Embedded(NamedTuple):
    """Result of `embed`.

    Attributes
    ----------
    rows : ndarray or tensor of shape (n, ...), float32
        In the order of the samples; NaN where a sample failed.
    failures : list of Failure
        In the order of the samples.
    notes : list of str
        What is worth a warning.
    details : list of str
        What is worth knowing only to someone who asks for it.
    """

    rows: Any
    failures: list[Failure]
    notes: list[str]
    details: list[str]


def embed(samples: Samples, plan: Plan, *, cache: Cache | None = None, options: Options = DEFAULT) -> Embedded:
    """Embed samples.

    Parameters
    ----------
    samples : Samples
        Iterated once, lazily.
    plan : Plan
        What to run, and where.
    cache : Cache, optional
        Where rows are looked up and kept; None: samples are not even fingerprinted.
    options : Options
        Threads, batch size, what to do about bad samples.

    Returns
    -------
    Embedded

    Raises
    ------
    SampleError
        For the first sample that failed, unless bad ones are skipped.
    """
    output = options.output
    rows = Rows(plan, samples.n) if output is None else DeviceRows(plan, samples.n, output)
    failures: list[Failure] = []
    count = 0
    with open_line(plan, options) as line:
        for batch in batches(samples.items, plan, cache=cache, options=options, line=line):
            rows.put(batch)
            failures += batch.failures
            count += len(batch.rows)
        if rows.shape is None:  # no sample at all, or none that could be read
            rows.shape = line.work.session(None).row_shape
        preparer = line.work.preparer
        return Embedded(rows.take(count), failures, preparer.notes(), preparer.details())
