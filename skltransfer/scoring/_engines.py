"""Units on other processes and machines, through the backend of joblib that is active: loky, Dask, Ray, Spark.

A task is a few consecutive units. It returns what became of each; a task that does not return has died, and what it did
not commit is missing, which the next pass sees in the sink.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from skltransfer.errors import JobError, SklTransferError, need
from skltransfer.scoring._broadcast import Sent, receive
from skltransfer.scoring._units import Unit
from skltransfer.scoring._worker import Run

#: Units of a task at most, and tasks for each worker at least, so that none is idle while the last is at work.
MOST_UNITS, TASKS = 16, 4
ENGINES = ("loky", "dask", "ray", "spark")


def active() -> int:
    """Return how many workers the active backend of joblib has; 0 if units stay in this process."""
    from joblib import effective_n_jobs
    from joblib.parallel import ThreadingBackend, get_active_backend

    backend, _ = get_active_backend()
    name = type(backend).__name__
    if isinstance(backend, ThreadingBackend) or name == "SequentialBackend":
        return 0
    workers = int(effective_n_jobs(get_active_backend()[1]))
    return workers if workers > 1 or name != "LokyBackend" else 0


def opened(engine: str | None, scheduler: str | None = None, workers: int | None = None) -> AbstractContextManager[Any]:
    """Return a context in which an engine is the backend of joblib.

    Parameters
    ----------
    engine : str or None
        One of `ENGINES`; None: this process.
    scheduler : str or None
        Address of a Dask scheduler or a Ray head; None: workers on this machine.
    workers : int or None
        How many; None: as many as the engine has.

    Raises
    ------
    JobError
        If the engine takes no scheduler.
    """
    import joblib

    if engine is None:
        return nullcontext()
    if scheduler is not None and engine not in ("dask", "ray"):
        raise JobError(f"--scheduler is for dask and ray; {engine} finds its own.")
    jobs = -1 if workers is None else workers
    _prepare(engine, scheduler, workers)
    context: AbstractContextManager[Any] = joblib.parallel_config(engine, n_jobs=jobs)
    return context


def _prepare(engine: str, scheduler: str | None, workers: int | None) -> None:
    """Connect to an engine, and register it with joblib."""
    if engine == "dask":
        distributed = need("distributed", extra="dask")
        if scheduler is None:
            cluster = distributed.LocalCluster(
                host="127.0.0.1", n_workers=workers, threads_per_worker=1, dashboard_address="127.0.0.1:0"
            )
            distributed.Client(cluster)
        else:
            distributed.Client(scheduler, timeout=30)
    elif engine == "ray":
        ray = need("ray", extra="ray")
        if not ray.is_initialized():
            ray.init(address=scheduler, num_cpus=None if scheduler else workers, include_dashboard=False)
        need("ray.util.joblib", extra="ray").register_ray()
    elif engine == "spark":
        need("joblibspark", extra="spark").register_spark()


def task(sent: Sent, numbers: Sequence[int]) -> list[tuple[int, str | None]]:
    """Score units, in a worker; return why each has no part, or None."""
    job, predictor, source = receive(Sent(*sent))
    missing = [job.units[number] for number in numbers if not job.has(job.units[number])]
    begun: list[str] = []

    def read(unit: Unit) -> Any:
        begun.append(job.mark(unit))
        return source.blocks(unit)

    try:
        errors = Run(predictor, read, lambda unit, table: job.commit(unit, table)).units(missing)
    finally:
        job.unmark(begun)
    return [(number, errors.get(number)) for number in numbers]


def run(sent: Sent, units: Sequence[Unit], workers: int, report: Callable[[int], object]) -> dict[int, str]:
    """Score units on the active backend, once; return why some have no part, as far as workers could say.

    Parameters
    ----------
    sent : Sent
        What was written for the workers.
    units : sequence of Unit
        What is missing.
    workers : int
        How many there are.
    report : callable
        Called with the number of rows of units that ended.
    """
    size = max(1, min(MOST_UNITS, len(units) // (TASKS * workers)))
    groups = [[unit.number for unit in units[i : i + size]] for i in range(0, len(units), size)]
    rows = {unit.number: unit.rows for unit in units}
    errors: dict[int, str] = {}
    try:
        for done in _results(sent, groups):
            errors |= {number: error for number, error in done if error is not None}
            report(sum(rows[number] for number, error in done if error is None))
    except SklTransferError:
        raise
    except Exception as err:  # noqa: BLE001 - each engine has its own errors of a worker that died
        errors |= dict.fromkeys((unit.number for unit in units), f"a worker died ({type(err).__name__})")
    return errors


def _results(sent: Sent, groups: Sequence[Sequence[int]]) -> Iterator[list[tuple[int, str | None]]]:
    import joblib
    from joblib.parallel import get_active_backend

    backend, _ = get_active_backend()
    if type(backend).__name__ == "DaskDistributedBackend":
        yield from _of_dask(backend.client, sent, groups)
        return
    streams = getattr(backend, "supports_return_generator", False)
    parallel = joblib.Parallel(return_as="generator_unordered" if streams else "list", pre_dispatch="all")
    yield from parallel(joblib.delayed(task)(tuple(sent), group) for group in groups)


def _of_dask(client: Any, sent: Sent, groups: Sequence[Sequence[int]]) -> Iterator[list[tuple[int, str | None]]]:
    """Yield what tasks return, without joblib: 1.6 never hears of a task that Dask gave up, and waits for ever."""
    as_completed = need("distributed", extra="dask").as_completed
    numbers = {client.submit(task, tuple(sent), group, pure=False): group for group in groups}
    try:
        for future in as_completed(list(numbers)):
            err = future.exception()
            if isinstance(err, SklTransferError):
                raise err
            if err is None:
                yield future.result()
            else:
                yield [(number, f"a worker died ({type(err).__name__})") for number in numbers[future]]
    finally:
        client.cancel(list(numbers))
