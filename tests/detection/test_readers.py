"""Readers and writers of annotations: COCO, Pascal VOC, YOLO; pictures; detectors as files."""

import json

import numpy as np
import pytest
from PIL import Image

from skltransfer.detection import (
    draw_boxes,
    load_detector,
    read_coco,
    read_voc,
    read_yolo,
    save_detector,
    write_coco,
)
from skltransfer.errors import FolderError, TableError
from tests.detection.support import scenes

VOC = """<annotation><filename>x.jpg</filename><size><width>40</width><height>20</height></size>
<object><name>cat</name><difficult>1</difficult>
<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>40</xmax><ymax>20</ymax></bndbox></object></annotation>"""


@pytest.fixture
def photos(tmp_path):
    """Two images, 40 x 20 pixels, in a folder."""
    (tmp_path / "images").mkdir()
    for name in ("a", "b"):
        Image.new("RGB", (40, 20), "white").save(tmp_path / "images" / f"{name}.png")
    return tmp_path


def coco(**changes):
    return {
        "images": [{"id": 7, "file_name": "images/a.png", "width": 40, "height": 20}, {"id": 9, "file_name": "b.png"}],
        "annotations": [{"id": 1, "image_id": 7, "category_id": 3, "bbox": [1, 2, 10, 5], "iscrowd": 1}],
        "categories": [{"id": 3, "name": "cat"}, {"id": 4, "name": "dog"}],
        **changes,
    }


def test_coco_is_read_with_images_that_have_no_box(tmp_path):
    (tmp_path / "x.json").write_text(json.dumps(coco()))
    paths, targets, classes = read_coco(tmp_path / "x.json")
    assert paths == [str(tmp_path / "images/a.png"), str(tmp_path / "b.png")]
    assert targets[0]["boxes"].tolist() == [[1, 2, 11, 7]]
    assert (targets[0]["labels"], targets[0]["iscrowd"].tolist(), targets[0]["size"]) == (["cat"], [True], (40, 20))
    assert targets[1]["boxes"].shape == (0, 4)
    assert classes == ["cat", "dog"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is no JSON file"),
        ("[1]", "no file of COCO annotations"),
        (json.dumps(coco(categories=[])), "lacks 3"),
        (json.dumps({"images": []}), "lacks 'categories'"),
        (json.dumps(coco(images=[])), "annotates an image 7, which it does not list"),
    ],
)
def test_what_is_no_coco_file_is_named(tmp_path, content, message):
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(TableError, match=message):
        read_coco(tmp_path / "x.json")


def test_voc_begins_with_one_and_ends_inside(photos):
    (photos / "xml").mkdir()
    (photos / "xml" / "a.xml").write_text(VOC)
    paths, targets, classes = read_voc(photos / "xml", photos / "images")
    assert targets[0]["boxes"].tolist() == [[0, 0, 40, 20]]
    assert targets[0]["difficult"].tolist() == [True]
    assert (paths, classes, targets[0]["size"]) == ([str(photos / "images/a.png")], ["cat"], (40, 20))


def test_voc_names_what_is_missing(photos):
    (photos / "xml").mkdir()
    with pytest.raises(FolderError, match=r"no \.xml file"):
        read_voc(photos / "xml", photos / "images")
    (photos / "xml" / "a.xml").write_text(VOC.replace("ymax", "why"))
    with pytest.raises(TableError, match=r"a.xml' .*an object has no bndbox/ymax"):
        read_voc(photos / "xml", photos / "images")
    (photos / "xml" / "z.xml").write_text(VOC)
    (photos / "xml" / "a.xml").unlink()
    with pytest.raises(FolderError, match="has no image 'z'"):
        read_voc(photos / "xml", photos / "images")


def test_yolo_is_in_shares_and_images_may_have_no_file(photos):
    (photos / "labels").mkdir()
    (photos / "labels" / "b.txt").write_text("1 0.5 0.5 0.5 1\n\n")
    _, targets, classes = read_yolo(photos / "images", photos / "labels", ["cat", "dog"])
    assert targets[0]["boxes"].shape == (0, 4)
    assert targets[1]["boxes"].tolist() == [[10, 0, 30, 20]]
    assert (targets[1]["labels"], classes) == (["dog"], ["cat", "dog"])
    (photos / "names.txt").write_text("cat\ndog\n")
    assert read_yolo(photos / "images", photos / "labels", photos / "names.txt").classes == classes
    assert read_yolo(photos / "images", photos / "labels").classes == [1]


@pytest.mark.parametrize("line", ["2 0.5 0.5 1 1", "0 0.5 0.5 1", "0 a b c d", "cat 0.5 0.5 1 1"])
def test_a_wrong_line_is_named(photos, line):
    (photos / "labels").mkdir()
    (photos / "labels" / "b.txt").write_text(f"0 0.5 0.5 1 1\n{line}\n")
    with pytest.raises(TableError, match=r"b.txt', line 2: "):
        read_yolo(photos / "images", photos / "labels", ["cat", "dog"])


def test_labels_without_an_image_are_named(photos):
    (photos / "labels").mkdir()
    (photos / "labels" / "c.txt").write_text("")
    with pytest.raises(FolderError, match=r"no image for '.*c.txt'"):
        read_yolo(photos / "images", photos / "labels")


def test_what_is_written_is_read_again(photos):
    paths = [photos / "images" / "a.png", photos / "images" / "b.png"]
    found = [
        {"boxes": np.array([[1.5, 2, 11, 7]]), "labels": np.array(["cat"]), "scores": np.array([0.75])},
        {"boxes": np.zeros((0, 4)), "labels": np.array([], str), "scores": np.zeros(0)},
    ]
    file = write_coco(photos / "found.json", paths, found)
    read, targets, classes = read_coco(file)
    assert read == [str(path) for path in paths]
    assert targets[0]["boxes"].tolist() == [[1.5, 2, 11, 7]]
    assert classes == ["cat"]
    assert json.loads(file.read_text())["annotations"][0]["score"] == 0.75
    assert [path.name for path in photos.glob("found*")] == ["found.json"]  # nothing temporary is left


def test_boxes_are_drawn_in_the_picture_s_own_size(photos):
    image, found = np.full((80, 120, 3), 255, np.uint8), {"boxes": [[20, 30, 90, 70]], "labels": ["ä"], "scores": [0.5]}
    drawn = draw_boxes(image, found, photos / "drawn.png")
    assert drawn.size == (120, 80)
    assert (np.asarray(Image.open(photos / "drawn.png")) == np.asarray(drawn)).all()
    assert tuple(np.asarray(drawn)[70, 60]) == (0, 114, 178)
    assert (image == 255).all()


def test_a_detector_comes_back_from_its_file(fitted, tmp_path):
    pytest.importorskip("skops")
    images, _ = scenes(1, first=100)
    again = load_detector(save_detector(fitted, tmp_path / "d.skops"))
    assert np.array_equal(again.predict(images)[0]["boxes"], fitted.predict(images)[0]["boxes"])
    assert (tmp_path / "d.skops").stat().st_size < 1_000_000
