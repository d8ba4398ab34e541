"""The first stage and its scales: classes count the same, however many boxes they have."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from skltransfer.detection import _cells, _images, _maps
from skltransfer.detection._gram import Gram, ridge
from skltransfer.detection._pyramid import choose_scales


def scene(boxes, codes):
    """Return a scene of 320 x 320 pixels at one level, whose maps are empty."""
    level = _maps.Level(np.zeros(400, np.float16), [(20, 20, 1)], _images.placement((320, 320), 320))
    return _cells.Scene((level,), np.array(boxes, float), np.array(codes), 0)


def test_weights_make_a_small_and_rare_class_count_as_much_as_others():
    crowd = [[left, top, left + 75, top + 75] for left in (0, 80, 160) for top in (0, 80, 160)]
    scenes = [scene([*crowd, [250, 250, 300, 300]], [0] * 9 + [1])]
    weights = _cells.class_weights(scenes, 2, 96.0)
    codes = _cells.assign(scenes[0], scenes[0].levels[0], 96.0, 2)[0]
    counts = np.bincount(codes[(codes >= 0) & (codes < 2)])
    assert counts[0] > 9 * counts[1] > 0
    assert weights * counts == pytest.approx([counts.sum() / 2] * 2)


def test_a_class_that_no_level_fits_takes_no_weight_from_others():
    assert _cells.class_weights([scene([[0, 0, 80, 80], [200, 200, 203, 203]], [0, 1])], 2, 96.0)[0] == 1


def test_a_ridge_of_weighted_sums_is_that_of_weighted_rows():
    random = np.random.default_rng(0)
    rows, weights = random.normal(3, 2, (60, 5)), random.uniform(0.2, 3, 60)
    wanted = rows[:, :2] + random.normal(size=(60, 2))
    gram = Gram(5, 2)
    for part in np.split(np.arange(60), 3):
        gram.add(rows[part], wanted[part], weights[part])
    total, sums = gram.total()
    found = ridge([(1.0, sums)], alpha=7.0)
    mean = np.average(rows, axis=0, weights=weights)
    scaled = (rows - mean) / np.sqrt(np.average((rows - mean) ** 2, axis=0, weights=weights))
    expected = Ridge(alpha=7.0).fit(scaled, wanted, sample_weight=weights).predict(scaled)
    assert total == pytest.approx(weights.sum(), rel=1e-5)
    assert np.abs(rows @ found[:-1] + found[-1] - expected).max() < 1e-3


def test_scales_reach_the_small_class_of_few_boxes():
    large, small = [0.2] * 95, [0.05] * 5
    assert choose_scales([large + small], 96.0)[-1] < 700  # as one class the small ones are outliers
    assert choose_scales([large, small], 96.0) == (640, 1024)


def test_one_size_needs_one_scale():
    assert len(choose_scales([[0.3] * 10], 96.0)) == 1
