"""Heads and steps: each agrees with its pipeline, or is refused, and nothing is left."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.ensemble import (
    BaggingClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.feature_selection import SelectKBest, VarianceThreshold
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, RidgeClassifier, SGDClassifier
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV, TunedThresholdClassifierCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor, NearestCentroid, NearestNeighbors
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    PolynomialFeatures,
    RobustScaler,
    StandardScaler,
)
from sklearn.svm import SVC, SVR, LinearSVC, OneClassSVM

from skltransfer.adapt import AdaptedClassifier, DomainScaler
from skltransfer.errors import ExportError
from skltransfer.export import read_metadata, to_onnx
from skltransfer.heads import MultiTask, SkipBadRows
from tests.export import support

pytest.importorskip("skl2onnx", reason="needs skltransfer[export]")

LOGISTIC = make_pipeline(StandardScaler(), LogisticRegression())
CLASSIFIERS = [
    LOGISTIC,
    make_pipeline(MinMaxScaler(clip=True), LogisticRegression()),
    make_pipeline(MaxAbsScaler(), LogisticRegression()),
    make_pipeline(RobustScaler(), LogisticRegression()),
    make_pipeline(Normalizer("l1"), LogisticRegression()),
    make_pipeline(Normalizer("l2"), LogisticRegression()),
    make_pipeline(Normalizer("max"), LogisticRegression()),
    make_pipeline(PCA(2, whiten=True), LogisticRegression()),
    make_pipeline(StandardScaler(), TruncatedSVD(2), LogisticRegression()),
    make_pipeline(StandardScaler(), SelectKBest(k=2), LogisticRegression()),
    make_pipeline(VarianceThreshold(), StandardScaler(), LogisticRegression()),
    make_pipeline(StandardScaler(), PolynomialFeatures(2), LogisticRegression()),
    make_pipeline(StandardScaler(), FeatureUnion([("a", PCA(2)), ("b", "passthrough")]), LogisticRegression()),
    make_pipeline(StandardScaler(), LogisticRegression(solver="newton-cg")),
    make_pipeline(StandardScaler(), SGDClassifier(loss="log_loss", random_state=0)),
    make_pipeline(StandardScaler(), SGDClassifier(random_state=0)),
    make_pipeline(StandardScaler(), LinearSVC()),
    make_pipeline(StandardScaler(), MLPClassifier((8,), max_iter=30, random_state=0)),
    make_pipeline(StandardScaler(), CalibratedClassifierCV(RidgeClassifier(), cv=3)),
    make_pipeline(StandardScaler(), OneVsRestClassifier(LogisticRegression())),
    make_pipeline(StandardScaler(), GridSearchCV(LogisticRegression(), {"C": [0.1, 1]}, cv=3)),
    make_pipeline(
        StandardScaler(),
        VotingClassifier([("a", LogisticRegression()), ("b", GaussianNB())], voting="soft"),
    ),
    make_pipeline(StandardScaler(), StackingClassifier([("a", LogisticRegression()), ("b", GaussianNB())], cv=3)),
    RidgeClassifier(),
    LinearDiscriminantAnalysis(),
    QuadraticDiscriminantAnalysis(reg_param=0.1),
    GaussianNB(),
    SVC(),
    KNeighborsClassifier(),
    NearestCentroid(),
    RandomForestClassifier(20, random_state=0),
    ExtraTreesClassifier(20, random_state=0),
    GradientBoostingClassifier(n_estimators=5, random_state=0),
    HistGradientBoostingClassifier(max_iter=5),
    BaggingClassifier(random_state=0),
    SkipBadRows(RandomForestClassifier(5, random_state=0)),
    AdaptedClassifier(LOGISTIC, align=None, rounds=0),
]
TWO_CLASSES = [
    LOGISTIC,
    SVC(),
    LinearSVC(),
    GaussianNB(),
    HistGradientBoostingClassifier(max_iter=3),
    LinearDiscriminantAnalysis(),
    MLPClassifier((4,), max_iter=9, random_state=0),
    SGDClassifier(loss="log_loss", random_state=0),
    RidgeClassifier(),
]
REGRESSORS = [
    Ridge(),
    LinearRegression(),
    make_pipeline(StandardScaler(), SVR()),
    make_pipeline(StandardScaler(), MLPRegressor(hidden_layer_sizes=(8,), max_iter=30, random_state=0)),
    RandomForestRegressor(10, random_state=0),
    KNeighborsRegressor(),
    HistGradientBoostingRegressor(max_iter=5),
    HistGradientBoostingRegressor(loss="poisson", max_iter=5),
    PLSRegression(2),
]
OTHERS = {
    "label scores": [
        KMeans(3, n_init=1, random_state=0),
        OneClassSVM(),
        IsolationForest(n_estimators=5, random_state=0),
    ],
    "label probabilities": [make_pipeline(PCA(2), GaussianMixture(2, random_state=0))],
    "distances indices": [NearestNeighbors(n_neighbors=3)],
    "features": [PCA(2), DomainScaler()],
}


def named(head):
    return str(head)[:60].replace("\n", "")


@pytest.fixture(autouse=True)
def few_iterations():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Stochastic Optimizer")
        yield


def fitted(tmp_path, head, y, X=None):
    return make_pipeline(support.backbone(tmp_path), head).fit(support.train()[0] if X is None else X, y)


@pytest.mark.parametrize("head", CLASSIFIERS, ids=named)
def test_classifiers_agree(tmp_path, head):
    done = support.exported(fitted(tmp_path, head, support.train()[1]), tmp_path)
    assert done.outputs[0] == "label"
    assert all(one["agrees"] for one in done.parity["outputs"].values())


@pytest.mark.parametrize("head", TWO_CLASSES, ids=named)
def test_two_classes_agree(tmp_path, head):
    y = np.where(support.train()[1] == "red", 7, 3)
    done = support.exported(fitted(tmp_path, make_pipeline(StandardScaler(), head), y), tmp_path)
    assert read_metadata(done.path)["classes"] == {"label": [3, 7]}


@pytest.mark.parametrize("head", REGRESSORS, ids=named)
def test_regressors_agree(tmp_path, head):
    y = np.arange(support.TRAIN) / 7 + 1
    assert support.exported(fitted(tmp_path, head, y), tmp_path).outputs == ("prediction",)


@pytest.mark.parametrize(("names", "head"), [(k, head) for k, heads in OTHERS.items() for head in heads], ids=str)
def test_what_learns_without_labels_agrees(tmp_path, names, head):
    assert " ".join(support.exported(fitted(tmp_path, head, None), tmp_path).outputs) == names


@pytest.mark.parametrize("threshold", [0.2, "tuned"])
@pytest.mark.parametrize("positive", ["a", "b"])
def test_thresholds_decide_the_label(tmp_path, threshold, positive):
    y = np.where(support.train()[1] == "red", "a", "b")
    if threshold == "tuned":
        head = TunedThresholdClassifierCV(LOGISTIC, cv=3)
    else:
        head = FixedThresholdClassifier(
            LOGISTIC, threshold=threshold, pos_label=positive, response_method="predict_proba"
        )
    pipeline = fitted(tmp_path, head, y)
    done = support.exported(pipeline, tmp_path)
    naive = pipeline.classes_[pipeline.predict_proba(support.test()).argmax(axis=1)]
    assert threshold == "tuned" or (naive != pipeline.predict(support.test())).any()
    assert done.parity["outputs"]["label"]["equal"] == 1.0


@pytest.mark.parametrize("align", ["moments", "coral"])
def test_rows_of_another_domain_are_moved(tmp_path, align):
    X, y = support.train()
    labels = [None if i % 2 else name for i, name in enumerate(y)]
    images = [image // 2 if i % 2 else image for i, image in enumerate(X)]
    pipeline = fitted(tmp_path, AdaptedClassifier(LOGISTIC, align=align, rounds=1), labels, images)
    assert support.exported(pipeline, tmp_path).outputs == ("label", "probabilities")


def test_columns_may_have_the_names_of_outputs(tmp_path):
    X, y = support.train()
    columns = ColumnTransformer([("a", support.backbone(tmp_path), "label"), ("b", "passthrough", ["const_1"])])
    pipeline = make_pipeline(columns, LOGISTIC).fit(pd.DataFrame({"label": X, "const_1": range(len(X))}), y)
    rest = pd.DataFrame({"label": support.test(), "const_1": range(support.TEST)})
    done = to_onnx(pipeline, tmp_path / "model.onnx", samples=rest)
    assert (done.inputs, done.outputs) == (("label", "const_1"), ("label_2", "probabilities"))


@pytest.mark.parametrize("names", [["a", "b"], [20, 10]])
def test_columns_may_be_positions(tmp_path, names):
    X, y = support.train()
    columns = ColumnTransformer([("a", support.backbone(tmp_path), 0)], remainder=StandardScaler())
    pipeline = make_pipeline(columns, LOGISTIC).fit(pd.DataFrame(dict(zip(names, [X, range(len(X))], strict=True))), y)
    rest = pd.DataFrame(dict(zip(names, [support.test(), range(support.TEST)], strict=True)))
    assert len(to_onnx(pipeline, tmp_path / "model.onnx", samples=rest).inputs) == 2


def test_a_search_around_the_pipeline_and_a_frozen_one_are_unwrapped(tmp_path):
    X, y = support.train()
    inner = GridSearchCV(
        make_pipeline(support.backbone(tmp_path), LOGISTIC), {"pipeline__logisticregression__C": [1, 2]}, cv=2
    )
    assert support.exported(FrozenEstimator(inner.fit(X, y)), tmp_path).outputs == ("label", "probabilities")


def test_tasks_have_outputs_of_their_names(tmp_path):
    X, y = support.train()
    targets = pd.DataFrame({"kind": y, "price": np.arange(len(y)) / 7, "rare": [None] * 60 + ["a", "b"] * 30})
    heads = MultiTask({"kind": LOGISTIC, "price": Ridge(), "rare": SVC()})
    done = support.exported(make_pipeline(support.backbone(tmp_path), heads).fit(X, targets), tmp_path)
    assert done.outputs == ("kind_label", "kind_probabilities", "price", "rare_label", "rare_scores")
    assert read_metadata(done.path)["classes"]["rare_label"] == ["a", "b"]


def test_several_targets_of_scikit_learn_have_numbers(tmp_path):
    y = np.c_[np.arange(support.TRAIN) % 2, np.arange(support.TRAIN) % 3]
    done = support.exported(fitted(tmp_path, MultiOutputClassifier(LOGISTIC), y), tmp_path)
    assert done.outputs[::2] == ("target_0_label", "target_1_label")


@pytest.mark.parametrize("pure", [True, False])
def test_pure_files_have_no_operators_of_ai_onnx_ml(tmp_path, pure):
    import onnx

    X, y = support.train()
    done = support.exported(
        fitted(tmp_path, make_pipeline(StandardScaler(), PCA(2), LOGISTIC), y, X), tmp_path, pure=pure
    )
    model = onnx.load(done.path)
    assert ({node.domain for node in model.graph.node}, model.ir_version) == ({""}, 8)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)]


def test_pure_refuses_what_needs_more(tmp_path):
    with pytest.raises(ExportError, match=r"pure=True: TreeEnsembleClassifier of ai\.onnx\.ml"):
        support.exported(fitted(tmp_path, RandomForestClassifier(3), support.train()[1]), tmp_path, pure=True)


def test_labels_may_be_strings(tmp_path):
    pipeline = fitted(tmp_path, LOGISTIC, support.train()[1])
    done = support.exported(pipeline, tmp_path, labels="string")
    import onnxruntime

    session = onnxruntime.InferenceSession(str(done.path), providers=["CPUExecutionProvider"])
    found = session.run(["label"], {"images": np.stack(support.test())})[0]
    assert found.tolist() == pipeline.predict(support.test()).tolist()
