"""`PretrainedEmbedder` in searches and cross-validation: what they cost, what callbacks and bars show."""

import sys

import joblib
import numpy as np
import pytest
import tqdm.auto
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 - it adds HalvingGridSearchCV
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    RandomizedSearchCV,
    StratifiedKFold,
    cross_val_predict,
    cross_val_score,
    learning_curve,
    validation_curve,
)
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import Pipeline, make_pipeline, make_union

from skltransfer import PretrainedEmbedder, load_card
from skltransfer._engine import runtime
from skltransfer.errors import MissingDependencyError, SampleError
from skltransfer.testing import noise_images
from tests.graphs import save_images

callback = pytest.importorskip("sklearn.callback", reason="scikit-learn has callbacks from 1.9 on")

#: Dark pictures are of class 0, bright ones of class 1.
PICTURES = [picture // 2 + 127 * (i % 2) for i, picture in enumerate(noise_images(40))]
TARGET = np.arange(40) % 2
SMOOTHING = {"clf__var_smoothing": [1e-9, 1e-6, 1e-3, 1]}


@pytest.fixture
def embedder(tmp_path):
    return PretrainedEmbedder(save_images(tmp_path), layer="embedding", n_jobs=1)


@pytest.fixture
def pipeline(embedder):
    return Pipeline([("embed", embedder), ("clf", GaussianNB())])


def rows_run() -> list[int]:
    """Count the rows that went through each open graph."""
    return [session.rows_run for session in runtime.open_sessions().values()]


# ---------------------------------------------------------------------------------------------------------------------
# Searches


def test_grid_search_runs_every_sample_once(pipeline):
    search = GridSearchCV(pipeline, {"clf__var_smoothing": [1e-9, 1e-6, 1e-3, 1]}, cv=5, return_train_score=True)
    assert search.fit(PICTURES, TARGET).score(PICTURES, TARGET) == 1
    assert rows_run() == [40]


def test_grid_search_over_layer_pool_and_scale_runs_every_sample_once(pipeline):
    grid = {"embed__layer": ["map", "embedding", ["map", "logits"]], "embed__pool": ["mean", "max"]}
    search = GridSearchCV(pipeline, {**grid, "embed__normalize": [False, True]}, cv=3).fit(PICTURES, TARGET)
    assert len(search.cv_results_["params"]) == 12
    assert rows_run() == [40]


def test_grid_search_that_begins_with_the_default_layer_takes_one_more_pass(pipeline):
    pipeline.set_params(embed__layer=None)
    GridSearchCV(pipeline, {"embed__layer": [None, "map", "embedding"]}, cv=3).fit(PICTURES, TARGET)
    assert rows_run() == [40, 40]


def test_grid_search_over_poolings_that_are_not_shared_takes_a_pass_each(pipeline):
    grid = {"embed__layer": ["map"], "embed__pool": ["gem", "flatten", "max"]}
    GridSearchCV(pipeline, grid, cv=3).fit(PICTURES, TARGET)
    assert rows_run() == [40, 40, 40]


def test_default_layer_runs_alone(pipeline):
    pipeline.set_params(embed__layer=None).fit(PICTURES, TARGET)
    assert [key for key, _ in runtime.open_sessions()] == [pipeline["embed"]._planned().plan.recipe.key]


def test_scoring_many_more_samples_than_were_fitted_runs_what_was_asked_for_alone(pipeline):
    pipeline.set_params(embed__layer="map").fit(PICTURES[:4], TARGET[:4])
    pipeline.predict(PICTURES)
    assert rows_run() == [4, 36]  # the four that are known are taken out of the wider rows


@pytest.mark.parametrize("layer", [None, "map", "embedding", ["logits", "map"]])
@pytest.mark.parametrize("pool", ["auto", "mean", "max"])
@pytest.mark.parametrize("normalize", [False, True])
def test_shared_rows_are_those_of_a_run_alone(embedder, layer, pool, normalize):
    embedder.set_params(layer=layer, pool=pool, normalize=normalize)
    alone = clone(embedder).set_params(cache=None).fit_transform(PICTURES)
    PretrainedEmbedder(embedder.model, layer="map").fit_transform(PICTURES)
    np.testing.assert_allclose(embedder.fit_transform(PICTURES), alone, rtol=1e-5, atol=1e-5)
    assert rows_run() == [40, 40]


def test_card_that_lists_every_tensor_shares_the_poolings_of_a_layer(pipeline, monkeypatch):
    monkeypatch.setattr("skltransfer._engine.plan.MOST_SHARED", 1)
    grid = {"embed__layer": ["map", "logits"], "embed__pool": ["mean", "max"]}
    GridSearchCV(pipeline, grid, cv=3).fit(PICTURES, TARGET)
    assert rows_run() == [40, 40]


def test_nested_cross_validation_runs_every_sample_once(pipeline):
    search = GridSearchCV(pipeline, {"clf__var_smoothing": [1e-9, 1e-3]}, cv=2)
    assert cross_val_score(search, PICTURES, TARGET, cv=2).mean() == 1
    assert rows_run() == [40]


def test_cross_validation_works_in_worker_processes(pipeline):
    assert cross_val_score(pipeline, PICTURES, TARGET, cv=2, n_jobs=2).mean() == 1


@pytest.mark.parametrize("grid", [{"clf__var_smoothing": [1e-9, 1e-6, 1e-3]}, {"embed__layer": ["map", "logits"]}])
def test_grid_search_in_worker_processes_runs_every_sample_once(pipeline, tmp_path, grid):
    pipeline.set_params(embed__cache=tmp_path / "rows")
    ran = Parallel(n_jobs=2)(delayed(search_and_count)(pipeline, grid, i) for i in range(2))
    assert sum(ran) == 40
    pipeline.fit(PICTURES, TARGET)
    assert rows_run() == []


def search_and_count(pipeline, grid, seed: int) -> int:
    """Search in a worker, and say what it has run."""
    runtime.clear()
    folds = StratifiedKFold(4, shuffle=True, random_state=seed)
    GridSearchCV(pipeline, grid, cv=folds).fit(PICTURES, TARGET)
    return sum(rows_run())


@pytest.mark.parametrize("kept", ["memory", "folder"])
def test_grid_search_in_threads_runs_every_sample_once(pipeline, tmp_path, kept):
    pipeline.set_params(embed__cache=kept if kept == "memory" else tmp_path)
    with joblib.parallel_config("threading"):
        GridSearchCV(pipeline, {"clf__var_smoothing": [1e-9, 1e-6, 1e-3]}, cv=5, n_jobs=4).fit(PICTURES, TARGET)
    assert rows_run() == [40]


def test_second_search_with_a_folder_opens_no_backbone(pipeline, tmp_path):
    pipeline.set_params(embed__cache=tmp_path / "rows")
    search = GridSearchCV(pipeline, {"embed__layer": ["map", "logits", None], "embed__pool": ["mean", "max"]}, cv=3)
    search.fit(PICTURES, TARGET)
    runtime.clear()
    clone(search).fit(PICTURES, TARGET)
    assert rows_run() == []


def test_cross_validated_predictions_keep_the_order(pipeline):
    predicted = cross_val_predict(pipeline, np.stack(PICTURES), TARGET, cv=4)
    np.testing.assert_array_equal(predicted, TARGET)


def test_grid_search_over_cards_never_mixes_them_up(pipeline, embedder):
    cards = [load_card(embedder.model), load_card(embedder.model, layer="map", pool="max")]
    pipeline.set_params(embed__layer=None)
    GridSearchCV(pipeline, {"embed__model": [*cards, embedder.model]}, cv=2).fit(PICTURES, TARGET)
    assert rows_run() == [40, 40]  # the first card and the path are the same backbone


def test_search_over_many_models_embeds_every_sample_once_each(pipeline, tmp_path):
    names = [save_images(tmp_path, name=f"model{i}", std=(1 + i, 1, 1)) for i in range(10)]
    GridSearchCV(pipeline, {"embed__model": names}, cv=2, refit=False).fit(PICTURES, TARGET)
    assert rows_run() == [40] * 10


def halving(pipeline) -> None:
    HalvingGridSearchCV(pipeline, SMOOTHING, cv=3, min_resources=12, random_state=0).fit(PICTURES, TARGET)


def randomized(pipeline) -> None:
    RandomizedSearchCV(pipeline, SMOOTHING, n_iter=3, cv=3, random_state=0).fit(PICTURES, TARGET)


def learning(pipeline) -> None:
    learning_curve(pipeline, PICTURES, TARGET, cv=3, train_sizes=[0.2, 1.0])


def validation(pipeline) -> None:
    validation_curve(pipeline, PICTURES, TARGET, param_name="clf__var_smoothing", param_range=[1e-9, 1e-3], cv=3)


@pytest.mark.parametrize("search", [halving, randomized, learning, validation])
def test_other_searches_run_every_sample_once_too(pipeline, search):
    search(pipeline)
    assert rows_run() == [40]


def test_memory_of_a_pipeline_works_beside_the_cache(pipeline, tmp_path):
    pipeline.set_params(memory=str(tmp_path / "memory"))
    assert cross_val_score(pipeline, PICTURES, TARGET, cv=2).mean() == 1


def test_frozen_embedder_works(embedder):
    frozen = make_pipeline(FrozenEstimator(embedder.fit(PICTURES)), GaussianNB())
    assert cross_val_score(frozen, PICTURES, TARGET, cv=2).mean() == 1


def test_union_of_layers_in_worker_processes_works(embedder):
    union = make_union(embedder, clone(embedder).set_params(layer="logits"), n_jobs=2)
    rows = union.fit_transform(PICTURES)
    np.testing.assert_allclose(rows[:, 4:], 2 * rows[:, :4], rtol=1e-6)


# ---------------------------------------------------------------------------------------------------------------------
# Callbacks


class Recorder:
    """Writes down which tasks began and ended."""

    max_propagation_depth = None

    def __init__(self):
        self.log = []

    def setup(self, estimator, context):
        self.log.append(("setup", "", ""))

    def teardown(self, estimator, context):
        self.log.append(("teardown", "", ""))

    def on_fit_task_begin(self, estimator, context):
        self.log.append(("begin", context.estimator_name, context.task_name))

    def on_fit_task_end(self, estimator, context):
        self.log.append(("end", context.estimator_name, context.task_name))


@pytest.fixture
def watched(embedder):
    """A pipeline all of whose steps support callbacks, and whose last one does next to nothing."""
    return Pipeline([("embed", embedder), ("clf", LogisticRegression(tol=1e9))])


def steps(recorder: Recorder) -> int:
    """Count the steps of the embedder that ended."""
    return recorder.log.count(("end", "PretrainedEmbedder", "samples"))


@pytest.mark.parametrize(("n", "expected"), [(0, 0), (1, 1), (7, 7), (100, 100), (137, 100), (400, 100)])
def test_callback_sees_a_step_per_sample_or_per_hundredth(embedder, n, expected):
    recorder = Recorder()
    embedder.set_callbacks(recorder).fit_transform((PICTURES * 10)[:n])
    assert steps(recorder) == expected
    assert recorder.log[0] == ("setup", "", "")
    assert recorder.log[-2:] == [("end", "PretrainedEmbedder", "fit"), ("teardown", "", "")]


def test_callback_sees_a_generator_of_unknown_length(embedder):
    recorder = Recorder()
    embedder.set_callbacks(recorder).fit_transform(iter(PICTURES))
    assert 1 <= steps(recorder) <= 40
    assert recorder.log.count(("begin", "PretrainedEmbedder", "samples")) == steps(recorder)


def test_callback_sees_fit_as_one_task(embedder):
    recorder = Recorder()
    embedder.set_callbacks(recorder).fit(PICTURES)
    task = ("PretrainedEmbedder", "fit")
    assert recorder.log == [("setup", "", ""), ("begin", *task), ("end", *task), ("teardown", "", "")]


def test_callback_is_torn_down_after_an_error(embedder):
    recorder = Recorder()
    with pytest.raises(SampleError, match="sample 1: the sample is missing"):
        embedder.set_callbacks(recorder).fit_transform([PICTURES[0], None])
    assert recorder.log[-1] == ("teardown", "", "")
    assert not [name for name in vars(embedder) if "ctx" in name]


def test_callback_changes_no_row(embedder):
    rows = embedder.transform(PICTURES)
    np.testing.assert_array_equal(embedder.set_callbacks(Recorder()).fit_transform(PICTURES), rows)


def test_callback_of_a_pipeline_sees_the_samples(watched):
    recorder = Recorder()
    watched.set_callbacks(recorder).fit(PICTURES, TARGET)
    assert steps(recorder) == 40


def test_callback_of_a_search_sees_the_samples_of_every_fold(watched):
    recorder = Recorder()
    GridSearchCV(watched, {"clf__C": [1, 10]}, cv=2, refit=False).set_callbacks(recorder).fit(PICTURES, TARGET)
    assert steps(recorder) == 4 * 20


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize("search", [False, True])
def test_progress_bar_shows_the_embedder(watched, search, n_jobs, capsys):
    pytest.importorskip("rich")
    fitted = GridSearchCV(watched, {"clf__C": [1, 10]}, cv=2, n_jobs=n_jobs) if search else watched
    fitted.set_callbacks(callback.ProgressBar(max_propagation_depth=None)).fit(PICTURES, TARGET)
    assert "PretrainedEmbedder" in capsys.readouterr().out


# ---------------------------------------------------------------------------------------------------------------------
# Bars of our own


@pytest.mark.parametrize("method", ["transform", "fit_transform"])
def test_bar_reaches_the_end_and_never_goes_back(embedder, method, monkeypatch):
    shown = []

    class Bar(tqdm.auto.tqdm):
        def update(self, n=1):
            shown.append(n)
            super().update(n)

    monkeypatch.setattr(tqdm.auto, "tqdm", Bar)
    getattr(embedder.set_params(verbose=1), method)(PICTURES * 2)
    assert min(shown) >= 0
    assert sum(shown) == 80


def test_bar_names_the_class_and_counts_samples(embedder, capsys):
    embedder.set_params(verbose=1).transform(PICTURES)
    assert "PretrainedEmbedder: 100%" in (err := capsys.readouterr().err)
    assert "40/40" in err


def test_bar_counts_a_generator_without_a_total(embedder, capsys):
    embedder.set_params(verbose=1).transform(iter(PICTURES))
    assert "PretrainedEmbedder: 40sample" in capsys.readouterr().err


def test_no_bar_unless_asked(embedder, capsys):
    embedder.fit_transform(PICTURES)
    assert capsys.readouterr() == ("", "")


def test_missing_tqdm_is_named_with_its_extra(embedder, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.raises(MissingDependencyError, match=r"tqdm is required.*pip install 'skltransfer\[progress\]'"):
        embedder.set_params(verbose=1).transform(PICTURES)
