"""`MultiTask`: several targets, each with a head of its own, on the same rows; labels may be missing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin
from sklearn.utils import get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data

from skltransfer.errors import InputWarning, nearest, warn
from skltransfer.heads._head import choose, fitted, listed, score_of, unknown
from skltransfer.heads._rows import weights_by_task
from skltransfer.heads._targets import Targets, contain, read


def _some_head_has(method: str) -> Callable[[MultiTask], bool]:
    """Return a check whether any head has a method; heads that are not chosen yet may have it."""

    def check(self: MultiTask) -> bool:
        heads = self.heads_.values() if "heads_" in vars(self) else self._configured().values()
        return any(isinstance(head, str) or hasattr(head, method) for head in heads)

    return check


class MultiTask(MetaEstimatorMixin, BaseEstimator):
    """Fit a head for each of several targets on the same rows; labels may be missing, and of different kinds.

    Each head learns from the rows that have a label of its task: a label is missing where it is None, NaN, NaT,
    ``pandas.NA`` or null; -1 is a label. Behind a `PretrainedEmbedder` every sample is embedded once for all tasks.

    Parameters
    ----------
    heads : dict of estimators, estimator or "auto", default="auto"
        One classifier or regressor for each task, by its name: the column of y. A value of ``"auto"`` is chosen by the
        labels: for classes ``StandardScaler`` and ``LogisticRegression(C=0.01)``, for numbers ``StandardScaler`` and
        ``RidgeCV``. Labels are numbers if they are floats with a fractional part, or if more than half of 20 or more
        integers differ; all others are classes. A single estimator, or ``"auto"``, stands for every task.

        Parameters of a head are set by the name of its task: ``kind__C=0.1``, or ``kind=Ridge()`` for another head.

    Attributes
    ----------
    heads_ : dict
        The fitted heads, by task; None where no row had a label.
    classes_ : dict of ndarray, or ndarray of shape (n_classes,)
        Labels of the tasks that are classified, in the order of the columns of `predict_proba`.
    n_features_in_ : int
        Number of columns seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if X is a frame whose names are all strings.

    See Also
    --------
    task_scores : The score of each task, for ``cross_validate(scoring=task_scores)``.
    TaskStratifiedKFold : Folds that each have labels of every task.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn.linear_model import LogisticRegression, Ridge
    >>> from sklearn.pipeline import make_pipeline
    >>> from skltransfer import PretrainedEmbedder
    >>> from skltransfer.datasets import load_emoji
    >>> from skltransfer.heads import MultiTask
    >>> emoji = load_emoji()
    >>> X = emoji.images[:20] + emoji.images[-20:]
    >>> y = pd.DataFrame({"kind": 20 * ["face"] + 20 * ["other"], "bytes": [len(image) / 1000 for image in X]})
    >>> y.loc[5:15, "kind"] = None
    >>> heads = MultiTask({"kind": LogisticRegression(max_iter=1000), "bytes": Ridge()})
    >>> pipeline = make_pipeline(PretrainedEmbedder(), heads).fit(X, y)
    >>> pipeline.predict(X[:2]).columns.tolist()
    ['kind', 'bytes']
    >>> pipeline.predict(X)["kind"].tolist() == 20 * ["face"] + 20 * ["other"]
    True
    >>> pipeline.set_params(multitask__kind__C=0.1)["multitask"].heads["kind"].C
    0.1
    """

    def __init__(self, heads: Any = "auto") -> None:
        self.heads = heads

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> MultiTask:
        """Fit each head to the rows that have a label of its task.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : DataFrame, dict, list of columns, or array-like of shape (n_samples,) or (n_samples, n_tasks)
            Labels, one column per task, of pandas, polars or NumPy. scikit-learn's splitters and searches need a frame
            or an array: they count the columns of a dict or a list.
        sample_weight : array-like of shape (n_samples,), or dict or DataFrame of them, default=None
            Weights of the rows for all tasks, or by task; tasks that are not named have none.

        Returns
        -------
        MultiTask
            Itself.

        Raises
        ------
        ValueError
            If a task of y has no head or a head has no task, if a number is infinite, or if no task has a label.

        Warns
        -----
        InputWarning
            A task has no label, and is left out; or it has one class only, which is predicted for every row.
        """
        if y is None:
            raise ValueError("MultiTask requires y to be passed, but the target y is None.")
        rows = self._checked(X, reset=True)
        targets = self._matched(read(y, rows.shape[0]))
        if not any(len(column.labels) for column in targets.columns.values()):
            raise ValueError(f"y has no label of any task: {listed(targets.columns)}. All labels are missing.")
        heads, weights = self._heads_of(targets), weights_by_task(sample_weight, targets.columns)
        self.container_ = targets.kind
        self.heads_ = {
            name: fitted(name, heads[name], rows, column, weights.get(name)) for name, column in targets.columns.items()
        }
        return self

    def predict(self, X: Any) -> Any:
        """Predict a label or a number for each row and task.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        DataFrame, dict, list of ndarray, or ndarray of shape (n_samples,) or (n_samples, n_tasks)
            In the container that y had in `fit`; a dict, if the library of the frame is not installed here. The column
            of a task without labels is NaN where its head is a regressor, else None.
        """
        check_is_fitted(self)
        rows = self._checked(X, reset=False)
        found = {
            name: unknown(self._configured().get(name), rows.shape[0]) if head is None else head.predict(rows)
            for name, head in self.heads_.items()
        }
        return contain(self.container_, found, getattr(X, "index", None) if hasattr(X, "iloc") else None)

    @available_if(_some_head_has("predict_proba"))
    def predict_proba(self, X: Any) -> Any:
        """Predict the probability of each class, for the tasks whose head does.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        dict of ndarray of shape (n_samples, n_classes)
            By task; the array itself, if y was one-dimensional.
        """
        return self._by_task("predict_proba", X)

    @available_if(_some_head_has("decision_function"))
    def decision_function(self, X: Any) -> Any:
        """Compute the confidence of each row, for the tasks whose head does; as `predict_proba`."""
        return self._by_task("decision_function", X)

    def scores(self, X: Any, y: Any, sample_weight: Any = None) -> dict[Any, float]:
        """Compute the score of each task on the rows that have a label of it.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : DataFrame, dict, list of columns, or array-like of shape (n_samples,) or (n_samples, n_tasks)
            True labels; tasks may be left out.
        sample_weight : array-like of shape (n_samples,), or dict or DataFrame of them, default=None
            Weights of the rows.

        Returns
        -------
        dict of float
            Accuracy of classifiers, R² of regressors; NaN never is among them.

        Warns
        -----
        InputWarning
            A task is left out: it has no label here or had none in `fit`, or R² has fewer than two.
        """
        check_is_fitted(self)
        rows = self._checked(X, reset=False)
        targets = self._known(read(y, rows.shape[0]))
        weights = weights_by_task(sample_weight, targets.columns)
        found, skipped = {}, []
        for name, column in targets.columns.items():
            score = score_of(self.heads_[name], rows, column, weights.get(name))
            if score is None:
                skipped.append(name)
            else:
                found[name] = score
        if skipped:
            warn(f"Tasks without enough labels are left out of the score: {listed(skipped)}.", InputWarning)
        return found

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the mean of `scores`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : DataFrame, dict, list of columns, or array-like of shape (n_samples,) or (n_samples, n_tasks)
            True labels.
        sample_weight : array-like of shape (n_samples,), or dict or DataFrame of them, default=None
            Weights of the rows.

        Returns
        -------
        float
            Mean of the tasks that have labels.

        Raises
        ------
        ValueError
            If no task has a score.
        """
        found = self.scores(X, y, sample_weight)
        if not found:
            raise ValueError("No task has enough labels for a score. Use TaskStratifiedKFold, or fewer folds.")
        return float(np.mean(list(found.values())))

    @property
    def classes_(self) -> Any:
        """Labels of the tasks that are classified."""
        found = {name: head.classes_ for name, head in self.heads_.items() if hasattr(head, "classes_")}
        if self.container_ != "single":
            return found
        if not found:
            raise AttributeError("This task is a regression; it has no classes_.")
        return next(iter(found.values()))

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters, and those of the heads as ``TASK__PARAMETER``.

        Parameters
        ----------
        deep : bool, default=True
            Whether to return those of the heads.

        Returns
        -------
        dict
            Values by name.
        """
        found: dict[str, Any] = super().get_params(deep=deep)
        if deep and isinstance(self.heads, dict):
            for name, head in self.heads.items():
                inner = head.get_params() if hasattr(head, "get_params") else {}
                found |= {str(name): head} | {f"{name}__{key}": value for key, value in inner.items()}
        return found

    def set_params(self, **params: Any) -> MultiTask:
        """Set parameters, heads (``kind=Ridge()``) and parameters of heads (``kind__C=1``).

        Parameters
        ----------
        **params : dict
            Values by name.

        Returns
        -------
        MultiTask
            Itself.
        """
        if "heads" in params:
            self.heads = params.pop("heads")
        if isinstance(self.heads, dict):
            replaced = {name: params.pop(str(name)) for name in self.heads if str(name) in params}
            self.heads = {**self.heads, **replaced} if replaced else self.heads
            for name in {name.partition("__")[0] for name in params if "__" in name}:
                if isinstance(self.get_params().get(name), str):
                    raise ValueError(f"The head of {name!r} is 'auto', which has no parameters. Pass an estimator.")
        super().set_params(**params)
        return self

    def __sklearn_tags__(self) -> Any:
        """Return the tags: several targets; sparse rows and NaN where every head takes them.

        Not those of a classifier or regressor, even of a single head: scikit-learn would stratify by y, and refuse
        missing labels.
        """
        tags = super().__sklearn_tags__()
        tags.target_tags.required = tags.target_tags.multi_output = True
        inner = [get_tags(head) for head in self._configured().values() if not isinstance(head, str)]
        known = bool(inner) and len(inner) == len(self._configured())
        tags.input_tags.sparse = known and all(one.input_tags.sparse for one in inner)
        tags.input_tags.allow_nan = known and all(one.input_tags.allow_nan for one in inner)
        # scikit-learn reads it of everything that has predict_proba.
        tags.classifier_tags = next((one.classifier_tags for one in inner if one.classifier_tags), None)
        tags.non_deterministic = any(one.non_deterministic for one in inner)
        return tags

    def _onnx_parts(self) -> dict[str, Any]:
        """Return the fitted heads, for `export`."""
        return {"tasks": self.heads_}

    def _configured(self) -> dict[Any, Any]:
        """Return the heads as they were passed; one that stands for every task has the name None."""
        return self.heads if isinstance(self.heads, dict) else {None: self.heads}

    def _checked(self, X: Any, *, reset: bool) -> Any:
        """Check rows; frames go to the heads as they are. Heads refuse NaN, if they do."""
        if hasattr(X, "columns"):
            validate_data(self, X, reset=reset, skip_check_array=True)
            return X
        return validate_data(self, X, reset=reset, accept_sparse=["csr", "csc"], ensure_all_finite=False)

    def _matched(self, targets: Targets) -> Targets:
        """Return the targets under the names of the heads; check that each has one."""
        if not isinstance(self.heads, dict):
            return targets
        _check_names(self.heads)
        if not targets.named:
            if len(targets.columns) != len(self.heads):
                raise ValueError(f"y has {len(targets.columns)} columns, and there are heads {listed(self.heads)}.")
            return targets.renamed(self.heads)
        _check_known(targets.columns, self.heads)
        if left := [name for name in self.heads if name not in targets.columns]:
            raise ValueError(f"y has no column for the heads {listed(left)}; it has {listed(targets.columns)}.")
        return targets

    def _known(self, targets: Targets) -> Targets:
        """Return the targets of a score; they may be fewer than were fitted, if they have names."""
        if not targets.named:
            if len(targets.columns) != len(self.heads_):
                raise ValueError(f"y has {len(targets.columns)} columns; fitted were {listed(self.heads_)}.")
            return targets.renamed(self.heads_)
        _check_known(targets.columns, self.heads_)
        return targets

    def _heads_of(self, targets: Targets) -> dict[Any, Any]:
        """Return an unfitted head for each task."""
        heads = self.heads if isinstance(self.heads, dict) else dict.fromkeys(targets.columns, self.heads)
        return {name: choose(heads[name], column.labels, name) for name, column in targets.columns.items()}

    def _by_task(self, method: str, X: Any) -> Any:
        """Call a method of the heads that have it."""
        check_is_fitted(self)
        rows = self._checked(X, reset=False)
        found = {name: getattr(head, method)(rows) for name, head in self.heads_.items() if hasattr(head, method)}
        return next(iter(found.values())) if self.container_ == "single" else found


def _check_names(heads: dict[Any, Any]) -> None:
    """Refuse names of tasks that cannot be names of parameters."""
    if not heads:
        raise ValueError("heads={} holds no head; pass one for each task, or 'auto'.")
    if wrong := [name for name in heads if "__" in str(name) or str(name) == "heads"]:
        raise ValueError(f"Tasks cannot be called {listed(wrong)}: parameters are set as TASK__PARAMETER. Rename them.")


def _check_known(names: Iterable[Any], known: Iterable[Any]) -> None:
    """Refuse tasks that have no head."""
    known = list(known)
    if wrong := [name for name in names if name not in known]:
        close = nearest(str(wrong[0]), map(str, known))
        raise ValueError(f"y has the columns {listed(wrong)} without a head; heads are {listed(known)}.{close}")
