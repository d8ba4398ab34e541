"""Several targets on the same rows: heads equal separate estimators, and missing labels are left out."""

import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from skltransfer.errors import InputWarning
from skltransfer.heads import MultiTask

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4))
PRICE = X @ [1.0, -1.0, 0.5, 2.0]
KIND = np.where(X[:, 0] > 0, "book", "film").astype(object)
STARS = np.digitize(X[:, 1], [-0.5, 0.5])
COLUMNS = {"kind": KIND, "price": PRICE, "stars": STARS}
HEADS = {"kind": LogisticRegression(), "price": Ridge(), "stars": KNeighborsClassifier()}
BY_HAND = {name: clone(head).fit(X, COLUMNS[name]) for name, head in HEADS.items()}


@parametrize_with_checks(
    [
        MultiTask(),
        MultiTask(LogisticRegression()),
        MultiTask(Ridge()),
        MultiTask({"y": LogisticRegression()}),
        MultiTask(make_pipeline(StandardScaler(), LogisticRegression())),
    ]
)
def test_scikit_learns_checks_pass(estimator, check):
    check(estimator)


def as_objects():
    return np.stack([column.astype(object) for column in COLUMNS.values()], axis=1)


CONTAINERS = {
    "pandas": (lambda: pd.DataFrame(COLUMNS), pd.DataFrame, lambda y, i: y.iloc[:, i]),
    "polars": (lambda: pl.DataFrame({k: v.tolist() for k, v in COLUMNS.items()}), pl.DataFrame, lambda y, i: y[:, i]),
    "dict": (lambda: dict(COLUMNS), dict, lambda y, i: list(y.values())[i]),
    "list of columns": (lambda: list(COLUMNS.values()), list, lambda y, i: y[i]),
    "array of objects": (as_objects, np.ndarray, lambda y, i: y[:, i]),
    "list of rows": (lambda: as_objects().tolist(), np.ndarray, lambda y, i: y[:, i]),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_predictions_are_those_of_separate_estimators_in_the_container_of_y(name):
    make, container, column = CONTAINERS[name]
    found = MultiTask(HEADS).fit(X, make()).predict(X)
    assert isinstance(found, container)
    for i, head in enumerate(BY_HAND.values()):
        assert list(column(found, i)) == head.predict(X).tolist()


def test_probabilities_and_scores_are_those_of_separate_estimators():
    model = MultiTask(HEADS).fit(X, pd.DataFrame(COLUMNS))
    probabilities = model.predict_proba(X)
    assert list(probabilities) == ["kind", "stars"]
    np.testing.assert_array_equal(probabilities["stars"], BY_HAND["stars"].predict_proba(X))
    assert model.scores(X, COLUMNS) == {name: head.score(X, COLUMNS[name]) for name, head in BY_HAND.items()}
    assert model.score(X, COLUMNS) == np.mean(list(model.scores(X, COLUMNS).values()))
    assert {name: classes.tolist() for name, classes in model.classes_.items()} == {
        "kind": ["book", "film"],
        "stars": [0, 1, 2],
    }


HOLES = np.arange(60) % 3 == 0


def holed(values, missing):
    return [missing if hole else value for value, hole in zip(values.tolist(), HOLES, strict=True)]


@pytest.mark.parametrize(
    "column",
    [
        holed(STARS, None),
        holed(STARS, np.nan),
        holed(STARS, pd.NA),
        holed(STARS, pd.NaT),
        np.array(holed(STARS, np.nan)),
        np.array(holed(STARS, None), object),
        np.ma.MaskedArray(STARS, HOLES),
        pd.Series(holed(STARS, None), dtype="Int64"),
        pd.Series(holed(STARS, np.nan)),
        pd.Series(holed(STARS, None), dtype="category"),
        pl.Series(holed(STARS, None)),
        pl.Series(holed(STARS.astype(float), float("nan"))),
    ],
    ids=lambda column: f"{type(column).__module__.partition('.')[0]}-{getattr(column, 'dtype', 'list')}",
)
def test_rows_whose_label_is_missing_are_left_out(column):
    plain = LogisticRegression().fit(X[~HOLES], STARS[~HOLES])
    model = MultiTask(LogisticRegression()).fit(X, {"stars": column, "price": STARS})
    np.testing.assert_array_equal(model.heads_["stars"].coef_, plain.coef_)
    assert set(model.predict(X)["stars"]) == {0, 1, 2}
    assert model.scores(X, {"stars": column}) == {"stars": plain.score(X[~HOLES], STARS[~HOLES])}


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA])
def test_text_labels_may_be_missing(missing):
    plain = LogisticRegression().fit(X[~HOLES], KIND[~HOLES])
    for y in (pd.DataFrame({"kind": holed(KIND, missing)}), {"kind": holed(KIND, missing)}):
        model = MultiTask(LogisticRegression()).fit(X, y)
        np.testing.assert_array_equal(model.heads_["kind"].coef_, plain.coef_)


@pytest.mark.parametrize(("label", "labels"), [(-1, STARS), ("", KIND), ("nan", KIND)])
def test_other_labels_are_not_missing(label, labels):
    kind = np.where(HOLES, label, labels)
    assert MultiTask(KNeighborsClassifier()).fit(X, {"kind": kind}).classes_["kind"].tolist() == sorted(set(kind))


def test_integers_with_missing_labels_stay_integers():
    for y in (pl.DataFrame({"stars": holed(STARS, None)}), pd.DataFrame({"stars": holed(STARS, None)}, dtype="Int64")):
        assert np.asarray(MultiTask().fit(X, y).predict(X)["stars"]).dtype.kind == "i"


def test_task_without_labels_is_left_out_and_said():
    y = pd.DataFrame(COLUMNS | {"kind": None})
    with pytest.warns(InputWarning, match="Task 'kind' has no label here"):
        model = MultiTask(HEADS).fit(X, y)
    assert model.predict(X)["kind"].isna().all()
    with pytest.warns(InputWarning, match="left out of the score: 'kind'"):
        assert list(model.scores(X, pd.DataFrame(COLUMNS))) == ["price", "stars"]


def test_regression_without_labels_predicts_nan():
    y = {"kind": KIND, "price": np.full(60, np.nan)}
    with pytest.warns(InputWarning, match="'price' has no label"):
        model = MultiTask({"kind": LogisticRegression(), "price": Ridge()}).fit(X, y)
    assert np.isnan(model.predict(X)["price"]).all()


def test_score_leaves_out_a_regression_with_one_label():
    model = MultiTask(HEADS).fit(X, COLUMNS)
    price = np.where(np.arange(60) == 5, PRICE, np.nan)
    with pytest.warns(InputWarning, match="'price'"):
        assert np.isfinite(model.score(X, COLUMNS | {"price": price}))


def test_one_class_is_predicted_for_every_row_and_said():
    with pytest.warns(InputWarning, match="Task 'kind' has one class here, 'book'"):
        model = MultiTask(HEADS).fit(X, COLUMNS | {"kind": np.where(KIND == "book", KIND, None)})
    found = model.predict(X)["kind"]
    assert set(found) == {"book"}
    np.testing.assert_array_equal(model.predict_proba(X)["kind"], np.ones((60, 1)))


def test_no_label_at_all_is_refused():
    with pytest.raises(ValueError, match="no label of any task: 'kind'"):
        MultiTask().fit(X, {"kind": [None] * 60})
    model = MultiTask().fit(X, {"kind": KIND})
    with pytest.warns(InputWarning, match="left out"), pytest.raises(ValueError, match="No task has enough labels"):
        model.score(X, {"kind": [None] * 60})


def test_default_heads_are_chosen_by_the_labels():
    y = {"text": KIND, "number": PRICE, "class": STARS.astype(float), "yes": X[:, 2] > 0, "count": np.arange(60)}
    heads = MultiTask().fit(X, y).heads_
    kinds = {name: type(head[-1]).__name__ for name, head in heads.items()}
    classes = dict.fromkeys(["text", "class", "yes"], "LogisticRegression")
    assert kinds == classes | dict.fromkeys(["number", "count"], "RidgeCV")


def test_one_head_of_a_dict_may_be_automatic():
    model = MultiTask({"kind": "auto", "price": Ridge(2)}).fit(X, pd.DataFrame({"kind": KIND, "price": PRICE}))
    assert model.heads_["price"].alpha == 2
    with pytest.raises(ValueError, match="'kind' is 'auto', which has no parameters"):
        model.set_params(kind__C=1)


def test_weights_are_for_all_tasks_or_by_task():
    weight = RNG.uniform(size=60)
    y = pd.DataFrame({"kind": holed(KIND, None), "price": PRICE})
    heads = {"kind": LogisticRegression(), "price": make_pipeline(StandardScaler(), Ridge())}
    plain = LogisticRegression().fit(X[~HOLES], KIND[~HOLES], weight[~HOLES])
    by_task = pd.DataFrame({"kind": weight})
    for weights in (weight, weight.tolist(), {"kind": weight}, by_task):
        model = MultiTask(heads).fit(X, y, sample_weight=weights)
        np.testing.assert_array_equal(model.heads_["kind"].coef_, plain.coef_)
    unweighted = MultiTask(heads).fit(X, y)
    assert (model.heads_["price"][-1].coef_ == unweighted.heads_["price"][-1].coef_).all()
    assert model.scores(X, y, weight)["kind"] == plain.score(X[~HOLES], KIND[~HOLES], weight[~HOLES])


def test_wrong_weights_are_named():
    with pytest.raises(ValueError, match=r"sample_weight has the tasks \['kin'\]"):
        MultiTask(HEADS).fit(X, COLUMNS, sample_weight={"kin": np.ones(60)})
    with pytest.raises(TypeError, match=r"task 'stars', KNeighborsClassifier.*takes no sample_weight"):
        MultiTask(HEADS).fit(X, COLUMNS, sample_weight=np.ones(60))


def test_parameters_are_set_by_task():
    model = MultiTask(HEADS)
    assert model.get_params()["kind__C"] == 1
    changed = clone(model).set_params(kind__C=0.1, price=Ridge(3), stars__n_neighbors=2)
    assert (changed.heads["kind"].C, changed.heads["price"].alpha, changed.heads["stars"].n_neighbors) == (0.1, 3, 2)
    assert (model.heads["kind"].C, model.heads["price"].alpha) == (1, 1)
    assert MultiTask(LogisticRegression()).set_params(heads__C=5).heads.C == 5
    with pytest.raises(ValueError, match="Invalid parameter 'kidn'"):
        model.set_params(kidn__C=1)


def test_heads_that_were_passed_are_not_fitted():
    heads = {name: clone(head) for name, head in HEADS.items()}
    MultiTask(heads).fit(X, COLUMNS)
    assert all(not hasattr(head, "n_features_in_") for head in heads.values())


def test_pickle_predicts_the_same():
    model = MultiTask(HEADS).fit(X, pd.DataFrame(COLUMNS))
    pd.testing.assert_frame_equal(pickle.loads(pickle.dumps(model)).predict(X), model.predict(X))


WITHOUT = """
import pickle, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == sys.argv[1]:
            raise ImportError(name)

sys.meta_path.insert(0, Absent())
model, X = pickle.load(sys.stdin.buffer)
found = model.predict(X)
print(type(found).__name__, *found["kind"][:3])
"""


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_predictions_are_a_dict_where_the_library_is_not_installed(library):
    model = MultiTask(HEADS).fit(X, CONTAINERS[library][0]())
    call = [sys.executable, "-c", WITHOUT, library]
    done = subprocess.run(call, input=pickle.dumps((model, X)), capture_output=True, check=True)
    assert done.stdout.decode().split() == ["dict", *BY_HAND["kind"].predict(X[:3])]


def test_index_of_a_frame_is_kept():
    frame = pd.DataFrame(X, columns=list("abcd"), index=[f"row {i}" for i in range(60)])
    model = MultiTask(HEADS).fit(frame, pd.DataFrame(COLUMNS, index=frame.index))
    assert model.feature_names_in_.tolist() == list("abcd")
    assert model.predict(frame[::2]).index.tolist() == frame.index[::2].tolist()


def test_columns_need_not_have_text_as_names():
    model = MultiTask({0: LogisticRegression(), 1: Ridge()}).fit(X, pd.DataFrame({0: KIND, 1: PRICE}))
    assert model.predict(X).columns.tolist() == [0, 1]
    assert model.get_params()["0__C"] == 1


@pytest.mark.parametrize(
    ("heads", "y", "match"),
    [
        (HEADS, None, "requires y to be passed"),
        (HEADS, COLUMNS | {"prise": PRICE}, r"columns 'prise' without a head.*Did you mean 'price'"),
        (HEADS, {"kind": KIND}, "no column for the heads 'price', 'stars'"),
        (HEADS, [KIND, PRICE], "y has 2 columns, and there are heads 'kind', 'price', 'stars'"),
        (HEADS, COLUMNS | {"price": PRICE[:-1]}, "X has 60 rows, and task 'price' of y has 59"),
        (HEADS, COLUMNS | {"price": np.full(60, np.inf)}, "'price' of y contains infinity"),
        ("auto", np.zeros((60, 2, 2)), "y has 3 dimensions"),
        ("auto", [[1, 2], [3, 4]], "X has 60 rows, and y is a list of 2 sequences"),
        ("auto", pd.DataFrame(np.zeros((60, 2)), columns=["a", "a"]), "columns of the same name"),
        ("auto", {}, "no tasks"),
        ({}, {"kind": KIND}, "holds no head"),
        ({"kind": "best"}, {"kind": KIND}, "'kind' is 'best'; pass an estimator"),
        ({"a__b": Ridge()}, {"a__b": PRICE}, "cannot be called 'a__b'"),
    ],
)
def test_wrong_targets_and_heads_are_named(heads, y, match):
    with pytest.raises(ValueError, match=match):
        MultiTask(heads).fit(X, y)


def test_list_that_may_be_rows_or_columns_is_not_guessed():
    with pytest.raises(ValueError, match="may hold columns, or rows"):
        MultiTask(Ridge()).fit(X[:2], [[1.0, 2.0], [3.0, 4.0]])


def test_error_of_a_head_names_its_task():
    with pytest.raises(ValueError, match="continuous") as caught:
        MultiTask({"kind": LogisticRegression(), "price": LogisticRegression()}).fit(X, {"kind": KIND, "price": PRICE})
    assert caught.value.__notes__ == ["This is the head of task 'price', which has 60 labels."]


def test_unfitted_is_an_error():
    with pytest.raises(NotFittedError, match="not fitted"):
        MultiTask(HEADS).predict(X)
    assert not hasattr(MultiTask(Ridge()), "predict_proba")
