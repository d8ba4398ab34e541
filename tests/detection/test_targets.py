"""Targets: what is refused names the image and the row."""

import numpy as np
import pytest
from PIL import Image

from skltransfer.detection import ObjectDetector
from skltransfer.errors import InputWarning, SampleError
from tests.detection.support import QUICK, scenes

IMAGE = np.zeros((100, 200, 3), np.uint8)
GOOD = {"boxes": [[10, 10, 60, 60]], "labels": ["a"]}


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ({"boxes": [[0, 0, 9, 9], [5, 5, 5, 9]], "labels": ["a", "b"]}, r"targets\[1\]\['boxes'\]\[1\] .* no area"),
        ({"boxes": [[0, 0, 9, np.nan]], "labels": ["a"]}, r"targets\[1\]\['boxes'\]\[0\]"),
        ({"boxes": [[0, 0, 9, 9]], "labels": []}, r"targets\[1\] has 1 boxes and 0 labels"),
        ({"boxes": [[0, 0, 9, 9]], "labels": [None]}, r"targets\[1\]\['labels'\]\[0\] is None"),
        ({"boxes": [0, 0, 9, 9], "labels": ["a"]}, r"has shape \(4,\); give \(n, 4\)"),
        ({"boxes": [[0, 0, 9, 9]]}, r"targets\[1\] has no 'labels'"),
        ([[0, 0, 9, 9]], r"targets\[1\] is a list"),
        ({**GOOD, "iscrowd": [0, 1]}, r"1 boxes and 2 values of 'iscrowd'"),
        ({"boxes": [[0, 0, 9, 9], [150, 50, 202, 90]], "labels": ["a", "a"]}, r"boxes\[1\] of image 1 .* 200 x 100"),
        ({**GOOD, "size": (100, 200)}, r"image 1 is 200 x 100 pixels.*of 100 x 200.*EXIF"),
        ({**GOOD, "size": (640, 480)}, r"image 1 is 200 x 100 pixels.*of 640 x 480"),
    ],
)
def test_a_wrong_target_is_named(target, message):
    with pytest.raises(ValueError, match=message):
        ObjectDetector(n_jobs=1).fit([IMAGE, IMAGE], [GOOD, target])


def test_wrong_targets_name_the_file(tmp_path):
    Image.fromarray(IMAGE).save(tmp_path / "x.png")
    with pytest.raises(ValueError, match=r"boxes\[0\] of image 0 \('.*x.png'\)"):
        ObjectDetector(n_jobs=1).fit([tmp_path / "x.png"], [{"boxes": [[0, 0, 300, 50]], "labels": ["a"]}])


def test_a_box_of_xywh_taken_for_xyxy_is_told_of_formats():
    with pytest.raises(ValueError, match="pass box_format='xywh'"):
        ObjectDetector(n_jobs=1).fit([IMAGE], [{"boxes": [[80, 30, 50, 50]], "labels": ["a"]}])


@pytest.mark.parametrize("targets", [GOOD, 3])
def test_what_is_no_list_of_targets_is_refused(targets):
    with pytest.raises(ValueError, match="give a list with one dict an image"):
        ObjectDetector(n_jobs=1).fit([IMAGE], targets)


def test_without_a_single_box_there_is_nothing_to_learn():
    with pytest.raises(ValueError, match="No image has a box to learn from"):
        ObjectDetector(n_jobs=1).fit([IMAGE], [{"boxes": [], "labels": []}])


def test_labels_of_several_types_have_no_order():
    with pytest.raises(ValueError, match=r"several types \(int, str\)"):
        ObjectDetector(n_jobs=1).fit([IMAGE, IMAGE], [GOOD, {"boxes": [[0, 0, 50, 50]], "labels": [1]}])


def test_as_many_targets_as_images():
    with pytest.raises(ValueError, match="X has 2 images and y has 1 targets"):
        ObjectDetector(n_jobs=1).fit([IMAGE, IMAGE], [GOOD])


def test_an_image_that_cannot_be_read_is_named():
    with pytest.raises(SampleError, match="sample 1"):
        ObjectDetector(n_jobs=1).fit([IMAGE, b"no image"], [GOOD, GOOD])


def test_components_are_one_for_each_layer():
    with pytest.raises(ValueError, match=r"components=\(8, 8\) has 2 numbers, and 3 layers"):
        ObjectDetector(components=(8, 8), n_jobs=1).fit([IMAGE], [GOOD])


def test_boxes_that_no_scale_fits_are_warned_of_and_listed():
    images, targets = scenes(3)
    targets[1]["boxes"][0] = [0, 0, 3, 3]
    with pytest.warns(InputWarning, match=r"1 boxes are too small .* the first is boxes\[0\] of image 1"):
        detector = ObjectDetector(scales=(320,), **QUICK).fit(images, targets)
    assert detector.unreachable_.tolist() == [[1, 0]]


def test_scales_that_fit_nothing_are_an_error():
    with (
        pytest.warns(InputWarning, match="too small or too large"),
        pytest.raises(ValueError, match="No box has a size that a scale fits"),
    ):
        ObjectDetector(scales=(800,), n_jobs=1).fit([IMAGE], [{"boxes": [[0, 0, 200, 100]], "labels": ["a"]}])
