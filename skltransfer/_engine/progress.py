"""Progress of a call: a bar, and scikit-learn's callbacks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from skltransfer.errors import need

try:  # scikit-learn 1.9, experimental there
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:

    class CallbackSupportMixin:  # type: ignore[no-redef]  # for releases without callbacks
        """Stands in where scikit-learn has no callbacks."""

    def with_callbacks(method: Callable[..., Any]) -> Callable[..., Any]:
        """Return the method as it is."""
        return method


__all__ = ["CallbackSupportMixin", "bar", "callbacks", "with_callbacks"]

#: Steps a callback sees of one call: a bar needs no more.
STEPS = 100


@contextmanager
def bar(estimator: Any, n: int | None) -> Iterator[Callable[[int], object]]:
    """Show a bar if the estimator is verbose.

    Yields
    ------
    callable
        To be called with the number of rows that are finished.
    """
    if not estimator.verbose:
        yield lambda done: None
        return
    with need("tqdm.auto", extra="progress").tqdm(total=n, desc=type(estimator).__name__, unit="sample") as shown:
        yield lambda done: shown.update(done - shown.n)


@contextmanager
def callbacks(estimator: Any, X: Any, y: Any, n: int | None) -> Iterator[Callable[[int], object]]:
    """Report a task and its steps to scikit-learn's callbacks: hundredths where the length of X is known.

    Yields
    ------
    callable
        To be called with the number of rows that are finished.
    """
    if not hasattr(estimator, "_init_callback_context"):
        yield lambda done: None
        return
    steps = None if n is None else min(n, STEPS)
    context = estimator._init_callback_context(max_subtasks=steps)
    context.call_on_fit_task_begin(estimator=estimator, X=X, y=y)
    reached = 0

    def step(done: int) -> None:
        nonlocal reached
        target = done * steps // n if n and steps else reached + 1
        for _ in range(reached, target):
            part = context.subcontext(task_name="samples")
            part.call_on_fit_task_begin(estimator=estimator)
            part.call_on_fit_task_end(estimator=estimator)
        reached = target

    yield step
    context.call_on_fit_task_end(estimator=estimator, X=X, y=y)
