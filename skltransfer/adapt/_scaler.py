"""`DomainScaler`: rows of every domain, moved to the mean and the spread of one of them."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.covariance import ledoit_wolf
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from skltransfer.adapt._samples import check_known, domains_of, labeled, sources
from skltransfer.errors import InputWarning, warn

Rows = npt.NDArray[np.floating[Any]]
#: What is subtracted, what is multiplied with (a matrix for correlations), and what is added.
Move = tuple[Rows, Rows, Rows]

#: Moments of fewer rows are noise: 20 rows gave half of the gain of 70 (guide, "Several targets, other domains").
MIN_ROWS = 10


class DomainScaler(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Move the rows of every domain to the mean and standard deviation of the reference.

    A backbone places photographs and drawings, or reviews of books and of kitchens, in different parts of the space.
    Moved onto each other, what was learned in one serves the other. Rows of the reference stay as they are, so that a
    classifier's tuned parameters keep their meaning. No labels are needed; classes should have similar shares in all
    domains, or their differences are taken for those of the domains.

    Parameters
    ----------
    method : {"moments", "coral"}, default="moments"
        ``"moments"`` matches mean and standard deviation of each column; ``"coral"`` correlations as well, by
        Ledoit-Wolf covariances: the source gets those of the target, since rows to predict bear no more noise. It
        gained more on photographs of four styles, less on emoji and reviews; its time grows with the cube of the number
        of columns.
    reference : str or int, default=None
        The domain that stays, and that all others are matched to; with ``"coral"``, name the target. None: the source,
        which are the domains that are labeled throughout, if y in `fit` has missing labels, else all domains together.

    Attributes
    ----------
    domains_ : list
        Domains seen in `fit`; ``[None]`` if none were passed.
    moves_ : dict
        By domain: what is subtracted from its rows, multiplied with and added; None where they stay as they are.
    n_features_in_ : int
        Number of columns seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if X is a frame whose names are all strings.

    See Also
    --------
    AdaptedClassifier : Aligns domains in the same way, and learns from the unlabeled rows as well.

    Notes
    -----
    In a `Pipeline`, ``sample_domain`` needs ``sklearn.set_config(enable_metadata_routing=True)``; `fit` and `transform`
    ask for it by themselves. Without it there is one domain, and nothing moves.

    References
    ----------
    Sun, Feng, Saenko: Return of frustratingly easy domain adaptation, AAAI 2016.

    Examples
    --------
    >>> import numpy as np
    >>> from skltransfer.adapt import DomainScaler
    >>> photos = np.random.default_rng(0).normal(size=(50, 2))
    >>> X, domain = np.vstack([photos, 3 * photos + 1]), np.repeat(["photo", "drawing"], 50)
    >>> rows = DomainScaler(reference="photo").fit_transform(X, sample_domain=domain)
    >>> bool(np.allclose(rows[50:], photos)), bool((rows[:50] == photos).all())
    (True, True)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "method": [StrOptions({"moments", "coral"})],
        "reference": "no_validation",
    }
    # Asked for by default, so that a pipeline needs the switch of scikit-learn only.
    __metadata_request__fit: ClassVar[dict[str, bool]] = {"sample_domain": True}
    __metadata_request__transform: ClassVar[dict[str, bool]] = {"sample_domain": True}

    def __init__(self, method: str = "moments", *, reference: Any = None) -> None:
        self.method = method
        self.reference = reference

    def fit(self, X: Any, y: Any = None, sample_domain: Any = None) -> DomainScaler:
        """Compute how each domain moves.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows of all domains.
        y : array-like of shape (n_samples,) or (n_samples, n_tasks), default=None
            Labels; only which are missing counts, see `reference`.
        sample_domain : array-like of shape (n_samples,), default=None
            Domain of each row, by name or number. None: there is one.

        Returns
        -------
        DomainScaler
            Itself.

        Raises
        ------
        ValueError
            If the reference is none of the domains, or a domain is missing.

        Warns
        -----
        InputWarning
            A domain has fewer than 10 rows.
        """
        self._validate_params()
        rows = self._checked(X, reset=True)
        domains = _of_rows(sample_domain, len(rows))
        self.domains_ = list(dict.fromkeys(domains.tolist()))
        stay = self._references(domains, y)
        columns = {name: _Columns(rows[domains == name]) for name in self.domains_}
        target = columns[stay[0]] if len(stay) == 1 else _Columns(rows[np.isin(domains, _objects(stay))])
        turns = self._turns(columns, stay) if self.method == "coral" else {}
        self.moves_ = {
            name: None if stay == [name] and name not in turns else _move(own, target, turns.get(name))
            for name, own in columns.items()
        }
        _warn_of_few({name: len(own.rows) for name, own in columns.items() if self.moves_[name]})
        return self

    def transform(self, X: Any, sample_domain: Any = None) -> Rows:
        """Move rows by what was computed for their domain.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        sample_domain : array-like of shape (n_samples,), or str or int, default=None
            Domain of each row, or of all; it must have been in `fit`. Left out only if `fit` saw one domain.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            float32 or float64, as the rows.

        Raises
        ------
        ValueError
            If a domain was not in `fit`, or it is not said which of several the rows belong to.
        """
        check_is_fitted(self)
        rows = self._checked(X, reset=False)
        if sample_domain is None and len(self.domains_) > 1:
            known = ", ".join(map(repr, self.domains_))
            raise ValueError(f"Pass sample_domain, the domain of each row; fit saw {known}.")
        if sample_domain is not None and self.domains_ == [None]:
            raise ValueError("sample_domain was not passed to fit, so that no domain is known; pass it there as well.")
        domains = _of_rows(self.domains_[0] if sample_domain is None else sample_domain, len(rows))
        check_known(domains, self.domains_)
        moved = rows.copy()
        for name, move in self.moves_.items():
            own = np.flatnonzero(domains == name)
            if move is not None and len(own):
                moved[own] = _moved(rows[own], *move)
        return moved

    def fit_transform(self, X: Any, y: Any = None, sample_domain: Any = None) -> Rows:
        """Fit, and move the same rows. `TransformerMixin` would drop ``sample_domain`` before `transform`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows of all domains.
        y : array-like of shape (n_samples,) or (n_samples, n_tasks), default=None
            Labels, as in `fit`.
        sample_domain : array-like of shape (n_samples,), default=None
            Domain of each row.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            float32 or float64, as the rows.
        """
        return self.fit(X, y, sample_domain).transform(X, sample_domain)

    def __sklearn_tags__(self) -> Any:
        """Return the tags: float32 and float64 are kept."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _onnx_parts(self) -> dict[str, Any]:
        """Return the move of the only domain, for `export`, which knows no others."""
        check_is_fitted(self)
        if len(self.domains_) > 1:
            raise ValueError(f"sample_domain decides how rows are moved, and fit saw {self.domains_}: not one graph.")
        return {"affine": self.moves_[self.domains_[0]]}

    def _checked(self, X: Any, *, reset: bool) -> Rows:
        rows: Rows = validate_data(self, X, reset=reset, dtype=[np.float64, np.float32])
        return rows

    def _references(self, domains: npt.NDArray[Any], y: Any) -> list[Any]:
        """Return the domains whose rows are the reference."""
        if self.reference is None:
            return sources(domains, labeled(y, len(domains))) if len(self.domains_) > 1 else self.domains_
        if self.reference not in self.domains_:
            known = ", ".join(map(repr, self.domains_))
            raise ValueError(
                f"reference={self.reference!r} is no domain of fit; these are {known}. Pass sample_domain."
            )
        return [self.reference]

    def _turns(self, columns: dict[Any, _Columns], stay: list[Any]) -> dict[Any, Rows]:
        """Return the matrices that give domains the correlations of others: of the target, if it is known."""
        target = [name for name in columns if name not in stay] if self.reference is None else []
        goal, turned = (target, stay) if target else (stay, [name for name in columns if stay != [name]])
        if not turned:
            return {}
        color = _power(np.concatenate([columns[name].standardized() for name in goal]), 0.5)
        return {name: _power(columns[name].standardized(), -0.5) @ color for name in turned}


def _of_rows(sample_domain: Any, n_rows: int) -> npt.NDArray[Any]:
    """Return the domain of each row: None, where there is one that has no name."""
    return np.full(n_rows, None, object) if sample_domain is None else domains_of(sample_domain, n_rows)


def _objects(values: list[Any]) -> npt.NDArray[Any]:
    array = np.empty(len(values), object)
    array[:] = values
    return array


class _Columns:
    """Mean, spread and standardized rows of one domain, in double precision."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows.astype(np.float64, copy=False)
        self.mean = self.rows.mean(axis=0)
        self.std = self.rows.std(axis=0)
        # A constant column has a spread of some last bits of its mean.
        tiny = self.std <= 10 * np.finfo(np.float64).eps * np.maximum(1, np.abs(self.mean))
        self.std = np.where(tiny, 0.0, self.std)
        self.divisor = np.where(tiny, 1.0, self.std)

    def standardized(self) -> Rows:
        """Return rows of mean 0 and standard deviation 1; constant columns are 0."""
        return np.asarray((self.rows - self.mean) / self.divisor)


def _warn_of_few(numbers: dict[Any, int]) -> None:
    if few := {name: number for name, number in numbers.items() if number < MIN_ROWS}:
        warn(
            f"Moments of few rows are noise, and domains have {few}. 70 rows are enough, 20 half as good.", InputWarning
        )


def _move(own: _Columns, target: _Columns, turn: Rows | None) -> Move:
    """Return the move that matches mean and standard deviation, and correlations by a turn between the two.

    A constant column is shifted only: it has no spread that could be stretched.
    """
    if turn is None:
        return own.mean, np.where(own.std > 0, target.std / own.divisor, 1.0), target.mean
    return own.mean, turn / own.divisor[:, None] * target.std, target.mean


def _power(standardized: Rows, exponent: float) -> Rows:
    """Return a power of the covariance of standardized rows, which Ledoit-Wolf shrinks so that it has an inverse."""
    covariance, _ = ledoit_wolf(standardized, assume_centered=True)
    values, vectors = np.linalg.eigh(covariance)
    values = np.maximum(values, np.finfo(np.float64).eps * max(values.max(), 1.0))
    return np.asarray((vectors * values**exponent) @ vectors.T)


def _moved(rows: Rows, offset: Rows, factor: Rows, target: Rows) -> Rows:
    """Return moved rows, in double precision until the end."""
    centered = rows - offset
    return np.asarray((centered @ factor if factor.ndim == 2 else centered * factor) + target)
