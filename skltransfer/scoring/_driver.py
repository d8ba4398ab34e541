"""The driver: passes over what is missing, here or on an engine, until nothing is or it does not help."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from skltransfer.errors import UnfinishedError
from skltransfer.scoring import _deadly, _engines
from skltransfer.scoring._broadcast import Sent, send
from skltransfer.scoring._job import Job
from skltransfer.scoring._source import Source
from skltransfer.scoring._units import Unit
from skltransfer.scoring._worker import Predictor, Run

#: Times that what is missing is tried.
PASSES = 3


class Driver:
    """A job and what it takes to do it.

    Parameters
    ----------
    job : Job
        What is to be done.
    estimator : estimator
        As the user gave it, for other processes.
    predictor : Predictor
        The same, for this one.
    source : Source
        What is read.
    report : callable
        Called with the number of rows that were committed since the last call.
    """

    def __init__(
        self, job: Job, estimator: Any, predictor: Predictor, source: Source, report: Callable[[int], object]
    ) -> None:
        self.job, self.estimator, self.predictor, self.source, self.report = job, estimator, predictor, source, report
        self._sent: Sent | None = None
        #: Marks of units.
        self._begun: list[str] = []

    def run(self) -> None:
        """Score what is missing.

        Raises
        ------
        UnfinishedError
            If units are missing after all passes, or nothing can be written.
        """
        errors: dict[int, str] = {}
        for _ in range(PASSES):
            if not (missing := self.job.missing()):
                return
            errors = self._passed(missing)
        if missing := self.job.missing():
            first = missing[0].number
            why = errors.get(first, "its worker died")
            raise UnfinishedError(
                f"{len(missing)} of {len(self.job.units)} units are missing after {PASSES} passes; unit {first}: "
                f"{why}. Run the same again to go on."
            )

    def _passed(self, missing: list[Unit]) -> dict[int, str]:
        """Try every unit once; those that were in the hands of dead processes apart from the others."""
        attempts = self.job.attempts()
        suspects = [unit for unit in missing if attempts.get(unit.number, 0) >= _deadly.DEATHS]
        for unit in suspects:
            _deadly.isolate(self.job, unit, self.predictor, self.source, self._send())
            self.report(unit.rows)
        rest = [unit for unit in missing if unit not in suspects]
        if not rest:
            return {}
        if workers := _engines.active():
            return _engines.run(self._send(), rest, workers, self.report)
        try:
            return Run(self.predictor, self._read, self._keep).units(self._still_missing(rest))
        finally:
            self.job.unmark(self._begun)
            self._begun.clear()

    def _send(self) -> Sent:
        if self._sent is None:
            self._sent = send(self.job, self.estimator, self.source)
        return self._sent

    def _still_missing(self, units: list[Unit]) -> Iterator[Unit]:
        """Yield units that no other driver has done meanwhile."""
        for unit in units:
            if self.job.has(unit):
                self.report(unit.rows)
            else:
                yield unit

    def _read(self, unit: Unit) -> Any:
        self._begun.append(self.job.mark(unit))
        return self.source.blocks(unit)

    def _keep(self, unit: Unit, table: Any) -> None:
        self.job.commit(unit, table)
        self.report(unit.rows)
