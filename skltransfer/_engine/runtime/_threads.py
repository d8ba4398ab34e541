"""Number of threads that this process may use."""

from __future__ import annotations

import os
import threading


def cpu_share() -> int:
    """Count the threads this process may keep busy.

    Returns
    -------
    int
        The processors of its affinity mask, at most its cgroup quota, and at most ``OMP_NUM_THREADS`` if that is set:
        joblib sets it in its worker processes so that all of them together fill the machine once.
    """
    from joblib import cpu_count

    share = int(cpu_count())
    limit = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return max(1, min(share, int(limit))) if limit.isdigit() and int(limit) else share


def workers(n_jobs: int | None) -> int:
    """Return the number of threads for the parameter ``n_jobs``.

    Parameters
    ----------
    n_jobs : int or None
        None: as many as this process may keep busy, or one inside a thread that joblib started. A number means what it
        means to joblib: -1 is all processors, -2 all but one.

    Returns
    -------
    int
    """
    from joblib.parallel import ThreadingBackend

    # The backend of threads is asked: that of processes answers 1, with a warning, in a daemonic process, such as a
    # worker of Dask, Celery or multiprocessing, which may not start processes and may start threads.
    if n_jobs is not None:
        return int(ThreadingBackend().effective_n_jobs(n_jobs))
    return 1 if _in_joblib_thread() else cpu_share()


def _in_joblib_thread() -> bool:
    """Check whether joblib runs this in one of several threads; `cpu_share` handles its processes."""
    from joblib.parallel import get_active_backend

    nested = bool(getattr(get_active_backend()[0], "nesting_level", 0))
    return nested and threading.current_thread() is not threading.main_thread()
