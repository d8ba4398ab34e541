"""A classifier learns in one domain and predicts in another; missing labels mark rows of the target."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import GridSearchCV, KFold, cross_validate
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.utils.estimator_checks import parametrize_with_checks

import skltransfer
from skltransfer import PretrainedEmbedder, testing
from skltransfer.adapt import AdaptedClassifier, circular_validation

RNG = np.random.default_rng(0)
CLASSES = np.repeat([0, 1, 2], 40)
SOURCE = RNG.normal(size=(120, 3)) + 4 * np.eye(3)[CLASSES]
TARGET = (RNG.normal(size=(120, 3)) + 4 * np.eye(3)[CLASSES]) * [2, 0.5, 3] + [20, -10, 5]
X = np.vstack([SOURCE, TARGET])
Y = np.concatenate([CLASSES, np.full(120, np.nan)])
DOMAIN = np.repeat(["photo", "drawing"], 120)


@parametrize_with_checks(
    [
        AdaptedClassifier(LogisticRegression()),
        AdaptedClassifier(RidgeClassifier(), align="coral"),
        AdaptedClassifier(make_pipeline(StandardScaler(), LogisticRegression()), align=None, rounds=0),
    ]
)
def test_scikit_learns_checks_pass(estimator, check):
    check(estimator)


@pytest.mark.parametrize("estimator", [LogisticRegression(), LinearSVC(), make_pipeline(StandardScaler(), LinearSVC())])
@pytest.mark.parametrize("align", ["moments", "coral"])
def test_target_is_predicted_where_the_source_alone_fails(estimator, align):
    model = AdaptedClassifier(estimator, align=align).fit(X, Y)
    assert clone(estimator).fit(SOURCE, CLASSES).score(TARGET, CLASSES) < 0.6
    assert model.score(TARGET, CLASSES) > 0.95
    assert model.score(SOURCE, CLASSES, sample_domain="source") > 0.95


@pytest.mark.parametrize("rounds", [0, 4])
def test_with_all_labels_it_is_the_estimator_itself(rounds):
    model = AdaptedClassifier(LogisticRegression(), rounds=rounds).fit(SOURCE, CLASSES)
    plain = LogisticRegression().fit(SOURCE, CLASSES)
    np.testing.assert_array_equal(model.predict_proba(SOURCE), plain.predict_proba(SOURCE))
    np.testing.assert_array_equal(model.decision_function(SOURCE), plain.decision_function(SOURCE))
    assert model.score(SOURCE, CLASSES) == plain.score(SOURCE, CLASSES)


def test_without_alignment_and_rounds_it_is_the_source_alone():
    model = AdaptedClassifier(LogisticRegression(), align=None, rounds=0).fit(X, Y)
    np.testing.assert_array_equal(model.estimator_.coef_, LogisticRegression().fit(SOURCE, CLASSES).coef_)


WORDS = np.array(["ape", "bee", "cat"])[CLASSES].astype(object)
GAPS = [None] * 120


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        (Y, [0.0, 1.0, 2.0]),
        (CLASSES.tolist() + GAPS, [0, 1, 2]),
        (CLASSES.tolist() + [pd.NA] * 120, [0, 1, 2]),
        (pd.Series(CLASSES.tolist() + GAPS, dtype="Int64"), [0, 1, 2]),
        (pl.Series(CLASSES.tolist() + GAPS), [0, 1, 2]),
        (np.ma.MaskedArray(np.tile(CLASSES, 2), np.arange(240) >= 120), [0, 1, 2]),
        (WORDS.tolist() + GAPS, ["ape", "bee", "cat"]),
        (WORDS.tolist() + [np.nan] * 120, ["ape", "bee", "cat"]),
        (pd.Series(WORDS.tolist() + GAPS), ["ape", "bee", "cat"]),
        (pd.Series(WORDS.tolist() + GAPS, dtype="category"), ["ape", "bee", "cat"]),
        (pl.Series(WORDS.tolist() + GAPS), ["ape", "bee", "cat"]),
    ],
    ids=["nan", "None", "NA", "Int64", "polars", "masked", "text", "text nan", "pandas", "category", "polars text"],
)
def test_missing_labels_of_every_kind_mark_the_target(y, classes):
    model = AdaptedClassifier(LogisticRegression()).fit(X, y)
    assert model.classes_.tolist() == classes
    assert [type(label) for label in model.classes_.tolist()] == [type(label) for label in classes]
    assert np.mean(model.predict(TARGET) == np.asarray(classes, object)[CLASSES]) > 0.95


def test_minus_one_is_a_label():
    y = np.where(CLASSES == 0, -1, CLASSES)
    assert AdaptedClassifier(LogisticRegression()).fit(SOURCE, y).classes_.tolist() == [-1, 1, 2]


def test_believed_rows_are_the_surest_of_each_class_up_to_its_share_of_the_source():
    from skltransfer.adapt._classifier import _quotas, _surest

    quotas = _quotas(np.array(["a", "b", "a", "a"]), 8)
    assert quotas == {"a": 6, "b": 2}
    guessed = np.array(["a"] * 4 + ["b"] * 10)
    confidence = np.concatenate([np.linspace(0.5, 0.6, 4), np.linspace(0.9, 0.99, 10)])
    assert _surest(guessed, confidence, quotas).tolist() == [0, 1, 2, 3, 12, 13]


def test_self_training_fits_once_more_for_each_round():
    class Counted(LogisticRegression):
        sizes = []  # noqa: RUF012 - shared by the clones, on purpose

        def fit(self, X, y, sample_weight=None):
            self.sizes.append(len(y))
            return super().fit(X, y)

    AdaptedClassifier(Counted(), rounds=4).fit(X, Y)
    assert Counted.sizes[0] == 120
    assert np.diff(Counted.sizes).min() >= 20
    assert Counted.sizes[-1] in range(228, 232)


def test_labels_in_the_target_are_used_where_domains_are_passed():
    y = Y.copy()
    y[200] = 2
    model = AdaptedClassifier(LogisticRegression(), rounds=0).fit(X, y, DOMAIN)
    assert model.target_ == "drawing"
    alone = AdaptedClassifier(LogisticRegression(), rounds=0).fit(X, Y, DOMAIN)
    assert (model.estimator_.coef_ != alone.estimator_.coef_).any()
    np.testing.assert_array_equal(model.scaler_.transform(SOURCE, "photo"), SOURCE)


def test_several_targets_have_to_be_named():
    domain = np.where(np.arange(240) < 180, DOMAIN, "sketch")
    model = AdaptedClassifier(LogisticRegression()).fit(X, Y, domain)
    with pytest.raises(ValueError, match="Pass sample_domain"):
        model.predict(TARGET)
    assert model.predict(TARGET[:60], "drawing").shape == (60,)


def test_score_of_samples_of_fit_counts_the_labeled_ones_as_source():
    model = AdaptedClassifier(LogisticRegression()).fit(X, Y)
    assert model.score(X, Y) == model.score(SOURCE, CLASSES, sample_domain="source") > 0.95
    y = Y.copy()
    y[0] = 2  # wrong, and of no weight
    assert model.score(X, y, sample_weight=np.arange(240)) == model.score(X[1:], Y[1:]) > model.score(X, y)


@pytest.mark.parametrize(
    ("y", "domain", "match"),
    [
        (None, None, "requires y to be passed"),
        (np.full(240, np.nan), None, "None of 240 rows has a label"),
        (np.where(np.isnan(Y), np.inf, Y), None, "y contains infinity"),
        (np.where(np.isnan(Y), np.nan, Y + 0.5), None, "Unknown label type: continuous"),
        (Y[:-1], None, "inconsistent numbers of samples"),
        (np.column_stack([Y, Y]), None, "y should be a 1d array"),
        (Y, DOMAIN[:-1], "sample_domain has the shape"),
        (Y, np.where(np.arange(240) == 3, None, DOMAIN), "sample_domain is missing for 1 rows, such as 3"),
    ],
)
def test_wrong_labels_are_named(y, domain, match):
    with pytest.raises(ValueError, match=match):
        AdaptedClassifier(LogisticRegression()).fit(X, y, domain)


def test_column_of_labels_is_taken_with_a_warning():
    with pytest.warns(DataConversionWarning, match="column-vector"):
        AdaptedClassifier(LogisticRegression()).fit(X, Y[:, None])


@pytest.mark.parametrize("align", ["moments", None])
def test_unseen_domain_is_named(align):
    model = AdaptedClassifier(LogisticRegression(), align=align).fit(X, Y, DOMAIN)
    with pytest.raises(ValueError, match="'sketch' was not in fit; known are 'photo', 'drawing'"):
        model.predict(TARGET, "sketch")


@pytest.mark.parametrize(
    ("parameters", "match"), [({"align": "mean"}, "'align' parameter"), ({"rounds": -1}, "'rounds' parameter")]
)
def test_wrong_parameters_are_named(parameters, match):
    with pytest.raises(ValueError, match=match):
        AdaptedClassifier(LogisticRegression(), **parameters).fit(X, Y)


def test_estimator_without_confidence_is_named():
    class Sure(NearestCentroid):
        predict_proba = decision_function = property()

    with pytest.raises(TypeError, match="neither predict_proba nor decision_function"):
        AdaptedClassifier(Sure()).fit(X, Y)
    assert AdaptedClassifier(Sure(), rounds=0).fit(X, Y).score(TARGET, CLASSES) > 0.95


def test_pickle_predicts_the_same():
    model = AdaptedClassifier(LogisticRegression()).fit(X, Y)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict_proba(X), model.predict_proba(X))
    with pytest.raises(NotFittedError, match="not fitted"):
        clone(model).predict(X)


# ---------------------------------------------------------------------------------------------------------------------
# Pipelines and searches


def test_search_needs_no_switch():
    grid = {"adaptedclassifier__align": [None, "moments"], "adaptedclassifier__estimator__C": [0.1, 1]}
    pipeline = make_pipeline(StandardScaler(), AdaptedClassifier(LogisticRegression()))
    search = GridSearchCV(pipeline, grid, cv=KFold(4, shuffle=True, random_state=0), error_score="raise")
    assert search.fit(X, Y).best_score_ > 0.95


def test_domains_are_routed_through_pipelines_and_searches():
    grid = {"adaptedclassifier__align": [None, "moments"]}
    folds = KFold(4, shuffle=True, random_state=0)
    with config_context(enable_metadata_routing=True):
        pipeline = make_pipeline(StandardScaler(), AdaptedClassifier(LogisticRegression()))
        fitted = clone(pipeline).fit(X, Y, sample_domain=DOMAIN)
        assert np.mean(fitted.predict(TARGET, sample_domain="drawing") == CLASSES) > 0.95
        options = {"cv": folds, "params": {"sample_domain": DOMAIN}, "error_score": "raise"}
        assert cross_validate(pipeline, X, Y, **options)["test_score"].min() > 0.9
        search = GridSearchCV(pipeline, grid, cv=folds, error_score="raise").fit(X, Y, sample_domain=DOMAIN)
        assert search.best_estimator_.predict(TARGET, sample_domain="drawing").shape == (120,)


def test_every_sample_is_embedded_once(tmp_path):
    model = testing.save_backbone(testing.image_backbone(), tmp_path)
    images, y = testing.noise_images(40), ["a", "b"] * 10 + [None] * 20
    pipeline = make_pipeline(
        PretrainedEmbedder(model, device="cpu"), AdaptedClassifier(LogisticRegression(max_iter=1000))
    )
    skltransfer.reset()
    everything = [(np.arange(40), np.arange(40))]
    grid = {"adaptedclassifier__align": [None, "moments", "coral"]}
    search = GridSearchCV(pipeline, grid, cv=everything, scoring=circular_validation, error_score="raise")
    search.fit(images, y).predict(images[20:])
    assert skltransfer.rows_run() == 40


# ---------------------------------------------------------------------------------------------------------------------
# Circular validation


def test_circular_validation_tells_an_adaptation_that_works_from_one_that_does_not():
    good, none = (AdaptedClassifier(LogisticRegression(), align=align) for align in ("moments", None))
    assert circular_validation(good, X, Y) > 0.95
    assert circular_validation(none, X, Y) < 0.7


def test_circular_validation_uses_a_fitted_estimator_as_it_is():
    model = AdaptedClassifier(LogisticRegression()).fit(X, Y)
    assert circular_validation(model, X, Y) == circular_validation(clone(model), X, Y)
    wrong = AdaptedClassifier(LogisticRegression()).fit(X, np.where(np.isnan(Y), np.nan, (Y + 1) % 3))
    assert circular_validation(wrong, X, Y) < 0.1


def test_circular_validation_does_not_reward_the_collapse_to_one_class():
    far = np.vstack([SOURCE, TARGET + 1000])
    model = AdaptedClassifier(LogisticRegression(), align=None).fit(far, Y)
    assert len(set(model.predict(far[120:]))) == 1
    assert circular_validation(model, far, Y) == pytest.approx(1 / 3)


def test_circular_validation_knows_domains():
    assert circular_validation(AdaptedClassifier(LogisticRegression()), X, Y, DOMAIN) > 0.95


@pytest.mark.parametrize("y", [np.tile(CLASSES, 2), np.full(240, np.nan)])
def test_circular_validation_needs_both_kinds_of_rows(y):
    with pytest.raises(ValueError, match="of 240 rows have a label; it needs"):
        circular_validation(AdaptedClassifier(LogisticRegression()), X, y)
