"""``skltransfer detect``: from annotations to a detector, boxes, pictures and figures."""

import json

import pytest
from PIL import Image

from skltransfer import cli
from skltransfer.detection import write_coco
from tests.cli.support import lines
from tests.detection.support import scenes


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Ten scenes with annotations, and a detector that learned from them."""
    pytest.importorskip("skops")
    root = tmp_path_factory.mktemp("detect")
    (root / "images").mkdir()
    images, targets = scenes(10)
    paths = [root / "images" / f"{number}.png" for number in range(10)]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image).save(path)
    write_coco(root / "all.json", paths, targets)
    assert cli.main(["detect", "train", str(root / "all.json"), "--output", str(root / "d.skops")]) == 0
    return root


def test_train_says_what_was_learned(folder, capsys):
    command = ["detect", "train", f"{folder}/all.json", "--output", f"{folder}/e.skops", "--no-mirror"]
    assert cli.main(command) == 0
    assert lines(capsys)[0].startswith("10 images, 2 classes, scales (")


def test_predict_writes_boxes_and_pictures(folder, tmp_path, capsys):
    command = ["detect", "predict", f"{folder}/d.skops", f"{folder}/images", "--output", f"{tmp_path}/found.json"]
    assert cli.main([*command, "--pictures", str(tmp_path), "--threshold", "0.3"]) == 0
    written = json.loads((tmp_path / "found.json").read_text())
    assert len(written["images"]) == len(list(tmp_path.glob("*.jpg"))) == 10
    assert lines(capsys)[-1].startswith(f"{len(written['annotations'])} objects in 10 images")


def test_evaluate_prints_a_row_for_each_class(folder, capsys):
    assert cli.main(["detect", "evaluate", f"{folder}/d.skops", f"{folder}/all.json"]) == 0
    assert [line.split()[0].strip("-") for line in lines(capsys)] == ["class", "", "face", "food", "mean"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate", "{0}/d.skops", "{0}/images"], "pass --images FOLDER"),
        (
            ["predict", "{0}/d.skops", "{0}/images", "--output", "{0}/f.json", "--pictures", "{0}/no"],
            "create it with mkdir",
        ),
        (["predict", "{0}/all.json", "{0}/images", "--output", "{0}/f.json"], "skltransfer: "),
    ],
)
def test_mistakes_are_one_line(folder, capsys, arguments, message):
    assert cli.main(["detect", *(part.format(folder) for part in arguments)]) == 2
    assert message in capsys.readouterr().err
