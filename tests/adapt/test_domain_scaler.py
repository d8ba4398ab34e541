"""Rows of every domain are moved to the reference: its moments, and with "coral" correlations."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from skltransfer.adapt import DomainScaler
from skltransfer.errors import InputWarning

RNG = np.random.default_rng(0)
PHOTOS = RNG.normal(size=(80, 4)) @ RNG.normal(size=(4, 4))
DRAWINGS = 3 * RNG.normal(size=(60, 4)) @ RNG.normal(size=(4, 4)) + 5
X = np.vstack([PHOTOS, DRAWINGS])
DOMAIN = np.array(["photo"] * 80 + ["drawing"] * 60)
Y = np.where(DOMAIN == "photo", np.arange(140) % 2, np.nan)


@parametrize_with_checks([DomainScaler(), DomainScaler("coral")])
def test_scikit_learns_checks_pass(estimator, check):
    check(estimator)


@pytest.mark.parametrize("method", ["moments", "coral"])
def test_domains_get_the_moments_of_the_reference_whose_rows_stay(method):
    rows = DomainScaler(method, reference="photo").fit_transform(X, sample_domain=DOMAIN)
    np.testing.assert_array_equal(rows[:80], PHOTOS)
    np.testing.assert_allclose(rows[80:].mean(axis=0), PHOTOS.mean(axis=0))
    if method == "moments":
        np.testing.assert_allclose(rows[80:].std(axis=0), PHOTOS.std(axis=0))


def correlation(rows):
    return np.corrcoef(rows.T)[np.triu_indices(4, 1)]


def test_coral_matches_correlations():
    many = np.vstack([np.repeat(PHOTOS, 200, 0), np.repeat(DRAWINGS, 200, 0)])  # hardly any shrinkage
    domain = np.repeat(["photo", "drawing"], [16000, 12000])
    rows = DomainScaler("coral", reference="photo").fit_transform(many, sample_domain=domain)
    np.testing.assert_allclose(correlation(rows[16000:]), correlation(PHOTOS), atol=0.02)
    assert np.abs(correlation(DRAWINGS) - correlation(PHOTOS)).max() > 0.3


def test_labeled_domain_is_the_reference():
    by_y = DomainScaler().fit(X, Y, DOMAIN).transform(X, DOMAIN)
    by_name = DomainScaler(reference="photo").fit(X, None, DOMAIN).transform(X, DOMAIN)
    np.testing.assert_array_equal(by_y, by_name)


@pytest.mark.parametrize(
    "y",
    [
        np.where(DOMAIN == "photo", "a", None),
        [0 if name == "photo" else None for name in DOMAIN],
        pd.Series(Y).astype("Int64"),
        pl.Series(Y, nan_to_null=True),
        pd.DataFrame({"a": Y, "b": None}),
        {"a": Y, "b": np.full(140, np.nan)},
        np.column_stack([Y, Y]),
    ],
    ids=["objects", "list", "pandas", "polars", "frame", "dict", "array"],
)
def test_labels_of_any_kind_say_which_domain_is_the_reference(y):
    rows = DomainScaler().fit(X, y, DOMAIN).transform(X, DOMAIN)
    np.testing.assert_array_equal(rows[:80], PHOTOS)


def test_labeled_in_part_is_less_of_a_source_than_labeled_throughout():
    y = Y.copy()
    y[100:105] = 1
    np.testing.assert_array_equal(DomainScaler().fit(X, y, DOMAIN).transform(PHOTOS, "photo"), PHOTOS)


def test_coral_gives_the_source_the_correlations_of_the_target():
    scaler = DomainScaler("coral").fit(X, Y, DOMAIN)
    target = scaler.transform(DRAWINGS, "drawing")
    np.testing.assert_allclose(target, DomainScaler().fit(X, Y, DOMAIN).transform(DRAWINGS, "drawing"))
    apart = np.abs(correlation(PHOTOS) - correlation(target)).max()
    assert np.abs(correlation(scaler.transform(PHOTOS, "photo")) - correlation(target)).max() < apart / 2


def test_without_a_source_all_domains_meet_in_the_middle():
    rows = DomainScaler().fit_transform(X, sample_domain=DOMAIN)
    np.testing.assert_allclose(rows[:80].mean(axis=0), X.mean(axis=0))
    np.testing.assert_allclose(rows[80:].std(axis=0), X.std(axis=0))


@pytest.mark.parametrize("method", ["moments", "coral"])
@pytest.mark.parametrize("domain", [None, ["photo"] * 140, 7])
def test_one_domain_does_not_move(method, domain):
    np.testing.assert_array_equal(DomainScaler(method).fit_transform(X, sample_domain=domain), X)


@pytest.mark.parametrize(
    "domain", [DOMAIN.tolist(), pd.Series(DOMAIN), pl.Series(DOMAIN), DOMAIN.astype(object)], ids=["l", "pd", "pl", "o"]
)
def test_domains_may_be_of_any_container(domain):
    expected = DomainScaler(reference="photo").fit_transform(X, sample_domain=DOMAIN)
    np.testing.assert_array_equal(DomainScaler(reference="photo").fit_transform(X, sample_domain=domain), expected)


def test_domains_may_be_numbers_and_one_may_stand_for_all_rows():
    numbers = np.where(DOMAIN == "photo", 1, -2)
    scaler = DomainScaler(reference=1).fit(X, sample_domain=numbers)
    np.testing.assert_array_equal(scaler.transform(DRAWINGS, -2), scaler.transform(X, numbers)[80:])
    np.testing.assert_array_equal(
        scaler.transform(DRAWINGS[::-1], np.full(60, -2)), scaler.transform(X, numbers)[:79:-1]
    )


def test_constant_columns_stay_finite():
    rows = np.column_stack([X, np.full(140, 0.1), np.where(DOMAIN == "photo", 3.0, RNG.normal(size=140))])
    for method in ("moments", "coral"):
        moved = DomainScaler(method, reference="photo").fit_transform(rows, sample_domain=DOMAIN)
        assert np.isfinite(moved).all()
        np.testing.assert_allclose(moved[:, 4], 0.1)
        np.testing.assert_allclose(moved[80:, 5], 3.0)


def test_more_columns_than_rows_stay_finite():
    wide = RNG.normal(size=(40, 100))
    rows = DomainScaler("coral", reference=0).fit_transform(wide, sample_domain=np.arange(40) % 2)
    assert np.isfinite(rows).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_precision_is_kept(dtype):
    assert DomainScaler().fit_transform(X.astype(dtype), sample_domain=DOMAIN).dtype == dtype


def test_integers_become_floats():
    assert DomainScaler().fit_transform(np.arange(40).reshape(20, 2)).dtype == np.float64


def test_rows_passed_are_not_changed():
    rows = X.copy()
    DomainScaler().fit_transform(rows, sample_domain=DOMAIN)
    np.testing.assert_array_equal(rows, X)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_output_may_be_a_frame(library):
    frame = pd.DataFrame(X, columns=list("abcd"))
    found = DomainScaler().set_output(transform=library).fit_transform(frame, sample_domain=DOMAIN)
    assert list(found.columns) == list("abcd")


def test_pickle_moves_the_same():
    scaler = DomainScaler("coral").fit(X, Y, DOMAIN)
    again = pickle.loads(pickle.dumps(scaler))
    np.testing.assert_array_equal(again.transform(X, DOMAIN), scaler.transform(X, DOMAIN))
    assert clone(scaler).get_params() == {"method": "coral", "reference": None}


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda s: s.transform(X[:1], ["painting"]), r"'painting' was not in fit; known are 'photo', 'drawing'"),
        (lambda s: s.transform(X[:1], ["drawings"]), r"Did you mean 'drawing'"),
        (lambda s: s.transform(X), r"Pass sample_domain.*fit saw 'photo', 'drawing'"),
        (lambda s: s.transform(X, DOMAIN[:-1]), r"has the shape \(139,\), and X has 140 rows"),
        (lambda s: s.fit(X, None, [None, *DOMAIN[1:]]), "is missing for 1 rows, such as 0"),
        (lambda s: s.set_params(reference="foto").fit(X, None, DOMAIN), "reference='foto' is no domain of fit"),
        (lambda s: s.fit(X, np.where(DOMAIN == "photo", np.inf, 0), DOMAIN), "y contains infinity"),
        (lambda s: s.fit(X, Y[:-1], DOMAIN), "X has 140 rows, and y has a column of shape"),
        (lambda s: s.set_params(method="mean").fit(X), "'method' parameter of DomainScaler must be"),
    ],
)
def test_wrong_domains_are_named(call, match):
    with pytest.raises(ValueError, match=match):
        call(DomainScaler(reference="photo").fit(X, sample_domain=DOMAIN).set_params(reference=None))


def test_domain_that_fit_was_not_told_of_is_an_error():
    with pytest.raises(ValueError, match="sample_domain was not passed to fit"):
        DomainScaler().fit(X).transform(X, DOMAIN)


def test_few_rows_are_said():
    with pytest.warns(InputWarning, match=r"Moments of few rows are noise, and domains have \{'drawing': 5\}"):
        DomainScaler(reference="photo").fit(X[:85], sample_domain=DOMAIN[:85])


def test_domains_are_routed_through_pipelines():
    labels = np.arange(140) % 2
    with config_context(enable_metadata_routing=True):
        pipeline = make_pipeline(DomainScaler(reference="photo"), LogisticRegression())
        pipeline.fit(X, labels, sample_domain=DOMAIN)
        found = pipeline.predict_proba(X, sample_domain=DOMAIN)
        scores = cross_validate(pipeline, X, labels, params={"sample_domain": DOMAIN}, error_score="raise")
    rows = DomainScaler(reference="photo").fit_transform(X, sample_domain=DOMAIN)
    np.testing.assert_array_equal(found, LogisticRegression().fit(rows, labels).predict_proba(rows))
    assert np.isfinite(scores["test_score"]).all()
