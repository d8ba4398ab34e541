"""Boxes: formats, overlap, suppression, offsets, pooling."""

import numpy as np
import pytest

from skltransfer.detection import _boxes

SOME = np.array([[0.0, 0, 10, 10], [5, 5, 15, 15], [0, 0, 10, 9], [100, 100, 120, 140]])


@pytest.mark.parametrize("kind", _boxes.FORMATS)
def test_formats_come_back(kind):
    assert np.allclose(_boxes.to_xyxy(_boxes.from_xyxy(SOME, kind), kind), SOME)


def test_iou_is_what_a_person_computes():
    assert np.allclose(_boxes.iou(SOME[:1], SOME)[0], [1, 25 / 175, 0.9, 0])


def test_covered_is_a_share_of_the_first():
    assert np.allclose(_boxes.covered(SOME[2:3], SOME[:2])[0], [1, 20 / 90])


def test_nms_keeps_the_best_and_what_is_apart():
    assert _boxes.nms(SOME, np.array([0.5, 0.4, 0.9, 0.1]), 0.5).tolist() == [2, 1, 3]


def test_nms_of_groups_keeps_the_best_of_each():
    kept = _boxes.nms(SOME, np.array([0.5, 0.4, 0.9, 0.1]), 0.5, np.array([0, 0, 1, 0]))
    assert kept.tolist() == [2, 0, 1, 3]


def test_nms_of_nothing_is_nothing():
    assert _boxes.nms(np.zeros((0, 4)), np.zeros(0), 0.5).tolist() == []


def test_offsets_move_boxes_to_the_wanted_ones():
    wanted = SOME + np.array([1.0, 2, 3, 5])
    assert np.allclose(_boxes.moved(SOME, _boxes.offsets(SOME, wanted)), wanted)


def test_mirroring_twice_changes_nothing():
    assert np.allclose(_boxes.mirrored(_boxes.mirrored(SOME, 150), 150), SOME)


def test_pooling_equals_the_mean_over_finely_sampled_places():
    random = np.random.default_rng(0)
    grid = random.normal(size=(7, 9, 3)).astype(np.float32)
    boxes = np.array([[0.3, 1.2, 6.9, 5.5], [2.0, 2.0, 4.0, 5.0]])
    fine = np.repeat(np.repeat(grid, 100, axis=0), 100, axis=1)
    expected = [fine[y:bottom, x:right] for x, y, right, bottom in np.round(boxes * 100).astype(int)]
    found = _boxes.pooled(_boxes.integral(grid), boxes, 1)[:, 0]
    assert np.allclose(found, [part.mean(axis=(0, 1)) for part in expected], atol=1e-4)


def test_bins_average_to_the_whole():
    grid = np.random.default_rng(1).normal(size=(8, 8, 4)).astype(np.float32)
    summed, box = _boxes.integral(grid), np.array([[1.0, 1.5, 7.0, 6.0]])
    assert np.allclose(_boxes.pooled(summed, box, 3).mean(axis=1), _boxes.pooled(summed, box, 1)[:, 0], atol=1e-5)


def test_what_lies_outside_of_a_map_does_not_count():
    grid = np.ones((4, 4, 2), np.float32)
    found = _boxes.pooled(_boxes.integral(grid), np.array([[-4.0, -4, 2, 2], [5, 5, 9, 9]]), 1)
    assert found[:, 0].tolist() == [[1, 1], [0, 0]]
