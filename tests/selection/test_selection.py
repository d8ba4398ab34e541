"""Backbones side by side, and groups of near duplicates, on colors whose embeddings are known."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import multivariate_normal
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import BayesianRidge
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

from skltransfer import PretrainedEmbedder, compare_backbones, near_duplicate_groups, report, selection
from skltransfer._engine import judge, runtime
from skltransfer.errors import LayerError, MissingDependencyError, SampleError
from skltransfer.testing import noise_images
from tests.graphs import save_images

#: Red pictures and blue ones, with noise.
TARGET = np.array(["blue", "red"])[np.arange(40) % 2]
PICTURES = [
    (picture // 8 + np.array([200, 0, 0] if color == "red" else [0, 0, 200])).astype(np.uint8)
    for picture, color in zip(noise_images(40), TARGET, strict=True)
]


class Given(TransformerMixin, BaseEstimator):
    """A transformer whose samples are embeddings."""

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return np.asarray(X, np.float32)


@pytest.fixture
def model(tmp_path):
    return save_images(tmp_path)


# ---------------------------------------------------------------------------------------------------------------------
# compare_backbones


def test_a_comparison_has_a_row_per_backbone_best_first(model):
    frame = compare_backbones(PICTURES, TARGET, {"map": PretrainedEmbedder(model, layer="map"), "logits": model})
    assert list(frame.columns) == list(selection.COLUMNS)
    assert frame.index.name == "model"
    assert set(frame.index) == {"map", "logits"}
    assert frame["score"].is_monotonic_decreasing
    assert frame.loc["map", ["score", "knn"]].tolist() == [1, 1]
    assert (frame[["dim", "ms_per_sample", "model_mb", "embedding_mb"]] > 0).all(axis=None)


def test_costs_are_those_of_the_files_and_rows(model):
    frame = compare_backbones(PICTURES, TARGET, [model])
    width = PretrainedEmbedder(model).fit(PICTURES).embedding_dim_
    assert frame["dim"].item() == width
    assert frame["embedding_mb"].item() == pytest.approx(40 * width * 4 / 1e6)
    assert frame["model_mb"].item() == pytest.approx(Path(model).stat().st_size / 1e6)


def test_every_sample_is_run_once_per_backbone_and_later_searches_find_the_rows(model):
    compare_backbones(PICTURES, TARGET, [model])
    PretrainedEmbedder(model).fit_transform(PICTURES)
    assert [session.rows_run for session in runtime.open_sessions().values()] == [40]


def test_known_rows_are_embedded_again_for_their_time_only(model):
    compare_backbones(PICTURES, TARGET, [model])
    again = compare_backbones(PICTURES * 2, np.tile(TARGET, 2), [model])
    assert again["ms_per_sample"].item() > 0
    assert [session.rows_run for session in runtime.open_sessions().values()] == [40 + selection.TIMED]


def test_a_generator_is_taken(model):
    assert compare_backbones(iter(PICTURES), TARGET, [model])["score"].item() == 1


def test_numbers_are_a_regression(model):
    redness = [float(picture[..., 0].mean()) for picture in PICTURES]
    frame = compare_backbones(PICTURES, redness, [model])
    assert frame["score"].item() > 0.9
    assert frame["knn"].item() > 0.9


def test_probe_folds_and_scoring_are_the_callers(model):
    frame = compare_backbones(
        PICTURES, TARGET, [model], probe=DummyClassifier(strategy="prior"), cv=4, scoring="neg_log_loss"
    )
    assert frame[["score", "score_std"]].to_numpy().ravel() == pytest.approx([np.log(0.5), 0])


def test_samples_of_one_group_are_never_on_both_sides(monkeypatch):
    groups = np.arange(40) // 4
    for kind, numbers in ((StratifiedGroupKFold, False), (GroupKFold, True)):
        y = np.arange(40) / 7 if numbers else TARGET
        splits = list(judge.splits(y, groups, 5, regression=numbers))
        expected = list(kind(5).split(y, y, groups))
        assert all(np.array_equal(a[1], b[1]) for a, b in zip(splits, expected, strict=True))


def test_neighbours_of_the_same_group_do_not_vote():
    unit = judge.unit_rows(np.repeat(np.eye(4) + 0.1, 3, axis=0))
    targets = np.repeat(np.eye(2), 6, axis=0)
    alone, grouped = np.arange(12), np.arange(12) // 3
    assert judge.knn(unit, targets, alone, regression=False) == 1
    assert judge.knn(unit, targets, grouped, regression=False) < 1


def test_the_vote_is_that_of_the_five_nearest_others():
    angles = np.deg2rad([0, 1, 2, 3, 90, 91, 92])
    unit = np.c_[np.cos(angles), np.sin(angles)].astype(np.float32)
    targets = np.array([1.0, 1, 1, 1, 5, 5, 5])[:, None]
    values = []
    for i in range(7):
        near = sorted((j for j in range(7) if j != i), key=lambda j: -(unit[i] @ unit[j]))[:5]
        weights = np.maximum([unit[i] @ unit[j] for j in near], 1e-6)
        values.append(np.average(targets[near, 0], weights=weights))
    expected = 1 - ((targets[:, 0] - values) ** 2).sum() / ((targets - targets.mean()) ** 2).sum()
    assert judge.knn(unit, targets, np.arange(7), regression=True) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("shape", [(60, 5), (20, 30)])
def test_logme_is_the_evidence_that_bayesian_ridge_reaches(shape):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=shape).astype(np.float32)
    y = rows[:, :3] @ [1.0, -2, 0.5] + rng.normal(size=shape[0])
    ridge = BayesianRidge(
        max_iter=2000, tol=1e-8, alpha_1=0, alpha_2=0, lambda_1=0, lambda_2=0, fit_intercept=False, compute_score=True
    ).fit(rows, y)
    assert judge.logme(rows, y[:, None]) == pytest.approx(ridge.scores_[-1] / len(y), abs=1e-4)
    covariance = np.eye(len(y)) / ridge.alpha_ + rows @ rows.T.astype(np.float64) / ridge.lambda_
    evidence = multivariate_normal(cov=covariance).logpdf(y) / len(y)
    assert judge.logme(rows, y[:, None]) == pytest.approx(evidence, abs=1e-4)


def test_logme_prefers_embeddings_that_hold_the_classes():
    rng = np.random.default_rng(0)
    targets = np.eye(3)[rng.integers(3, size=90)]
    noise = rng.normal(size=(90, 8)).astype(np.float32)
    telling = noise + np.pad(4 * targets, ((0, 0), (0, 5))).astype(np.float32)
    assert judge.logme(telling, targets) > judge.logme(noise, targets)


def test_two_models_of_one_name_are_refused(model):
    with pytest.raises(ValueError, match="Two models are named 'tiny'; name them yourself"):
        compare_backbones(PICTURES, TARGET, [model, model])


@pytest.mark.parametrize(("models", "message"), [("vision-mini", "is a single model"), ([], "models is empty")])
def test_models_are_several(models, message):
    with pytest.raises(ValueError, match=message):
        compare_backbones(PICTURES, TARGET, models)


def test_every_backbone_is_tried_before_the_first_sample_is_embedded(model):
    wrong = PretrainedEmbedder(model, layer="no-such-layer")
    with pytest.raises(LayerError, match="no-such-layer"):
        compare_backbones(PICTURES, TARGET, {"right": model, "wrong": wrong})
    assert not runtime.open_sessions()


def test_labels_of_another_length_are_refused(model):
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        compare_backbones(PICTURES, TARGET[1:], [model])


def test_a_sample_that_cannot_be_read_is_named(model):
    with pytest.raises(SampleError, match=r"no-such-file\.png"):
        compare_backbones(["no-such-file.png", *PICTURES[1:]], TARGET, [model])


def test_pandas_is_asked_for_before_anything_is_embedded(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingDependencyError, match=r"skltransfer\[compare\]"):
        compare_backbones(PICTURES, TARGET, [model])


def test_the_picture_of_a_comparison_is_written(tmp_path):
    frame = pd.DataFrame(
        {"score": [0.9, 0.7], "score_std": [0.1, 0.1], "knn": [0.8, 0.6], "ms_per_sample": [20.0, 2.0]}, ["a", "b"]
    )
    report.score_against_cost(frame, tmp_path / "comparison.png")
    assert (tmp_path / "comparison.png").read_bytes().startswith(b"\x89PNG")


def test_unbeaten_are_those_than_which_none_is_as_cheap_and_better():
    cost, score = np.array([3, 1, 2, 2, 4]), np.array([0.8, 0.5, 0.4, 0.7, 0.8])
    assert report.pareto_front(cost, score) == [1, 3, 0]


# ---------------------------------------------------------------------------------------------------------------------
# near_duplicate_groups


def test_near_duplicates_share_a_group_and_groups_are_counted_from_the_first(model):
    light, dark = np.full((20, 20, 3), 240, np.uint8), np.zeros((20, 20, 3), np.uint8)
    dark[:, :, 0] = 200
    groups = near_duplicate_groups([dark, light, dark + 1, light - 1, dark], embedder=PretrainedEmbedder(model))
    assert groups.tolist() == [0, 1, 0, 1, 0]
    assert groups.dtype == np.intp


def test_a_chain_of_pairs_is_one_group():
    angles = np.deg2rad([0, 10, 20, 30, 90])
    rows = np.c_[np.cos(angles), np.sin(angles)]
    groups = near_duplicate_groups(rows, embedder=Given(), threshold=np.cos(np.deg2rad(11)))
    assert groups.tolist() == [0, 0, 0, 0, 1]
    assert near_duplicate_groups(rows, embedder=Given(), threshold=0.999).tolist() == [0, 1, 2, 3, 4]


def test_pairs_are_found_across_blocks(monkeypatch):
    monkeypatch.setattr(judge, "BLOCK", 3)
    rows = np.eye(7)[[0, 1, 2, 3, 0, 5, 6, 1, 6, 2]]
    assert near_duplicate_groups(rows, embedder=Given()).tolist() == [0, 1, 2, 3, 0, 4, 5, 1, 5, 2]


def test_equal_rows_reach_a_threshold_of_one():
    rows = np.repeat(np.random.default_rng(0).normal(size=(50, 300)), 2, axis=0)
    assert near_duplicate_groups(rows, embedder=Given(), threshold=1).tolist() == np.repeat(range(50), 2).tolist()


def test_rows_without_direction_resemble_nothing():
    rows = [[0, 0], [0, 0], [np.nan, 1], [np.nan, 1], [1, 0]]
    assert near_duplicate_groups(rows, embedder=Given()).tolist() == [0, 1, 2, 3, 4]


def test_no_samples_are_no_groups():
    assert near_duplicate_groups(np.empty((0, 3)), embedder=Given()).shape == (0,)


@pytest.mark.parametrize("threshold", [0, 1.01, -1, float("nan"), True, "0.9", None])
def test_a_threshold_that_is_no_cosine_is_refused(threshold):
    with pytest.raises(ValueError, match=r"must be a cosine in"):
        near_duplicate_groups([[1, 0]], embedder=Given(), threshold=threshold)


def test_the_callers_embedder_is_left_as_it_is(model):
    embedder = PretrainedEmbedder(model)
    near_duplicate_groups(PICTURES, embedder=embedder)
    assert not hasattr(embedder, "embedding_dim_")


def test_copies_of_photographs_are_found_and_others_are_not(shared):
    from PIL import Image

    files = sorted((shared / "data/clothing_small/test").glob("*/*.jpg"))[::12]
    smaller = [Image.open(file).convert("RGB").reduce(2) for file in files]
    groups = near_duplicate_groups([*map(str, files), *smaller])
    assert np.array_equal(groups[: len(files)], groups[len(files) :])
    assert len(np.unique(groups)) > 0.9 * len(files)
