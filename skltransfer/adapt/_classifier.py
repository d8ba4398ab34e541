"""`AdaptedClassifier`: a classifier that learns from labels of one domain what it predicts in another."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.metrics import accuracy_score
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, check_is_fitted, validate_data

from skltransfer.adapt._samples import check_known, domains_of, labels_of
from skltransfer.adapt._scaler import DomainScaler

#: Shares of the target's rows that are believed in the first round and in the last; the others are evenly between.
FIRST_SHARE, LAST_SHARE = 0.3, 0.9


def _has(method: str) -> Callable[[Any], bool]:
    """Return a check whether the wrapped classifier has a method, which raises its own AttributeError if not."""

    def check(self: AdaptedClassifier) -> bool:
        getattr(vars(self).get("estimator_", self.estimator), method)
        return True

    return check


class AdaptedClassifier(ClassifierMixin, MetaEstimatorMixin, BaseEstimator):
    """Fit a classifier to labeled rows of a source and unlabeled rows of a target, to predict the target.

    A missing label (None, NaN, ``pandas.NA``) marks a row of the target. First the domains are aligned, see
    `DomainScaler`; then the classifier is fitted to the source and, round by round, to a growing share of the target:
    of the rows it takes for each class, those it is surest of. Classes get as many rows as their share of the source
    allows, so that none takes over.

    It gains where source and target have the same classes in similar shares. Where they do not, half of the gain is
    lost and some pairs of domains lose accuracy: check with `circular_validation`, or with some labels of the target.

    Parameters
    ----------
    estimator : classifier
        A clone of it is fitted; a pipeline may be one. With `rounds` it needs `predict_proba` or `decision_function`.
    align : {"moments", "coral"} or None, default="moments"
        How rows of the target are moved to the source, see `DomainScaler`; None leaves them where they are.
    rounds : int, default=4
        Rounds of self-training: four believe up to 30, 50, 70 and 90 % of the target's rows. 0 fits to the source only.
        Each round fits the classifier once more.

    Attributes
    ----------
    estimator_ : classifier
        The classifier of the last round.
    scaler_ : DomainScaler or None
        The fitted alignment.
    classes_ : ndarray of shape (n_classes,)
        Labels.
    domains_ : list
        Domains seen in `fit`: ``"source"`` and ``"target"`` where none were passed and labels are missing.
    target_ : object
        Domain of rows to predict where none is passed; None if `fit` saw several targets.
    n_features_in_ : int
        Number of columns seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if X is a frame whose names are all strings.

    References
    ----------
    Zou, Yu, Kumar, Wang: Unsupervised domain adaptation for semantic segmentation via class-balanced self-training,
    ECCV 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skltransfer.adapt import AdaptedClassifier
    >>> rng = np.random.default_rng(0)
    >>> source = np.vstack([rng.normal(size=(50, 2)), rng.normal(size=(50, 2)) + 6])
    >>> X, y = np.vstack([source, source + 40]), ["small"] * 50 + ["large"] * 50 + [None] * 100
    >>> model = AdaptedClassifier(LogisticRegression()).fit(X, y)
    >>> model.predict(source[[0, 99]] + 40).tolist()
    ['small', 'large']
    >>> model.predict(source[[0, 99]], sample_domain="source").tolist()
    ['small', 'large']
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "estimator": [HasMethods(["fit", "predict"])],
        "align": [StrOptions({"moments", "coral"}), None],
        "rounds": [Interval(Integral, 0, None, closed="left")],
    }
    # Asked for by default, so that a pipeline needs the switch of scikit-learn only.
    __metadata_request__fit: ClassVar[dict[str, bool]] = {"sample_domain": True}
    __metadata_request__predict: ClassVar[dict[str, bool]] = {"sample_domain": True}
    __metadata_request__predict_proba: ClassVar[dict[str, bool]] = {"sample_domain": True}
    __metadata_request__decision_function: ClassVar[dict[str, bool]] = {"sample_domain": True}
    __metadata_request__score: ClassVar[dict[str, bool]] = {"sample_domain": True}

    def __init__(self, estimator: Any, *, align: str | None = "moments", rounds: int = 4) -> None:
        self.estimator = estimator
        self.align = align
        self.rounds = rounds

    def fit(self, X: Any, y: Any = None, sample_domain: Any = None) -> AdaptedClassifier:
        """Align the domains, and fit to the labeled rows and, round by round, to the others.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows of all domains.
        y : array-like of shape (n_samples,)
            Labels; missing ones are those of the target. Some rows of the target may have labels, if `sample_domain`
            is passed.
        sample_domain : array-like of shape (n_samples,), default=None
            Domain of each row. None: labeled rows are the source, the others the target.

        Returns
        -------
        AdaptedClassifier
            Itself.

        Raises
        ------
        ValueError
            If no row has a label, a label is a number that is no class, or a domain is missing.
        """
        self._validate_params()
        if y is None:
            raise ValueError("AdaptedClassifier requires y to be passed, but the target y is None.")
        rows = self._checked(X, reset=True)
        labels, labeled = labels_of(y)
        check_consistent_length(rows, labeled)
        if not labeled.any():
            raise ValueError(f"None of {len(rows)} rows has a label; the rows of the source need one.")
        check_classification_targets(labels)
        domains = _domains(sample_domain, labeled)
        self.domains_ = list(dict.fromkeys(domains.tolist()))
        self.target_ = _only_target(domains, labeled, self.domains_)
        self.scaler_ = DomainScaler(self.align).fit(rows, _marks(labeled), domains) if self.align else None
        self.estimator_ = self._trained(self._aligned(rows, domains), labels, labeled)
        self.classes_ = self.estimator_.classes_
        return self

    def predict(self, X: Any, sample_domain: Any = None) -> npt.NDArray[Any]:
        """Predict a label for each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        sample_domain : array-like of shape (n_samples,), or str or int, default=None
            Domain of each row, or of all; it must have been in `fit`. None: the target.

        Returns
        -------
        ndarray of shape (n_samples,)
            Labels.

        Raises
        ------
        ValueError
            If a domain was not in `fit`, or it is not said which of several targets the rows belong to.
        """
        rows = self._prepared(X, sample_domain)
        return np.asarray(self.estimator_.predict(rows))

    @available_if(_has("predict_proba"))
    def predict_proba(self, X: Any, sample_domain: Any = None) -> npt.NDArray[Any]:
        """Predict the probability of each class; as `predict`."""
        rows = self._prepared(X, sample_domain)
        return np.asarray(self.estimator_.predict_proba(rows))

    @available_if(_has("decision_function"))
    def decision_function(self, X: Any, sample_domain: Any = None) -> npt.NDArray[Any]:
        """Compute the confidence of each row; as `predict`."""
        rows = self._prepared(X, sample_domain)
        return np.asarray(self.estimator_.decision_function(rows))

    def score(self, X: Any, y: Any, sample_weight: Any = None, sample_domain: Any = None) -> float:
        """Return the accuracy on the rows that have a label.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            True labels; some may be missing, as in a fold of the samples of `fit`.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights.
        sample_domain : array-like of shape (n_samples,), or str or int, default=None
            Domain of each row, or of all. None: where labels are missing, the labeled rows are of the source, as in
            `fit`; where all rows have one, they are of the target, as in `predict`.

        Returns
        -------
        float
            Accuracy.

        Raises
        ------
        ValueError
            If no row has a label.
        """
        labels, labeled = labels_of(y)
        if not labeled.any():
            raise ValueError(f"None of {len(labeled)} rows has a label; there is nothing to score.")
        if sample_domain is None and not labeled.all() and set(self.domains_) == set(_IMPLIED):
            sample_domain = _IMPLIED[0]
        found = self.predict(X, sample_domain)[labeled]
        weights = None if sample_weight is None else np.asarray(sample_weight)[labeled]
        return float(accuracy_score(labels, found, sample_weight=weights))

    def __sklearn_is_fitted__(self) -> bool:
        """Return whether `fit` was called."""
        return "estimator_" in vars(self)

    def _onnx_parts(self) -> dict[str, Any]:
        """Return the move of rows of the target and the classifier, for `export`."""
        if self.target_ is None:
            raise ValueError(f"sample_domain decides how rows are moved, and fit saw {self.domains_}: not one graph.")
        move = None if self.scaler_ is None else self.scaler_.moves_[self.target_]
        return {"affine": move, "estimator": self.estimator_}

    def _checked(self, X: Any, *, reset: bool) -> npt.NDArray[Any]:
        rows: npt.NDArray[Any] = validate_data(self, X, reset=reset, dtype=[np.float64, np.float32])
        return rows

    def _aligned(self, rows: npt.NDArray[Any], domains: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return rows if self.scaler_ is None else np.asarray(self.scaler_.transform(rows, domains))

    def _prepared(self, X: Any, sample_domain: Any) -> npt.NDArray[Any]:
        """Check rows to predict, and move them as those of their domain."""
        check_is_fitted(self)
        rows = self._checked(X, reset=False)
        if sample_domain is None:
            if self.target_ is None:
                raise ValueError(f"Pass sample_domain, the domain of each row; fit saw {self.domains_}.")
            sample_domain = self.target_
        domains = domains_of(sample_domain, len(rows))
        check_known(domains, self.domains_)
        return self._aligned(rows, domains)

    def _trained(self, rows: npt.NDArray[Any], labels: npt.NDArray[Any], labeled: npt.NDArray[np.bool_]) -> Any:
        """Fit to the labeled rows, then in rounds also to the unlabeled ones that the last fit was surest of."""
        source, target = rows[labeled], rows[~labeled]
        model = clone(self.estimator).fit(source, labels)
        if not len(target):
            return model
        for share in np.linspace(LAST_SHARE, FIRST_SHARE, self.rounds)[::-1]:
            guessed = model.predict(target)
            sure = _surest(guessed, _confidence(model, target), _quotas(labels, share * len(target)))
            taught = np.concatenate([labels, guessed[sure]])
            model = clone(self.estimator).fit(np.concatenate([source, target[sure]]), taught)
        return model


#: Names of the domains where none are passed.
_IMPLIED = ("source", "target")


def _domains(sample_domain: Any, labeled: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    """Return the domain of each row; the implied ones, source first, where none are passed."""
    if sample_domain is not None:
        return domains_of(sample_domain, len(labeled))
    return np.where(labeled, *_IMPLIED).astype(object)


def _only_target(domains: npt.NDArray[Any], labeled: npt.NDArray[np.bool_], known: list[Any]) -> Any:
    """Return the one domain that has unlabeled rows, or the one domain there is."""
    targets = list(dict.fromkeys(domains[~labeled].tolist())) or known
    return targets[0] if len(targets) == 1 else None


def _marks(labeled: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    """Return labels of which only the missing ones count."""
    return np.where(labeled, 1.0, np.nan)


def _confidence(model: Any, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return how sure a model is of its prediction of each row."""
    if hasattr(model, "predict_proba"):
        return np.asarray(model.predict_proba(rows).max(axis=1))
    if not hasattr(model, "decision_function"):
        raise TypeError(
            f"{model!r} has neither predict_proba nor decision_function, which self-training needs. "
            "Pass rounds=0, or another classifier."
        )
    values = model.decision_function(rows)
    return np.asarray(np.abs(values) if values.ndim == 1 else values.max(axis=1))


def _quotas(labels: npt.NDArray[Any], number: float) -> dict[Any, int]:
    """Return how many rows of each class to believe: the number, divided as the classes of the source are."""
    counts: dict[Any, int] = {}
    for label in labels.tolist():
        counts[label] = counts.get(label, 0) + 1
    return {label: int(np.ceil(number * count / len(labels))) for label, count in counts.items()}


def _surest(guessed: npt.NDArray[Any], confidence: npt.NDArray[Any], quotas: dict[Any, int]) -> npt.NDArray[np.intp]:
    """Return the rows of the highest confidence, of each class as many as its quota, or as there are."""
    left, chosen = dict(quotas), []
    labels = guessed.tolist()
    for row in np.argsort(-confidence, kind="stable").tolist():
        if left[labels[row]] > 0:
            left[labels[row]] -= 1
            chosen.append(row)
    return np.sort(np.asarray(chosen, np.intp))
