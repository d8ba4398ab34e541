"""Help for programs that answer requests: open every backbone before the first one comes."""

from __future__ import annotations

from typing import Any

from skltransfer._engine import stream
from skltransfer._engine.nested import nested
from skltransfer.embedder import PretrainedEmbedder

__all__ = ["warm_up"]


def warm_up(estimator: Any) -> int:
    """Open every backbone of an estimator in this process, so that the first request is as fast as the others.

    Call it when a worker process starts: sessions are not inherited by a fork.

    Parameters
    ----------
    estimator : estimator
        A `PretrainedEmbedder`, or anything that holds some: a Pipeline, ColumnTransformer, FeatureUnion or search,
        fitted or not.

    Returns
    -------
    int
        Number of backbones that are open for it.

    Raises
    ------
    ModelError, DeviceError
        If a backbone cannot be used.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from skltransfer import PretrainedEmbedder
    >>> from skltransfer.serving import warm_up
    >>> warm_up(make_pipeline(PretrainedEmbedder(n_jobs=1, cache=None), LogisticRegression()))
    1
    """
    embedders = [part for part in nested(estimator) if isinstance(part, PretrainedEmbedder)]
    plans = {plan.recipe.key: plan for plan in (one._planned().plan for one in embedders)}
    for plan in plans.values():
        plan.preparer()
        stream.open_backbone(plan)
    return len(plans)
