"""A fitted estimator, cut where it embeds: what is before, the embedder, what is after; and files of it.

Rows of many units go through one call of the line only where a `PretrainedEmbedder` is a step of the pipeline. Where it
is inside something else, a ColumnTransformer or a search's threshold, the pipeline is called unit by unit.
"""

from __future__ import annotations

import copy
import hashlib
import os
from collections.abc import Iterator
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils._set_output import _get_output_config

import skltransfer.errors as errors
from skltransfer._engine import planning, process
from skltransfer._engine.nested import nested
from skltransfer.embedder import PretrainedEmbedder
from skltransfer.errors import JobError, MissingDependencyError, shorten

#: Parameters of an embedder that change no number; another value of them is the same job.
SPEED = ("n_jobs", "batch_size", "cache", "on_error", "verbose", "output")


def load(path: str | os.PathLike[str]) -> Any:
    """Load a saved pipeline: a file of skops, or a pickle, which runs code of whoever wrote it.

    Parameters
    ----------
    path : path
        A file that ends in ``.skops``, or one that joblib or pickle wrote.

    Raises
    ------
    JobError
        If it cannot be loaded.
    """
    file = process.expand(path)
    try:
        return loaded(file.read_bytes(), file.name)
    except MissingDependencyError:
        raise
    except Exception as err:  # whatever unpickling runs
        kind = type(err).__name__
        raise JobError(f"The pipeline {shorten(repr(str(file)))} cannot be loaded ({kind}: {err}).") from err


def loaded(data: bytes, name: str) -> Any:
    """Load a pipeline out of the content of its file."""
    import io

    if name.endswith(".skops"):
        from skltransfer._trusted import TRUSTED

        return errors.need("skops.io", extra="skops").loads(data, trusted=TRUSTED)
    import joblib

    return joblib.load(io.BytesIO(data))


def dumped(estimator: Any) -> tuple[str, bytes]:
    """Return a file name and its content: of skops if that is installed and knows all types, else a pickle."""
    from skltransfer._trusted import TRUSTED

    try:
        sio = errors.need("skops.io", extra="skops")
        data = sio.dumps(estimator)
        if set(sio.get_untrusted_types(data=data)) <= set(TRUSTED):
            return "pipeline.skops", data
    except Exception:  # noqa: BLE001 - it is not installed, or knows not these types: it says so in many ways
        pass
    return "pipeline.pickle", _by_value(estimator)


class Parts:
    """An estimator cut at its embedder.

    Parameters
    ----------
    estimator : estimator
        Fitted. It is not changed.
    n_jobs : int or None
        Threads, in place of the embedders' own; None leaves these.

    Attributes
    ----------
    before : Pipeline or None
        Steps before the embedder.
    embedder : PretrainedEmbedder or None
        The one step that embeds; None where samples cannot be handed to the line.
    after : estimator or None
        What is given the rows; the whole estimator where there is no `embedder`, None where rows are the result.
    """

    def __init__(self, estimator: Any, n_jobs: int | None = None) -> None:
        steps = _steps(estimator)
        places = [i for i, step in enumerate(steps) if isinstance(step, PretrainedEmbedder)]
        held = sum(1 for step in steps for _ in embedders(step))
        if len(places) == held == 1 and _is_plain(steps[places[0]]):
            place = places[0]
            self.before, self.after = _joined(steps[:place]), _joined(steps[place + 1 :])
            self.embedder: Any = _ready(copy.copy(steps[place]), n_jobs, cache=None)
        else:
            tolerant = any(map(_is_tolerant, nested(estimator)))
            self.before, self.embedder, self.after = None, None, copy.deepcopy(estimator) if tolerant else estimator
            # Of the methods of one unit only the first embeds: the others find the rows in memory. A detector has one.
            for part in filter(_is_tolerant, nested(self.after)):
                _ready(part, n_jobs, cache="memory" if isinstance(part, PretrainedEmbedder) else None)

    def embedders(self) -> list[PretrainedEmbedder]:
        """Return every embedder; the fitted model of each is checked."""
        found = [self.embedder] if self.embedder is not None else list(embedders(self.after))
        for one in found:
            planning.check_fitted(vars(one), one._planned())
        return found

    @property
    def strings_are_paths(self) -> bool:
        """Whether a string names a file, as the backbones see it."""
        return any(one._planned().plan.preparer().path("a") is not None for one in self.embedders())

    @property
    def takes_frames(self) -> bool:
        """Whether several columns may be given."""
        return self.embedder is None or self.before is not None

    def key(self) -> str:
        """Return a hash of everything that decides the results: steps, parameters, and the files of models."""
        facts = [
            ({k: v for k, v in one.get_params().items() if k not in SPEED}, one._planned().model_key)
            for one in self.embedders()
        ]
        after = self.after
        if self.embedder is None and facts:
            after = copy.deepcopy(after)
            for one in embedders(after):
                one.set_params(**dict.fromkeys(SPEED))
        return _hash((self.before, facts, after))


def _hash(value: Any) -> str:
    """Return the hash of what is pickled by name, as joblib computes it; of functions without a name, of their code."""
    import joblib

    try:
        return str(joblib.hash(value, hash_name="sha1"))
    except Exception:  # noqa: BLE001 - each kind of object that cannot be pickled has its own
        return hashlib.sha1(_by_value(value), usedforsecurity=False).hexdigest()


def _by_value(value: Any) -> bytes:
    """Pickle as joblib does for its workers: functions and classes of a notebook by value."""
    from joblib.externals.loky.backend.reduction import dumps

    return bytes(dumps(value))


def _steps(estimator: Any) -> list[Any]:
    """Return the steps of a pipeline, those of pipelines in it and of a search's best estimator included."""
    if hasattr(estimator, "best_estimator_"):
        return _steps(estimator.best_estimator_)
    if type(estimator).__name__ == "FrozenEstimator":
        return _steps(estimator.estimator)
    if not isinstance(estimator, Pipeline):
        return [estimator]
    return [inner for _, step in estimator.steps if step not in (None, "passthrough") for inner in _steps(step)]


def _is_plain(embedder: PretrainedEmbedder) -> bool:
    """Return whether rows of an embedder are arrays of one axis, as the line yields them."""
    return embedder.pool != "none" and _get_output_config("transform", embedder)["dense"] == "default"


def _joined(steps: list[Any]) -> Any:
    if len(steps) < 2:
        return steps[0] if steps else None
    return make_pipeline(*steps)


def _is_tolerant(part: Any) -> bool:
    """Return whether an estimator can be told to go on where samples cannot be read."""
    return isinstance(part, BaseEstimator) and "on_error" in vars(part)


def _ready(part: Any, n_jobs: int | None, cache: str | None) -> Any:
    """Set what a job needs."""
    chosen = {"cache": cache, "on_error": "nan", "output": "numpy", "verbose": 0}
    if n_jobs is not None:
        chosen["n_jobs"] = n_jobs
    vars(part).update({name: value for name, value in chosen.items() if name in vars(part)})
    return part


def embedders(estimator: Any) -> Iterator[PretrainedEmbedder]:
    """Yield the embedders that an estimator holds as parameters or has fitted."""
    return (part for part in nested(estimator) if isinstance(part, PretrainedEmbedder))
