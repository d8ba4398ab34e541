"""What is refused, with the reason and the figures; a refusal leaves nothing behind."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression
from sklearn.multioutput import ClassifierChain
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skltransfer import PretrainedEmbedder, load_card
from skltransfer.adapt import DomainScaler
from skltransfer.errors import ExportError, InputWarning, LayerError
from skltransfer.export import to_onnx
from tests.export import support

pytest.importorskip("skl2onnx", reason="needs skltransfer[export]")


class Wrong(LogisticRegression):
    """Predicts otherwise than its converter thinks, as a threshold that is ignored does."""

    def predict(self, X):
        return self.classes_[(self.predict_proba(X)[:, 0] < 0.9).astype(int)]


def pipeline(tmp_path, head, y=None):
    X, names = support.train()
    return make_pipeline(support.backbone(tmp_path), StandardScaler(), head).fit(X, names if y is None else y)


def left(folder):
    return [path.name for path in folder.iterdir() if "model" in path.name and "card" not in path.name]


@pytest.mark.parametrize("kept", [False, True])
def test_a_file_that_disagrees_is_not_written_and_an_older_one_stays(tmp_path, kept, monkeypatch):
    from skltransfer.export import _linear, _walk

    monkeypatch.setitem(_walk.HEADS, "Wrong", _linear.HEADS["LogisticRegression"])
    folder = tmp_path / "out"
    folder.mkdir()
    if kept:
        (folder / "model.onnx").write_bytes(b"older")
    fitted = pipeline(tmp_path, Wrong(), np.where(support.train()[1] == "red", 0, 1))
    with pytest.raises(ExportError, match=r"210 samples, and was not written. label: \d+\.\d% of labels equal on rows"):
        support.exported(fitted, folder)
    assert left(folder) == ["model.onnx"] * kept
    assert not kept or (folder / "model.onnx").read_bytes() == b"older"


@pytest.mark.parametrize("head", [KNeighborsClassifier(weights="distance"), ClassifierChain(LogisticRegression())])
def test_heads_that_are_known_to_fail_agree_or_are_refused(tmp_path, head):
    y = (
        support.train()[1]
        if isinstance(head, KNeighborsClassifier)
        else np.eye(2)[np.arange(support.TRAIN) % 2].astype(int)
    )
    with pytest.raises(ExportError, match=r"was not written|cannot be converted"):
        support.exported(pipeline(tmp_path, head, y), tmp_path / "..")


def test_few_samples_are_refused(tmp_path):
    with pytest.raises(ExportError, match="199 samples were passed; 200 or more are needed"):
        to_onnx(pipeline(tmp_path, LogisticRegression()), tmp_path / "model.onnx", samples=support.test()[:199])


@pytest.mark.parametrize(
    ("choices", "reason"),
    [
        ({"level": "byte"}, r"level='byte' must be one of tensors, bytes. Did you mean 'bytes'\?"),
        ({"labels": "name"}, "labels='name' must be one of index, string"),
        ({"level": "bytes", "accept": "all"}, "accept='all' must be None or 'trusted-images'"),
        ({"accept": "trusted-images"}, "is for level='bytes' of images; this file decodes none"),
        ({"level": "bytes"}, "ends the process on WebP, GIF and damaged files"),
    ],
)
def test_wrong_choices_are_named(tmp_path, choices, reason):
    with pytest.raises(ExportError, match=reason):
        support.exported(pipeline(tmp_path, LogisticRegression()), tmp_path, **choices)


def test_a_file_goes_into_a_folder_that_is_there_and_ends_in_onnx(tmp_path):
    fitted = pipeline(tmp_path, LogisticRegression())
    with pytest.raises(ExportError, match=r"does not end in .onnx"):
        to_onnx(fitted, tmp_path / "model.bin", samples=support.test())
    with pytest.raises(ExportError, match="There is no folder"):
        to_onnx(fitted, tmp_path / "nowhere" / "model.onnx", samples=support.test())


def test_a_pipeline_without_a_backbone_is_refused(tmp_path):
    with pytest.raises(ExportError, match="holds no fitted PretrainedEmbedder"):
        to_onnx(LogisticRegression(), tmp_path / "model.onnx", samples=support.test())


def test_steps_without_a_converter_are_named(tmp_path):
    X, y = support.train()
    fitted = make_pipeline(support.backbone(tmp_path), FunctionTransformer(np.sin), LogisticRegression()).fit(X, y)
    with pytest.raises(ExportError, match="FunctionTransformer"):
        support.exported(fitted, tmp_path)


def test_averages_of_runs_and_maps_are_refused(tmp_path):
    X, y = support.train()
    flipped = support.backbone(tmp_path).set_params(views="flip")
    with pytest.raises(ExportError, match="views='flip' averages several runs"):
        support.exported(make_pipeline(flipped, LogisticRegression(max_iter=5000)).fit(X, y), tmp_path)
    maps = support.backbone(tmp_path).set_params(layer="map", pool="none")
    with pytest.raises(LayerError, match="pool='mean'"):
        support.exported(make_pipeline(maps).fit(X), tmp_path)


def test_rows_of_several_domains_are_refused(tmp_path):
    X, _ = support.train()
    scaler = DomainScaler().fit(support.backbone(tmp_path).transform(X), sample_domain=["a", "b"] * 60)
    with pytest.raises(ValueError, match="sample_domain decides how rows are moved"):
        scaler._onnx_parts()


def test_draft_pixels_are_warned_of_and_refused_where_the_file_decodes(tmp_path):
    from skltransfer.datasets import load_emoji

    images = load_emoji().images[:210]
    drafted = make_pipeline(PretrainedEmbedder(load_card("vision-mini", draft=True))).fit(images)
    with pytest.warns(InputWarning, match=r"Refit with PretrainedEmbedder\(load_card\('vision-mini', draft=False\)\)"):
        to_onnx(drafted, tmp_path / "model.onnx", samples=images)
    with pytest.raises(ExportError, match=r"refit with PretrainedEmbedder\(load_card\('vision-mini', draft=False\)\)"):
        to_onnx(drafted, tmp_path / "b.onnx", samples=images, level="bytes", accept="trusted-images")


def test_calibration_by_steps_is_judged_as_trees(tmp_path):
    from skltransfer.export import _parity

    fitted = pipeline(tmp_path, CalibratedClassifierCV(LogisticRegression(), method="isotonic", cv=3))
    assert _parity._limits([], _parity.Reference(fitted, [])).share == _parity.EXACT.share
    assert _parity._limits([], _parity.Reference(pipeline(tmp_path, LogisticRegression()), [])).share == 0
