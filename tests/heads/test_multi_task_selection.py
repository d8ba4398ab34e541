"""Several targets in pipelines, searches and cross-validation; folds that have labels of every task."""

import itertools

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn import config_context
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score, cross_validate
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

import skltransfer
from skltransfer import PretrainedEmbedder, testing
from skltransfer.errors import InputWarning
from skltransfer.heads import MultiTask, TaskStratifiedKFold, task_scores

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 4))
Y = pd.DataFrame({"kind": np.where(X[:, 0] > 0, "book", "film"), "price": X @ [1.0, -1.0, 0.5, 2.0]})
Y.loc[20:, "kind"] = None
HEADS = MultiTask({"kind": LogisticRegression(), "price": Ridge()})
FOLDS = TaskStratifiedKFold(5)


@pytest.mark.parametrize("y", [Y, pl.DataFrame(Y), Y.to_numpy(object)], ids=["pandas", "polars", "array"])
def test_cross_validation_has_a_score_in_every_fold(y):
    scores = cross_val_score(HEADS, X, y, cv=FOLDS, error_score="raise")
    assert np.isfinite(scores).all()
    assert scores.min() > 0.5


@pytest.mark.filterwarnings("ignore:.*Task:skltransfer.errors.InputWarning")
def test_folds_without_labels_have_a_score_too():
    assert np.isfinite(cross_val_score(HEADS, X, Y, cv=5, error_score="raise")).all()


def test_scores_of_tasks_come_side_by_side():
    pipeline = make_pipeline(StandardScaler(), HEADS)
    found = cross_validate(pipeline, X, Y, cv=FOLDS, scoring=task_scores, error_score="raise")
    assert found["test_kind"].shape == found["test_price"].shape == (5,)
    assert found["test_price"].min() > 0.9


def test_score_of_a_task_without_labels_in_a_fold_is_nan():
    halves = [(np.arange(90), np.arange(20, 90))]
    with pytest.warns(InputWarning, match="left out of the score: 'kind'"):
        found = cross_validate(HEADS, X, Y, cv=halves, scoring=task_scores, error_score="raise")
    assert np.isnan(found["test_kind"]).all()
    assert np.isfinite(found["test_price"]).all()


def test_task_scores_of_a_search_are_those_of_its_best():
    search = GridSearchCV(make_pipeline(StandardScaler(), HEADS), {"multitask__price__alpha": [1.0, 2.0]}, cv=FOLDS)
    search.fit(X, Y)
    assert task_scores(search, X, Y) == task_scores(search.best_estimator_, X, Y)
    with pytest.raises(TypeError, match="wants a MultiTask"):
        task_scores(Ridge().fit(X, Y["price"]), X, Y)


def test_search_over_parameters_of_heads():
    grid = {"heads__kind__C": [0.01, 1], "heads__price": [Ridge(1), Ridge(1000)]}
    search = GridSearchCV(Pipeline([("heads", HEADS)]), grid, cv=FOLDS, error_score="raise").fit(X, Y)
    assert search.best_params_["heads__price"].alpha == 1
    assert search.predict(X).columns.tolist() == ["kind", "price"]


def test_predictions_of_cross_validation_are_a_table():
    assert cross_val_predict(HEADS, X, Y, cv=FOLDS).shape == (90, 2)


def test_columns_of_a_frame_go_through_a_column_transformer():
    frame = pd.DataFrame(X, columns=list("abcd"))
    pipeline = make_pipeline(ColumnTransformer([("scaled", StandardScaler(), ["a", "b"])], remainder="passthrough"))
    model = make_pipeline(pipeline, HEADS)
    found = model.fit(frame, Y).score(frame, Y)
    assert model.set_output(transform="pandas").fit(frame, Y).score(frame, Y) == pytest.approx(found)


def test_every_sample_is_embedded_once(tmp_path):
    model = testing.save_backbone(testing.image_backbone(), tmp_path)
    pipeline = make_pipeline(PretrainedEmbedder(model, device="cpu"), HEADS)
    skltransfer.reset()
    images = testing.noise_images(30)
    search = GridSearchCV(pipeline, {"multitask__kind__C": [0.1, 1]}, cv=TaskStratifiedKFold(3), error_score="raise")
    y = pd.DataFrame({"kind": ["a", "b", None] * 10, "price": np.arange(30) / 7})
    search.fit(images, y)
    assert skltransfer.rows_run() == 30


def test_weights_are_routed():
    weight = RNG.uniform(size=90)
    with config_context(enable_metadata_routing=True):
        heads = MultiTask().set_fit_request(sample_weight=True)
        routed = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), heads).fit(
            X, Y, sample_weight=weight
        )
    plain = MultiTask().fit(StandardScaler().fit_transform(X), Y, sample_weight=weight)
    np.testing.assert_allclose(routed[-1].heads_["kind"][-1].coef_, plain.heads_["kind"][-1].coef_)


# ---------------------------------------------------------------------------------------------------------------------
# Folds


def test_every_fold_has_its_share_of_every_class():
    y = {"many": np.arange(103) % 4, "few": [f"c{i % 2}" if i < 20 else None for i in range(103)]}
    for _, test in TaskStratifiedKFold(5).split(np.zeros(103), y):
        assert 20 <= len(test) <= 21
        assert all(4 <= count <= 6 for count in np.bincount(y["many"][test]))
        few = [y["few"][i] for i in test]
        assert (few.count("c0"), few.count("c1")) == (2, 2)


def test_numbers_are_stratified_by_quantiles():
    y = np.sort(RNG.normal(size=200))
    means = [y[test].mean() for _, test in TaskStratifiedKFold(4).split(np.zeros(200), y)]
    assert np.ptp(means) < 0.2


def test_every_sample_is_tested_once():
    splits = list(FOLDS.split(X, Y))
    assert sorted(itertools.chain(*(test.tolist() for _, test in splits))) == list(range(90))
    assert all(len(np.intersect1d(train, test)) == 0 and len(train) + len(test) == 90 for train, test in splits)


def test_one_target_with_missing_labels_is_stratified_too():
    y = np.where(np.arange(90) < 30, np.arange(90) % 2, np.nan)
    for _, test in TaskStratifiedKFold(5).split(X, y):
        assert (np.sum(y[test] == 0), np.sum(y[test] == 1), len(test)) == (3, 3, 18)


def test_shuffling_draws_other_folds_and_a_seed_repeats_them():
    def first(seed):
        return next(TaskStratifiedKFold(5, shuffle=True, random_state=seed).split(X, Y))[1].tolist()

    assert first(0) == first(0) != first(1)


def test_tasks_with_fewer_labels_than_folds_are_named():
    with pytest.warns(InputWarning, match=r"fewer labels than n_splits=5: 'rare'"):
        list(FOLDS.split(X, {"rare": [1, 2] + [None] * 88, "other": np.arange(90) % 2}))


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: TaskStratifiedKFold(1), "n_splits=1 must be an integer of at least 2"),
        (lambda: TaskStratifiedKFold(random_state=0), "no effect without shuffle"),
        (lambda: list(FOLDS.split(X)), "y is None"),
        (lambda: list(FOLDS.split(X, Y, groups=np.zeros(90))), "does not keep groups together"),
        (lambda: list(FOLDS.split(X[:3], Y[:3])), "n_splits=5 is more than the number of samples, 3"),
    ],
)
def test_wrong_folds_are_named(call, match):
    with pytest.raises(ValueError, match=match):
        call()
