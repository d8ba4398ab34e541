"""Average precision: by hand, and equal to pycocotools on random data with ties, crowds and empty images."""

import contextlib
import io
import pickle

import numpy as np
import pytest

from skltransfer.detection import average_precision, detection_scorer

ONE = [{"boxes": [[0, 0, 10, 10]], "labels": ["cat"]}]


def found(*boxes, scores, labels=None):
    return [{"boxes": list(boxes), "labels": labels or ["cat"] * len(boxes), "scores": list(scores)}]


def test_a_box_in_its_place_is_all_there_is():
    assert average_precision(ONE, found([0, 0, 10, 10], scores=[0.1])) == pytest.approx(1)


def test_a_false_alarm_before_the_object_halves_it():
    assert average_precision(ONE, found([20, 0, 30, 10], [0, 0, 10, 10], scores=[0.9, 0.5])) == pytest.approx(0.5)


def test_a_second_box_of_the_same_object_is_a_false_alarm():
    targets = [{"boxes": [[0, 0, 10, 10], [20, 0, 30, 10]], "labels": ["cat", "cat"]}]
    boxes = ([0, 0, 10, 10], [0, 0, 10, 10], [20, 0, 30, 10])
    expected = (51 + 50 * 2 / 3) / 101
    assert average_precision(targets, found(*boxes, scores=[0.9, 0.8, 0.7]), iou=0.5) == pytest.approx(expected)


def test_the_overlap_decides():
    seen = found([0, 0, 10, 8], scores=[1])
    assert [average_precision(ONE, seen, iou=iou) for iou in (0.79, 0.81)] == pytest.approx([1, 0])
    assert average_precision(ONE, seen) == pytest.approx(0.7)


def test_difficult_objects_count_neither_way():
    targets = [{"boxes": [[0, 0, 10, 10], [20, 0, 30, 10]], "labels": ["cat"] * 2, "difficult": [False, True]}]
    assert average_precision(targets, found([20, 0, 30, 10], [0, 0, 10, 10], scores=[0.9, 0.5])) == pytest.approx(1)
    assert average_precision(targets, found([0, 0, 10, 10], scores=[0.5])) == pytest.approx(1)


def test_a_class_that_no_image_has_does_not_count():
    seen = found([0, 0, 10, 10], [0, 0, 5, 5], scores=[0.5, 0.9], labels=["cat", "dog"])
    assert average_precision(ONE, seen) == pytest.approx(1)


def test_classes_may_be_had_apart():
    targets = [{"boxes": [[0, 0, 10, 10], [20, 0, 30, 10]], "labels": ["cat", "dog"]}]
    assert average_precision(targets, found([0, 0, 10, 10], scores=[1]), per_class=True) == pytest.approx(
        {"cat": 1, "dog": 0}
    )


def test_without_objects_there_is_nothing_to_compute():
    assert np.isnan(average_precision([{"boxes": [], "labels": []}], found(scores=[])))


def test_boxes_without_area_are_refused_with_their_place():
    with pytest.raises(ValueError, match=r"found\[0\]\['boxes'\]\[1\] is \[5.0, 5.0, 5.0, 9.0\].*no area"):
        average_precision(ONE, found([0, 0, 1, 1], [5, 5, 5, 9], scores=[1, 1]))


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="targets has 1 images and found has 2"):
        average_precision(ONE, found(scores=[]) * 2)


def test_scorers_can_be_pickled_and_unknown_ones_are_refused():
    assert pickle.loads(pickle.dumps(detection_scorer("ap75"))).keywords == {"iou": (0.75,)}
    with pytest.raises(ValueError, match="metric is 'f1'; give one of 'map'"):
        detection_scorer("f1")


def random_boxes(random, n, integer):
    start, side = random.uniform(0, 300, (n, 2)), random.uniform(20, 150, (n, 2))
    boxes = np.hstack([start, start + side])
    return np.round(boxes / 10) * 10 + [0, 0, 10, 10] if integer else boxes


def random_images(seed):
    """Targets with crowds and empty images, and detections near them with tied scores."""
    random, integer = np.random.default_rng(seed), seed % 2
    targets, seen = [], []
    for _ in range(12):
        boxes = random_boxes(random, random.integers(0, 7), integer)
        labels, crowd = random.integers(1, 4, len(boxes)), random.random(len(boxes)) < 0.15
        targets.append({"boxes": boxes, "labels": labels, "iscrowd": crowd})
        guesses = random_boxes(random, random.integers(0, 15), integer)
        if len(boxes):
            near = random.random(len(guesses)) < 0.7
            shift = random.integers(-1, 2, (near.sum(), 4)) * [10.0, 10, 0, 0]
            guesses[near] = boxes[random.integers(0, len(boxes), near.sum())]
            guesses[near] += shift if integer else random.normal(0, 6, shift.shape)
        guesses = guesses[(guesses[:, 2:] > guesses[:, :2]).all(axis=1)]
        scores = random.integers(0, 8, len(guesses)) / 8
        seen.append({"boxes": guesses, "labels": random.integers(1, 4, len(guesses)), "scores": scores})
    return targets, seen


def _rows(images):
    return [
        {"image_id": image, "category_id": int(label), "bbox": [x, y, right - x, bottom - y]}
        for image, one in enumerate(images, 1)
        for (x, y, right, bottom), label in zip(one["boxes"].tolist(), one["labels"], strict=True)
    ]


def of_pycocotools(targets, seen):
    coco = pytest.importorskip("pycocotools.coco")
    evaluation = pytest.importorskip("pycocotools.cocoeval")
    rows = [
        {**row, "iscrowd": int(crowd), "id": number, "area": row["bbox"][2] * row["bbox"][3]}
        for number, (row, crowd) in enumerate(
            zip(_rows(targets), np.concatenate([one["iscrowd"] for one in targets]), strict=True), 1
        )
    ]
    scores = np.concatenate([one["scores"] for one in seen]).tolist()
    guesses = [{**row, "score": score} for row, score in zip(_rows(seen), scores, strict=True)]
    images = [{"id": i} for i in range(1, len(targets) + 1)]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco.COCO()
        truth.dataset = {
            "info": {},
            "images": images,
            "annotations": rows,
            "categories": [{"id": k} for k in (1, 2, 3)],
        }
        truth.createIndex()
        evaluated = evaluation.COCOeval(truth, truth.loadRes(guesses), "bbox")
        evaluated.evaluate()
        evaluated.accumulate()
        evaluated.summarize()
    return evaluated.stats[:3]


@pytest.mark.parametrize("seed", range(20))
def test_equal_to_pycocotools(seed):
    targets, seen = random_images(seed)
    ours = [average_precision(targets, seen, iou=iou) for iou in (None, 0.5, 0.75)]
    assert np.abs(of_pycocotools(targets, seen) - ours).max() < 1e-12
