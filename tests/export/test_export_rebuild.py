"""Copies with changed parts: the user's own estimators stay what they are."""

from __future__ import annotations

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skltransfer import PretrainedEmbedder
from skltransfer.export._convert import relabeled
from skltransfer.export._rebuild import on_cpu

X = np.random.default_rng(0).normal(size=(60, 3))
Y = np.where(X[:, 0] > 0, "yes", "no")


def test_labels_are_replaced_everywhere_and_only_in_the_copy():
    head = CalibratedClassifierCV(LogisticRegression(), cv=2).fit(X, Y)
    changed = relabeled(head, head.classes_)
    inner = changed.calibrated_classifiers_[0]
    assert (changed.predict(X) == (Y == "yes")).mean() > 0.9
    assert inner.classes.tolist() == inner.estimator.classes_.tolist() == [0, 1]
    assert head.calibrated_classifiers_[0].estimator.classes_.tolist() == ["no", "yes"]


def test_what_needs_no_change_is_shared():
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y == "yes")
    assert relabeled(pipeline, np.array([5, 6])) is pipeline


def test_backbones_run_on_the_cpu_wherever_they_are():
    pipeline = make_pipeline(PretrainedEmbedder(device="cuda"), StandardScaler())
    changed = on_cpu(GridSearchCV(pipeline, {}))
    assert (changed.estimator[0].device, pipeline[0].device) == ("cpu", "cuda")
    assert changed.estimator[1] is pipeline[1]
