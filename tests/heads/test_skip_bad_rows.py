"""Rows with NaN are left out of `fit`, once said, and get a missing label of the right kind in `predict`."""

import pickle
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks

from skltransfer import PretrainedEmbedder, testing
from skltransfer.errors import BadSamplesWarning, InputWarning
from skltransfer.heads import SkipBadRows
from tests.graphs import save_images

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4))
NUMBERS = X @ [1.0, -1.0, 0.5, 2.0]
LABELS = np.where(NUMBERS > 0, "up", "down")
BAD = np.array([0, 7, 31])
GOOD = np.setdiff1d(np.arange(60), BAD)
HOLED = X.copy()
HOLED[BAD] = np.nan
HOLED[7, :3] = 0  # one NaN is enough

pytestmark = pytest.mark.filterwarnings("ignore:.*hold NaN and are left out:skltransfer.errors.InputWarning")


@parametrize_with_checks([SkipBadRows(LogisticRegression()), SkipBadRows(Ridge())])
def test_scikit_learns_checks_pass(estimator, check):
    check(estimator)


def test_model_is_that_of_the_good_rows():
    head = SkipBadRows(LogisticRegression()).fit(HOLED, LABELS)
    plain = LogisticRegression().fit(X[GOOD], LABELS[GOOD])
    np.testing.assert_array_equal(head.estimator_.coef_, plain.coef_)
    np.testing.assert_array_equal(head.predict(HOLED)[GOOD], plain.predict(X[GOOD]))
    np.testing.assert_array_equal(head.classes_, plain.classes_)


@pytest.mark.parametrize(
    ("y", "kind", "missing"),
    [
        (LABELS, "O", None),
        (LABELS.astype(object), "O", None),
        (LABELS == "up", "O", None),
        ((LABELS == "up").astype(int), "f", np.nan),
        ((LABELS == "up").astype(float), "f", np.nan),
    ],
    ids=["str", "object", "bool", "int", "float"],
)
def test_missing_label_fits_the_others(y, kind, missing):
    found = SkipBadRows(DecisionTreeClassifier()).fit(HOLED, y).predict(HOLED)
    assert found.dtype.kind == kind
    assert all(label is None if missing is None else np.isnan(label) for label in found[BAD])
    assert set(found[GOOD]) == set(y)


@pytest.mark.parametrize(
    ("y", "missing", "dtype"),
    [
        (LABELS, "unreadable", "<U10"),
        (LABELS, -1, object),
        ((LABELS == "up").astype(int), -1, np.int64),
        ((LABELS == "up").astype(int), "unreadable", object),
        (NUMBERS, 0, np.float64),
    ],
)
def test_label_of_bad_rows_can_be_chosen(y, missing, dtype):
    model = Ridge() if y is NUMBERS else LogisticRegression()
    found = SkipBadRows(model, missing=missing).fit(HOLED, y).predict(HOLED)
    assert found.dtype == dtype
    assert [*found[BAD]] == [missing] * 3
    assert missing not in found[GOOD]


@pytest.mark.parametrize("method", ["predict_proba", "predict_log_proba", "decision_function"])
def test_probabilities_of_bad_rows_are_nan(method):
    found = getattr(SkipBadRows(LogisticRegression()).fit(HOLED, LABELS), method)(HOLED)
    assert np.isnan(found[BAD]).all()
    assert np.isfinite(found[GOOD]).all()


def test_regressor_of_several_outputs_is_filled():
    found = SkipBadRows(Ridge()).fit(HOLED, np.column_stack([NUMBERS, -NUMBERS])).predict(HOLED)
    assert found.shape == (60, 2)
    assert np.isnan(found[BAD]).all()


def test_probabilities_of_several_outputs_are_filled():
    y = np.column_stack([LABELS, LABELS[::-1]])
    found = SkipBadRows(DecisionTreeClassifier()).fit(HOLED, y).predict_proba(HOLED)
    assert [part.shape for part in found] == [(60, 2)] * 2
    assert all(np.isnan(part[BAD]).all() for part in found)


def test_rows_left_out_are_said_once():
    with pytest.warns(InputWarning, match=r"3 of 60 rows hold NaN and are left out of fit: rows 0, 7, 31\.") as caught:
        head = SkipBadRows(LogisticRegression()).fit(HOLED, LABELS)
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        head.predict(HOLED)
        SkipBadRows(LogisticRegression()).fit(X, LABELS).score(X, LABELS)


def test_many_rows_are_counted():
    holed = np.vstack([HOLED[BAD]] * 10 + [X])
    with pytest.warns(InputWarning, match="rows 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 20 more"):
        SkipBadRows(Ridge()).fit(holed, np.arange(90))


def test_good_rows_alone_are_given_back_as_the_estimator_gives_them():
    y = (LABELS == "up").astype(int)
    found = SkipBadRows(LogisticRegression()).fit(X, y).predict(X)
    assert found.dtype.kind == "i"


def test_only_bad_rows_are_an_error_in_fit_and_missing_in_predict():
    with pytest.raises(ValueError, match=r"All 3 rows hold NaN; there is nothing to fit"):
        SkipBadRows(LogisticRegression()).fit(HOLED[[0, 31, 0]], LABELS[:3])
    head = SkipBadRows(LogisticRegression()).fit(HOLED, LABELS)
    assert head.predict(HOLED[[0, 31]]).tolist() == [None, None]
    assert np.isnan(head.predict_proba(HOLED[[0, 31]])).all()
    assert head.predict_proba(HOLED[[0, 31]]).shape == (2, 2)


@pytest.mark.parametrize("form", [np.asarray, list, pd.Series, pl.Series], ids=["array", "list", "pandas", "polars"])
def test_weights_and_labels_follow_their_rows(form):
    weights = RNG.uniform(size=60)
    head = SkipBadRows(Ridge()).fit(HOLED, form(NUMBERS), sample_weight=form(weights))
    plain = Ridge().fit(X[GOOD], NUMBERS[GOOD], sample_weight=weights[GOOD])
    np.testing.assert_allclose(head.estimator_.coef_, plain.coef_)
    assert head.score(HOLED, form(NUMBERS), form(weights)) == pytest.approx(
        plain.score(X[GOOD], NUMBERS[GOOD], weights[GOOD])
    )


def test_weights_reach_the_last_step_of_a_pipeline():
    weights = RNG.uniform(size=60)
    head = SkipBadRows(make_pipeline(StandardScaler(), Ridge())).fit(HOLED, NUMBERS, sample_weight=weights)
    plain = make_pipeline(StandardScaler(), Ridge()).fit(X[GOOD], NUMBERS[GOOD], ridge__sample_weight=weights[GOOD])
    np.testing.assert_allclose(head.predict(HOLED)[GOOD], plain.predict(X[GOOD]))


@pytest.mark.parametrize("library", [pd, pl], ids=["pandas", "polars"])
def test_frames_keep_their_names(library):
    frame = library.DataFrame({f"photo_{i}": HOLED[:, i] for i in range(4)})
    head = SkipBadRows(LogisticRegression()).fit(frame, LABELS)
    assert list(head.estimator_.feature_names_in_) == list(head.feature_names_in_) == list(frame.columns)
    assert head.predict(frame)[BAD].tolist() == [None] * 3
    assert head.predict(frame[:1]).tolist() == [None]


def test_sparse_rows_are_looked_into():
    head = SkipBadRows(LogisticRegression()).fit(sparse.csr_matrix(HOLED), LABELS)
    assert head.predict(sparse.csr_matrix(HOLED))[BAD].tolist() == [None] * 3


def test_methods_and_tags_are_those_of_the_estimator():
    from sklearn.base import is_classifier, is_regressor
    from sklearn.utils import get_tags

    assert not hasattr(SkipBadRows(Ridge()), "predict_proba")
    assert not hasattr(SkipBadRows(KNeighborsClassifier()), "decision_function")
    assert is_regressor(SkipBadRows(Ridge()))
    assert is_classifier(SkipBadRows(LogisticRegression()))
    assert get_tags(SkipBadRows(Ridge())).input_tags.allow_nan


def test_it_is_fitted_by_fit():
    with pytest.raises(NotFittedError, match="SkipBadRows instance is not fitted yet"):
        SkipBadRows(Ridge()).predict(X)
    head = pickle.loads(pickle.dumps(SkipBadRows(Ridge()).fit(X, NUMBERS)))
    np.testing.assert_allclose(head.predict(X), Ridge().fit(X, NUMBERS).predict(X))
    assert clone(head).estimator is not head.estimator


def test_search_finds_parameters_of_the_estimator():
    search = GridSearchCV(SkipBadRows(LogisticRegression()), {"estimator__C": [1e-6, 1.0]}, cv=3).fit(HOLED, LABELS)
    assert search.best_params_ == {"estimator__C": 1.0}
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_metrics_count_bad_rows_as_wrong_where_their_label_is_named():
    head = SkipBadRows(LogisticRegression(), missing="unreadable")
    scores = cross_val_score(head, HOLED, LABELS, cv=3, scoring="accuracy")
    assert 0.7 < scores.mean() < 1 - len(BAD) / 60 + 1e-9


def test_weights_are_routed():
    with config_context(enable_metadata_routing=True):
        head = SkipBadRows(Ridge()).set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        pipe = make_pipeline(head).fit(HOLED, NUMBERS, sample_weight=np.ones(60))
        search = GridSearchCV(head, {"estimator__alpha": [1.0]}, cv=3).fit(HOLED, NUMBERS, sample_weight=np.ones(60))
    assert np.isnan(pipe.predict(HOLED)[BAD]).all()
    assert search.best_score_ > 0.9


@pytest.mark.filterwarnings("ignore::skltransfer.errors.BadSamplesWarning")
@pytest.mark.parametrize("model", [LogisticRegression(), KNeighborsClassifier(2)])
def test_pipeline_with_an_embedder_works_with_samples_that_cannot_be_read(model, tmp_path):
    images = [*testing.noise_images(6), b"damaged", None]
    labels = np.array(list("abababab"))
    pipe = make_pipeline(PretrainedEmbedder(save_images(tmp_path), on_error="nan"), SkipBadRows(model))
    found = pipe.fit(images, labels).predict(images)
    assert found[6:].tolist() == [None, None]
    assert set(found[:6]) <= {"a", "b"}
    search = GridSearchCV(pipe, {"pretrainedembedder__normalize": [False, True]}, cv=2).fit(images, labels)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_embedder_and_head_each_say_once_what_is_bad(tmp_path):
    pipe = make_pipeline(PretrainedEmbedder(save_images(tmp_path), on_error="nan"), SkipBadRows(LogisticRegression()))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pipe.fit([*testing.noise_images(6), b"damaged"], list("abababa"))
    assert [warning.category for warning in caught] == [BadSamplesWarning, InputWarning]
