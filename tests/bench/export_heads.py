"""Every head of the study behind one backbone, exported: each agrees with its pipeline, or is refused with a reason.

Run it with: python -m tests.bench.export_heads [PART OF A NAME] [--keep FOLDER]

Samples are emoji of two groups of classes; 400 are trained on, the other 385 are what the files are compared on. A line
says what came out; the last ones count. "Silently wrong" are files that were written and whose labels differ from the
pipeline's on a row whose margin is more than the tolerance, which this script looks at on its own. Files that are kept
have a case beside them each, for the scripts in ``tests/export/consumers``: python plain.py FOLDER/*
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.covariance import EllipticEnvelope
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.ensemble import (
    AdaBoostClassifier,
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
from sklearn.feature_selection import SelectFromModel, SelectKBest, VarianceThreshold
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import (
    LogisticRegression,
    LogisticRegressionCV,
    Perceptron,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
    SGDRegressor,
)
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV, TunedThresholdClassifierCV
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor, LocalOutlierFactor, NearestCentroid
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    MinMaxScaler,
    Normalizer,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)
from sklearn.svm import SVC, SVR, LinearSVC, NuSVC, OneClassSVM

from skltransfer import PretrainedEmbedder, load_card
from skltransfer.datasets import load_emoji
from skltransfer.errors import SklTransferError
from skltransfer.export import to_onnx
from tests.export.support import case

CARD = load_card("vision-mini", draft=False)


def embed(**choices: Any) -> PretrainedEmbedder:
    return PretrainedEmbedder(CARD, **choices)


def logistic(**choices: Any) -> LogisticRegression:
    return LogisticRegression(max_iter=3000, **choices)


def before(*steps: Any) -> Callable[[], Any]:
    """Return a pipeline with transformers of rows and a logistic regression."""
    return lambda: make_pipeline(embed(), *steps, logistic())


def behind(head: Any, *steps: Any) -> Callable[[], Any]:
    return lambda: make_pipeline(embed(), *steps, head)


def scaled(head: Any) -> Callable[[], Any]:
    return behind(head, StandardScaler())


def in_columns() -> Any:
    columns = ColumnTransformer([("photo", embed(), "photo"), ("numbers", StandardScaler(), ["bytes", "line"])])
    return make_pipeline(columns, logistic())


GRID = {"C": [0.1, 1.0]}
HEADS: dict[str, tuple[str, Callable[[], Any]]] = {
    "StandardScaler": ("many", before(StandardScaler())),
    "MinMaxScaler": ("many", before(MinMaxScaler())),
    "RobustScaler": ("many", before(RobustScaler())),
    "Normalizer": ("many", before(Normalizer())),
    "PowerTransformer": ("many", before(PCA(32), PowerTransformer())),
    "QuantileTransformer": ("many", before(PCA(16), QuantileTransformer(n_quantiles=50))),
    "PolynomialFeatures": ("many", before(PCA(16), PolynomialFeatures(2))),
    "PCA(whiten)": ("many", before(PCA(32, whiten=True))),
    "TruncatedSVD": ("many", before(TruncatedSVD(32))),
    "SelectKBest": ("many", before(SelectKBest(k=64))),
    "VarianceThreshold": ("many", before(VarianceThreshold(0.01))),
    "SelectFromModel": ("many", before(SelectFromModel(logistic()))),
    "LogisticRegression, strings": ("many", behind(logistic())),
    "LogisticRegression, integers": ("integers", behind(logistic())),
    "LogisticRegressionCV": (
        "two",
        scaled(LogisticRegressionCV(Cs=3, cv=3, max_iter=1000, use_legacy_attributes=False)),
    ),
    "SVC(rbf)": ("many", behind(SVC())),
    "SVC(probability)": ("many", behind(SVC(probability=True, random_state=0))),
    "SVC, binary": ("two", behind(SVC())),
    "NuSVC": ("many", behind(NuSVC(nu=0.2))),
    "RidgeClassifier": ("many", behind(RidgeClassifier())),
    "KNN, euclidean": ("many", behind(KNeighborsClassifier())),
    "KNN, cosine": ("many", behind(KNeighborsClassifier(metric="cosine"))),
    "RandomForest": ("many", behind(RandomForestClassifier(random_state=0))),
    "ExtraTrees": ("many", behind(ExtraTreesClassifier(random_state=0))),
    "GradientBoosting": ("many", behind(GradientBoostingClassifier(n_estimators=20, max_features=32, random_state=0))),
    "AdaBoost": ("many", behind(AdaBoostClassifier(random_state=0))),
    "Bagging": ("many", behind(BaggingClassifier(random_state=0))),
    "MLP": ("many", scaled(MLPClassifier(max_iter=300, random_state=0))),
    "LDA, shrinkage": ("many", behind(LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"))),
    "QDA": ("two", behind(QuadraticDiscriminantAnalysis(reg_param=0.5), PCA(16))),
    "Calibrated(sigmoid)": ("many", behind(CalibratedClassifierCV(RidgeClassifier(), cv=3))),
    "OneVsRest": ("many", behind(OneVsRestClassifier(logistic()))),
    "Stacking": ("many", behind(StackingClassifier([("a", logistic()), ("b", GaussianNB())], cv=3), PCA(16))),
    "FeatureUnion": ("many", behind(logistic(), FeatureUnion([("pca", PCA(8)), ("best", SelectKBest(k=8))]))),
    "FeatureUnion of two embedders": (
        "many",
        lambda: make_pipeline(FeatureUnion([("a", embed()), ("b", embed(layer="block_3"))]), logistic()),
    ),
    "GridSearchCV, inside": ("many", behind(GridSearchCV(logistic(), GRID, cv=3))),
    "GridSearchCV, outside": (
        "many",
        lambda: GridSearchCV(make_pipeline(embed(), logistic()), {"logisticregression__C": [0.1, 1.0]}, cv=3),
    ),
    "GaussianNB": ("many", behind(GaussianNB(), PCA(16))),
    "KMeans": ("none", behind(KMeans(4, random_state=0, n_init=3))),
    "OneClassSVM": ("none", behind(OneClassSVM())),
    "LocalOutlierFactor": ("none", behind(LocalOutlierFactor(novelty=True))),
    "GaussianMixture": ("none", behind(GaussianMixture(3, random_state=0), PCA(8))),
    "Ridge": ("numbers", behind(Ridge())),
    "SVR": ("numbers", behind(SVR())),
    "SGDRegressor": ("numbers", scaled(SGDRegressor(random_state=0, eta0=1e-4))),
    "RandomForestRegressor": ("numbers", behind(RandomForestRegressor(random_state=0, max_features=32))),
    "KNeighborsRegressor": ("numbers", behind(KNeighborsRegressor())),
    "MLPRegressor": ("numbers", scaled(MLPRegressor(max_iter=300, random_state=0))),
    "PLSRegression": ("numbers", behind(PLSRegression(4))),
    "MultiOutputClassifier": ("several", behind(MultiOutputClassifier(logistic()))),
    "SGD(hinge)": ("many", behind(SGDClassifier(random_state=0))),
    "Perceptron": ("many", behind(Perceptron(random_state=0))),
    "TunedThreshold": ("two", behind(TunedThresholdClassifierCV(logistic(), cv=3))),
    "SGD(log_loss)": ("many", behind(SGDClassifier(loss="log_loss", random_state=0))),
    "KNN, cosine, by distance": ("many", behind(KNeighborsClassifier(metric="cosine", weights="distance"))),
    "KNN, euclidean, by distance": ("many", behind(KNeighborsClassifier(weights="distance"))),
    "Calibrated(isotonic) over a forest": (
        "many",
        behind(CalibratedClassifierCV(RandomForestClassifier(20, random_state=0), method="isotonic", cv=3)),
    ),
    "HistGradientBoosting": ("many", behind(HistGradientBoostingClassifier(max_iter=20))),
    "HistGradientBoosting, numbers": ("numbers", behind(HistGradientBoostingRegressor(max_iter=20))),
    "IsolationForest": ("none", behind(IsolationForest(random_state=0))),
    "LinearSVC": ("many", behind(LinearSVC(max_iter=5000))),
    "Voting": ("many", behind(VotingClassifier([("a", logistic()), ("b", GaussianNB())], voting="soft"), PCA(16))),
    "FrozenEstimator": ("many", lambda: None),
    "NearestCentroid": ("many", behind(NearestCentroid())),
    "FixedThreshold": ("two", behind(FixedThresholdClassifier(logistic(), threshold=0.3))),
    "OneVsOne": ("integers", behind(OneVsOneClassifier(logistic()))),
    "ClassifierChain": ("several", behind(ClassifierChain(logistic()))),
    "EllipticEnvelope": ("none", behind(EllipticEnvelope(random_state=0), PCA(8))),
    "TransformedTarget": ("numbers", behind(TransformedTargetRegressor(Ridge(), func=np.log, inverse_func=np.exp))),
    "Calibrated(temperature)": ("many", behind(CalibratedClassifierCV(logistic(), method="temperature", cv=3))),
    "ColumnTransformer": ("frame", in_columns),
}


def frozen(X: Any, y: Any) -> Any:
    """Return a pipeline that must not be fitted again, and is a step of another."""
    return FrozenEstimator(make_pipeline(embed(), logistic()).fit(X, y))


def data() -> dict[str, tuple[Any, Any]]:
    """Return X and y of every kind of target, in one order."""
    emoji = load_emoji()
    order = np.random.default_rng(0).permutation(len(emoji.images))
    images = [emoji.images[i] for i in order]
    target = emoji.target[order]
    names = np.array(emoji.target_names)[target]
    sizes = np.array([len(image) / 1000 for image in images])
    frame = pd.DataFrame({"photo": images, "bytes": sizes, "line": np.arange(len(images)) % 7})
    two = np.where(target == 0, "faces", "others")
    return {
        "many": (images, names),
        "integers": (images, target * 3 + 1),
        "two": (images, two),
        "numbers": (images, sizes),
        "none": (images, None),
        "several": (images, np.c_[target % 2, target // 4]),
        "frame": (frame, names),
    }


def halves(X: Any, y: Any) -> tuple[Any, Any, Any, Any]:
    return X[:400], None if y is None else y[:400], X[400:], None if y is None else y[400:]


def silently_wrong(pipeline: Any, path: Path, X: Any) -> int:
    """Count the labels or numbers of a written file that are not the pipeline's, by a way of its own."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    first = session.get_outputs()[0].name
    if not isinstance(X, list) or first.startswith("target"):
        return 0
    from skltransfer._engine.modalities import image

    pixels = np.stack([image.prepare(image.read(one), CARD.input) for one in X])
    found = session.run([first], {"images": pixels})[0]
    wanted = pipeline.predict(X)
    if np.asarray(wanted).dtype.kind == "f":
        return int((np.abs(found - wanted) > 1e-3 * np.abs(wanted).max()).sum())
    classes = getattr(pipeline, "classes_", None)
    differ = np.asarray(wanted) != (found if classes is None else classes[found])
    if differ.any() and hasattr(pipeline, "predict_proba"):  # votes may be equal
        ranked = np.sort(pipeline.predict_proba(X), axis=1)
        differ &= ranked[:, -1] - ranked[:, -2] > 2e-4
    return int(differ.sum())


def feeds(X: Any) -> dict[str, np.ndarray]:
    """Return what a file takes of samples: pixels and, of a table, the other columns."""
    from skltransfer._engine.modalities import image

    frame = isinstance(X, pd.DataFrame)
    photos = [name for name in X if isinstance(X[name].iloc[0], bytes)] if frame else []
    given = {name: X[[name]].to_numpy(np.float32) for name in X if name not in photos} if frame else {}
    for name, images in [(name, X[name]) for name in photos] if frame else [("images", X)]:
        given[name] = np.stack([image.prepare(image.read(one), CARD.input) for one in images])
    return given


def main() -> None:
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("part", nargs="?", default="")
    parser.add_argument("--keep", type=Path, help="folder for the files and their cases")
    given = parser.parse_args()
    part = given.part
    sets, count = data(), {"agrees": 0, "refused": 0, "silently wrong": 0}
    with tempfile.TemporaryDirectory() as folder:
        for name, (kind, build) in HEADS.items():
            if part not in name:
                continue
            X, y, rest, _ = halves(*sets[kind])
            pipeline = frozen(X, y) if name == "FrozenEstimator" else build().fit(X, y)
            name_of_file = "".join(letter if letter.isalnum() else "-" for letter in name) + ".onnx"
            path, start = Path(given.keep or folder, name_of_file), time.process_time()
            try:
                done = to_onnx(pipeline, path, samples=rest)
            except SklTransferError as err:
                count["refused"] += 1
                print(f"{name:36} refused: {str(err)[:150]}")
                continue
            wrong = silently_wrong(pipeline, path, rest)
            if given.keep:
                case(path, feeds(rest[:8]))
            count["agrees"] += 1
            count["silently wrong"] += wrong > 0
            figures = max(one.get("largest", 0) for one in done.parity["outputs"].values())
            extra = (done.bytes - 4_234_559) / 1000
            seconds = time.process_time() - start
            print(f"{name:36} {figures:.0e}  +{extra:6.0f} KB  {seconds:.1f} CPU s" + f"  WRONG {wrong}" * bool(wrong))
    print(f"{len(HEADS)} heads: {count}")


if __name__ == "__main__":
    main()
