"""The detector: it detects, and it is an estimator like others."""

import pickle
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score, learning_curve

import skltransfer
from skltransfer import load_card
from skltransfer._engine import runtime
from skltransfer.detection import ObjectDetector, _projection, average_precision, detection_scorer
from skltransfer.errors import BadSamplesWarning, ExportError, InputWarning, LayerError, ModelChangedError, SampleError
from skltransfer.export import to_onnx
from skltransfer.scoring import score
from tests.detection.support import QUICK, scenes


def test_objects_of_unseen_scenes_are_found(fitted):
    images, targets = scenes(10, first=100)
    assert average_precision(targets, fitted.predict(images, score_threshold=0), iou=0.5) > 0.8
    assert fitted.proposal_recall_[0.5] > 0.9
    assert fitted.classes_.tolist() == ["face", "food"]


def test_images_without_objects_raise_few_alarms(fitted):
    images, _ = scenes(20, first=900, objects=0)
    assert sum(len(found["boxes"]) for found in fitted.predict(images)) <= 2


def test_detections_are_sorted_inside_their_image_and_above_the_threshold(fitted):
    images, _ = scenes(3, first=100)
    for found in fitted.predict(images):
        assert (np.diff(found["scores"]) <= 0).all()
        assert (found["scores"] > 0.5).all()
        assert found["boxes"].min() >= 0
        assert (found["boxes"].max(axis=0) <= [240, 200, 240, 200]).all()
        assert set(found["labels"]) <= {"face", "food"}
        assert len(found["boxes"]) == len(found["labels"]) == len(found["scores"]) > 0


def test_an_image_has_the_same_detections_alone_and_in_company(fitted):
    images, _ = scenes(4, first=100)
    tall, _ = scenes(1, first=200, size=(100, 220))
    alone = fitted.predict(images[2:3])[0]
    skltransfer.reset()
    together = fitted.predict([*tall, *images])[3]
    assert np.allclose(alone["boxes"], together["boxes"], atol=0.2)
    assert np.allclose(alone["scores"], together["scores"], atol=1e-3)


def test_no_image_no_detection(fitted):
    assert fitted.predict([]) == []


def test_an_image_smaller_than_a_cell_and_one_a_hundred_times_as_wide_as_high(fitted):
    for found in fitted.predict([np.zeros((1, 1, 3), np.uint8), np.zeros((4, 400, 3), np.uint8)]):
        assert found["boxes"].shape == (len(found["labels"]), 4)


def test_a_fit_is_repeatable_and_leaves_its_parameters(fitted):
    images, targets = scenes(6)
    first, second = (ObjectDetector(**QUICK).fit(images, targets) for _ in range(2))
    one, other = (detector.predict(images[:2], score_threshold=0) for detector in (first, second))
    assert all(np.array_equal(a["boxes"], b["boxes"]) for a, b in zip(one, other, strict=True))
    assert first.get_params() == ObjectDetector(**QUICK).get_params()


def test_clones_are_unfitted_and_pickles_small(fitted):
    assert not hasattr(clone(fitted), "classes_")
    stored = pickle.dumps(fitted)
    assert len(stored) < 600_000
    images, _ = scenes(1, first=100)
    assert np.array_equal(pickle.loads(stored).predict(images)[0]["boxes"], fitted.predict(images)[0]["boxes"])


def test_a_search_over_nested_parameters_computes_each_map_once(fitted):
    images, targets = scenes(9)
    skltransfer.reset()
    detector = ObjectDetector(box_classifier=LogisticRegression(), scales=(320,), **QUICK)
    grid = {"box_classifier__C": [0.001, 0.1]}
    search = GridSearchCV(detector, grid, cv=3, scoring=detection_scorer("ap50"), error_score="raise")
    search.fit(images, targets)
    generic = _projection.BOARDS + _projection.PICTURES
    assert skltransfer.rows_run() == 2 * len(images) + generic  # each image and its mirror image
    assert search.best_score_ > 0.3


def test_groups_of_near_duplicates_and_learning_curves(fitted):
    images, targets = scenes(8)
    detector = ObjectDetector(scales=(320,), mirror=False, **QUICK)
    scores = cross_val_score(detector, images, targets, groups=np.arange(8) // 2, cv=GroupKFold(2))
    assert scores.shape == (2,)
    assert np.isfinite(scores).all()
    _, _, test = learning_curve(detector, images, targets, cv=2, train_sizes=[2, 4], error_score="raise")
    assert np.isfinite(test).all()


def test_a_kernel_and_other_formats(fitted):
    images, targets = scenes(8)
    shifted = [{**one, "boxes": np.hstack([one["boxes"][:, :2], np.diff(one["boxes"].reshape(-1, 2, 2), axis=1)[:, 0]])}
               for one in targets]  # fmt: skip
    detector = ObjectDetector(kernel=Nystroem(n_components=60), box_format="xywh", **QUICK).fit(images, shifted)
    assert detector.score(images, shifted) > 0.3
    widths = detector.predict(images[:1], score_threshold=0)[0]["boxes"][:5, 2]
    assert (widths < 100).all()  # not edges, which go up to 240


def test_crowds_and_difficult_objects_are_not_learned():
    images, targets = scenes(6)
    marked = [{**one, "difficult": [label == "food" for label in one["labels"]]} for one in targets]
    assert ObjectDetector(**QUICK, mirror=False).fit(images, marked).classes_.tolist() == ["face"]


@pytest.mark.parametrize("labels", [[3, 7], [True, False], ["ä", "b"]])
def test_labels_may_be_of_any_kind(labels):
    images, targets = scenes(5)
    renamed = [{**one, "labels": [labels[label == "food"] for label in one["labels"]]} for one in targets]
    detector = ObjectDetector(**QUICK, mirror=False, scales=(320,)).fit(images, renamed)
    found = detector.predict(images[:1], score_threshold=0)[0]["labels"]
    assert detector.classes_.tolist() == sorted(labels)
    assert set(found.tolist()) <= set(labels)


def test_runs_give_their_memory_back_to_what_is_learned_after_them(monkeypatch):
    images, targets = scenes(4)
    asked, real = [], runtime.cancel_switch
    monkeypatch.setattr(
        runtime, "cancel_switch", lambda **choices: (asked.append(choices["shrink"]), real(**choices))[1]
    )
    detector = ObjectDetector(**{**QUICK, "cache": None}, mirror=False, scales=(320,)).fit(images, targets)
    assert True in asked  # others are of the small images that projections are fitted to
    asked.clear()
    detector.predict(images)  # a little slower each time, for nothing
    assert asked
    assert not any(asked)


def test_bad_images_are_left_out_on_request(fitted):
    images, targets = scenes(5)
    detector = ObjectDetector(**QUICK, on_error="nan", mirror=False, scales=(320,))
    with pytest.warns(BadSamplesWarning, match="1 images cannot be read and have no boxes: sample 2"):
        detector.fit([*images[:2], b"broken", *images[3:]], targets)
    with pytest.warns(BadSamplesWarning, match="sample 1"):
        found = detector.predict([images[0], b"broken", images[1]])
    assert [len(one["boxes"]) > 0 for one in found] == [True, False, True]
    with pytest.raises(SampleError, match="sample 1"):
        fitted.predict([images[0], b"broken"])


def test_another_backbone_under_the_same_name_is_refused(fitted):
    other = clone(fitted).set_params(backbone=load_card("vision-mini"))
    vars(other).update({name: value for name, value in vars(fitted).items() if name.endswith("_")})
    other.model_sha256_ = "0" * 64
    with pytest.raises(ModelChangedError, match="Fit again, or bring back the files"):
        other.predict(scenes(1)[0])


def test_a_backbone_of_texts_and_rows_for_maps_are_refused():
    images, targets = scenes(1)
    with pytest.raises(LayerError, match="takes text samples; detection needs a backbone of images"):
        ObjectDetector("text-mini").fit(images, targets)
    with pytest.raises(LayerError, match="no feature map 'embedding'"):
        ObjectDetector(layers=["embedding"], components=(8,)).fit(images, targets)


def test_progress_is_shown_and_reported_to_callbacks(capsys):
    pytest.importorskip("tqdm")
    images, targets = scenes(4)
    ObjectDetector(**QUICK, mirror=False, scales=(320,), verbose=1).fit(images, targets).predict(images)
    assert capsys.readouterr().err.count("4/4") >= 2


def test_scikit_learns_callbacks_see_the_fit():
    callback = pytest.importorskip("sklearn.callback")
    pytest.importorskip("rich")
    images, targets = scenes(3)
    detector = ObjectDetector(**QUICK, mirror=False, scales=(320,)).set_callbacks(callback.ProgressBar())
    assert detector.fit(images, targets).n_images_in_ == 3


def test_the_export_says_why_it_refuses(fitted, tmp_path):
    with pytest.raises(ExportError, match="ObjectDetector cannot be exported: it runs the backbone at several sizes"):
        to_onnx(fitted, tmp_path / "d.onnx", samples=scenes(1)[0] * 200)


def test_batch_scoring_writes_boxes_as_lists(fitted, tmp_path):
    pq = pytest.importorskip("pyarrow.parquet")
    images, _ = scenes(3, first=100)
    blank = np.full_like(images[0], 255)
    score(fitted, [*images, blank, blank], tmp_path, rows_per_part=3, progress=False)  # the last part has no box
    parts = [pq.read_table(path) for path in sorted(tmp_path.glob("part-*"))]
    assert parts[0].schema == parts[1].schema
    rows = [row for part in parts for row in part.to_pylist()]
    for row, found in zip(rows, fitted.predict([*images, blank, blank]), strict=True):
        assert np.allclose(np.reshape(row["prediction_boxes"], (-1, 4)), found["boxes"], atol=0.2)
        assert row["prediction_labels"] == found["labels"].tolist()


def test_batch_scoring_names_the_image_that_cannot_be_read(fitted, tmp_path):
    pq = pytest.importorskip("pyarrow.parquet")
    images, _ = scenes(2, first=100)
    done = score(fitted, [images[0], b"no image", images[1]], tmp_path, progress=False)
    assert (done.rows, done.failed) == (3, 1)
    (part,) = [pq.read_table(path).to_pylist() for path in tmp_path.glob("part-*")]
    assert "format" in part[1]["error"] or "image" in part[1]["error"]
    assert part[1]["prediction_boxes"] is None
    assert [row["error"] for row in part[::2]] == [None, None]
    assert part[2]["prediction_labels"] == fitted.predict(images[1:])[0]["labels"].tolist()
    assert fitted.on_error == "raise"  # a copy was told to go on


def test_fruit_is_found(shared):
    """Fifty photographs, as the guide says; the figures of all are in tests/bench."""
    from skltransfer.detection import read_coco

    paths, targets, _ = read_coco(shared / "data" / "detection_fruit" / "annotations.json")
    train = [i for i, path in enumerate(paths) if "/train/" in path][::5][:50]
    test = [i for i, path in enumerate(paths) if "/test/" in path]
    detector = ObjectDetector(n_jobs=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)  # a few boxes of a bunch are too small
        detector.fit([paths[i] for i in train], [targets[i] for i in train])
    found = detector.predict([paths[i] for i in test], score_threshold=0)
    assert average_precision([targets[i] for i in test], found, iou=0.5) > 0.6
