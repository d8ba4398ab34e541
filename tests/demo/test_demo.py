"""The demo compares embeddings with raw pixels, on images whose classes are their colors."""

import dataclasses
import sys

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

from skltransfer import PretrainedEmbedder, report, testing
from skltransfer._engine import demo
from skltransfer.errors import CardError, FolderError, MissingDependencyError, UnknownModelError

COLORS = {"blue": (0, 0, 200), "red": (200, 0, 0)}


@pytest.fixture
def model(tmp_path):
    return testing.save_backbone(testing.image_backbone(), tmp_path)


@pytest.fixture
def photos(tmp_path):
    """Eight pictures each of two colors, with noise."""
    rng, folder = np.random.default_rng(0), tmp_path / "photos"
    for name, color in COLORS.items():
        (folder / name).mkdir(parents=True)
        for i in range(8):
            pixels = np.array(color) + rng.integers(0, 50, (9, 12, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{i}.png")
    return folder


@pytest.fixture
def result(photos, model):
    return demo.run(photos, model=model, device="cpu")


# ---------------------------------------------------------------------------------------------------------------------
# Images


def test_a_folder_is_read_in_order_of_class_and_name(photos):
    data = demo.load(photos)
    assert data.names == ("blue", "red")
    assert data.samples == [str(photos / name / f"{i}.png") for name in COLORS for i in range(8)]
    assert data.y.tolist() == [0] * 8 + [1] * 8


def test_files_that_are_no_images_and_hidden_ones_are_left_out(photos):
    for name in ("notes.txt", "._0.png", ".DS_Store"):
        (photos / "red" / name).touch()
    (photos / ".cache").mkdir()
    assert demo.load(photos).counts().tolist() == [8, 8]


@pytest.mark.parametrize("suffix", demo.SUFFIXES)
def test_every_suffix_counts_in_any_case(photos, suffix):
    (photos / "red" / f"new{suffix.upper()}").touch()
    assert demo.load(photos).counts().tolist() == [8, 9]


def test_a_folder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(FolderError, match=r"'.*nowhere' does not exist\. Pass a folder with one subfolder"):
        demo.load(tmp_path / "nowhere")


def test_a_file_is_no_folder(model):
    with pytest.raises(FolderError, match=r"tiny\.onnx' is a file\."):
        demo.load(model)


@pytest.mark.parametrize(("kept", "there"), [((), "none"), (("cat",), "only 'cat'")])
def test_two_classes_are_needed(tmp_path, kept, there):
    for name in kept:
        (tmp_path / name).mkdir()
    with pytest.raises(FolderError, match=f"needs two or more classes, it has {there}"):
        demo.load(tmp_path)


def test_all_classes_with_too_few_images_are_named(photos):
    (photos / "green").mkdir()
    for i in range(4):
        (photos / "red" / f"{i}.png").unlink()
    with pytest.raises(FolderError, match=r"'green' \(0\), 'red' \(4\): each class needs 5"):
        demo.load(photos)


def test_without_a_folder_there_are_emoji():
    assert demo.load().counts().min() >= 85


def test_a_large_folder_is_sampled_evenly(monkeypatch):
    monkeypatch.setattr(demo, "MAX_IMAGES", 8)
    monkeypatch.setattr(demo, "MIN_PER_CLASS", 2)
    data = demo.LabeledImages(list(range(100)), np.repeat([0, 1], [90, 10]), ("a", "b"))
    some = demo._some(data, seed=0)
    assert some.counts().tolist() == [4, 4]
    assert some.samples == sorted(some.samples)


# ---------------------------------------------------------------------------------------------------------------------
# Scores


def test_colors_are_told_apart(result):
    assert result.curves[0].mean[-1] == 1
    assert result.rows.shape == (16, 4)
    assert result.images_per_second > 0


def test_labels_end_with_all_there_are(result):
    assert result.labels == (2, 5, 6)
    assert all(len(curve.mean) == len(curve.std) == 3 for curve in result.curves)


@pytest.mark.parametrize(("baseline", "enough"), [(0.5, 2), (0.65, 5), (0.8, None)])
def test_enough_labels_are_those_that_beat_all_without_embeddings(result, baseline, enough):
    curves = (demo.Curve("a", (0.6, 0.7, 0.8), (0, 0, 0)), demo.Curve("b", (0, 0, baseline), (0, 0, 0)))
    assert dataclasses.replace(result, curves=curves).enough == enough


def test_the_same_seed_gives_the_same_scores(photos, model, result):
    again = demo.run(photos, model=model, device="cpu")
    assert again.curves == result.curves


def test_scores_are_those_of_the_whole_pipeline(result, model):
    splits = list(demo._splits(result.data.y, 2, seed=0))
    pipeline = make_pipeline(PretrainedEmbedder(model, device="cpu"), LogisticRegression(max_iter=1000))
    scores = cross_val_score(pipeline, result.data.samples, result.data.y, cv=splits)
    assert scores.mean() == pytest.approx(result.curves[0].mean[0])


def test_training_parts_hold_few_labels_and_test_parts_everything_else():
    y = np.repeat([0, 1, 2], 10)
    for train, test in demo._splits(y, 3, seed=0):
        assert np.bincount(y[train]).tolist() == [3, 3, 3]
        assert np.bincount(y[test]).tolist() == [2, 2, 2]
        assert not set(train) & set(test)


def test_images_that_cannot_be_read_are_left_out_and_named(photos, model):
    (photos / "blue" / "3.png").write_bytes(b"<html>")
    result = demo.run(photos, model=model, device="cpu")
    assert [failure.path for failure in result.dropped] == [str(photos / "blue" / "3.png")]
    assert result.data.counts().tolist() == [7, 8]
    assert (len(result.rows), result.found) == (15, 16)


def test_too_few_readable_images_are_refused_with_the_reason(photos, model):
    for i in range(4):
        (photos / "blue" / f"{i}.png").write_bytes(b"")
    with pytest.raises(FolderError, match=r"'blue' \(4\).* 4 cannot be read, the first is sample 0 .*0\.png"):
        demo.run(photos, model=model, device="cpu")


def test_a_missing_model_is_named_before_the_folder_is_read():
    with pytest.raises(UnknownModelError, match="no-such-model"):
        demo.run("no-such-folder", model="no-such-model")


def test_a_backbone_of_numbers_is_refused(photos, tmp_path):
    with pytest.raises(CardError, match="needs an image backbone; 'numbers' takes samples of modality 'array'"):
        demo.run(photos, model=testing.save_backbone(testing.array_backbone(), tmp_path, "numbers"))


# ---------------------------------------------------------------------------------------------------------------------
# Pictures


def test_the_picture_is_written_without_pyplot_and_the_same_every_time(result, tmp_path, monkeypatch):
    matplotlib = pytest.importorskip("matplotlib")
    settings = dict.copy(matplotlib.rcParams)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    pictures = [tmp_path / "a.png", tmp_path / "b.png"]
    for path in pictures:
        report.learning_curves_and_map(result, path)
    assert dict.copy(matplotlib.rcParams) == settings
    assert pictures[0].read_bytes() == pictures[1].read_bytes()
    with Image.open(pictures[0]) as image:
        assert image.width > 1000


def test_without_matplotlib_the_extra_is_named(result, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.style", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'skltransfer\[plot\]'"):
        report.learning_curves_and_map(result, tmp_path / "a.png")


@pytest.mark.parametrize("shape", [(2, 1), (5, 3), (12, 100)])
def test_a_map_lies_between_0_and_1(shape):
    rows = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    places = report.flat_map(rows)
    assert places.shape == (shape[0], 2)
    assert (places.min(), places.max()) == (0, 1)


def test_thumbnails_are_spread_out():
    places = np.random.default_rng(0).random((500, 2))
    chosen = places[report.spread(places, 60, 0.1)]
    apart = np.abs(chosen[:, None] - chosen[None]).max(axis=2) + np.eye(len(chosen))
    assert 30 < len(chosen) <= 60
    assert apart.min() >= 0.1


def test_labels_of_curves_do_not_cover_each_other():
    assert report.push_apart([50, 20, 48], 10) == [58, 20, 48]


@pytest.mark.parametrize("count", [2, 10, 15, 40])
def test_every_class_has_its_color(count):
    pytest.importorskip("matplotlib")
    assert len({tuple(color) for color in report.class_colors(count)}) == count


def test_tables_are_lined_up():
    text = report.table([("a", 10), ("long", 2)], ("name", "n"))
    assert text.splitlines() == ["name  n", "----  --", "a     10", "long  2"]
    assert report.table([]) == ""
