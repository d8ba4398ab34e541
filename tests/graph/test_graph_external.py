"""External data: a file outside the manifest is never opened."""

import json
import sys

import numpy as np
import pytest

from skltransfer import PretrainedEmbedder, testing
from skltransfer._engine import graph
from skltransfer.cards import ArraySpec
from skltransfer.errors import ModelError, UnsafeModelError
from tests import hostile_graphs
from tests.graph.support import NUMBERS, rows


@pytest.fixture
def canary(tmp_path):
    """A file outside the model's folder that must never be opened, whatever a graph says."""
    path = tmp_path / "canary.bin"
    path.write_bytes(hostile_graphs.CANARY.tobytes())
    (tmp_path / "model").mkdir()
    return path


OPENED: list[str] = []
sys.addaudithook(lambda event, arguments: OPENED.append(str(arguments[0])) if event == "open" else None)


@pytest.fixture
def opened():
    """Return what was opened while a test runs, by whomever, besides the graph itself."""
    OPENED.clear()
    return lambda: [path for path in OPENED if path.endswith(".bin")]


#: What a graph may write to reach a file beside its folder; the second names are planted in the folder.
LOCATIONS = {
    "parent": lambda folder: "../canary.bin",
    "absolute": lambda folder: str(folder.parent / "canary.bin"),
    "round about": lambda folder: "x/../../canary.bin",
    "link": lambda folder: (folder / "link.bin").symlink_to(folder.parent / "canary.bin") or "link.bin",
    "link to a folder": lambda folder: (folder / "up").symlink_to(folder.parent) or "up/canary.bin",
}


def load_external(folder, location, place, manifest, **more):
    model = hostile_graphs.external(hostile_graphs.outside(location, **more), place)
    path = testing.save_backbone(model, folder, pin=False)
    return graph.load(path, manifest)


@pytest.mark.parametrize("listed", [False, True], ids=["unlisted", "listed"])
@pytest.mark.parametrize("place", hostile_graphs.PLACES)
@pytest.mark.parametrize("way", LOCATIONS)
def test_file_outside_the_folder_is_never_opened(canary, opened, way, place, listed):
    folder = canary.parent / "model"
    location = LOCATIONS[way](folder)
    with pytest.raises(UnsafeModelError, match=r"card does not list|leads outside|a link that leads out"):
        load_external(folder, location, place, [location] if listed else ["weights.bin"])
    assert opened() == []


CARD = {"schema": 2, "name": "linked", "modality": "array", "layer": "rows"}


def test_external_data_in_a_cache_of_the_hub_are_read(tmp_path):
    snapshot, blobs = tmp_path / "models--a--b" / "snapshots" / "0", tmp_path / "models--a--b" / "blobs"
    snapshot.mkdir(parents=True), blobs.mkdir()
    testing.save_backbone(hostile_graphs.external(hostile_graphs.outside("w.bin")), snapshot, "model", pin=False)
    (snapshot / "w.bin").write_bytes(np.array([3, 5], np.float32).tobytes())
    files = {"model": {"path": "model.onnx"}, "w.bin": {"path": "w.bin"}}
    (snapshot / "card.json").write_text(json.dumps({**CARD, "files": files}))
    for name in ("model.onnx", "w.bin"):
        (snapshot / name).rename(blobs / name)
        (snapshot / name).symlink_to(blobs / name)
    got = PretrainedEmbedder(str(snapshot), cache=None).transform(NUMBERS[:, :2])
    np.testing.assert_allclose(got, NUMBERS[:, :2] * [3, 5], rtol=1e-6)


@pytest.mark.parametrize("place", hostile_graphs.PLACES)
def test_file_in_the_folder_is_opened_only_if_listed(canary, opened, place):
    folder = canary.parent / "model"
    (folder / "secret.bin").write_bytes(canary.read_bytes())
    OPENED.clear()
    with pytest.raises(
        UnsafeModelError, match=r"weights in 'secret.bin', which its card does not list \(it lists w.bin\)"
    ):
        load_external(folder, "secret.bin", place, ["w.bin"])
    assert opened() == []


@pytest.mark.parametrize("place", hostile_graphs.PLACES)
def test_second_location_of_a_tensor_does_not_slip_through(canary, opened, place):
    folder = canary.parent / "model"
    for name in ("w.bin", "secret.bin"):
        (folder / name).write_bytes(canary.read_bytes())
    OPENED.clear()
    with pytest.raises(UnsafeModelError, match=r"weights in 'secret.bin', which its card does not list"):
        load_external(folder, "w.bin", place, ["w.bin"], more=[("location", "secret.bin")])
    assert opened() == []


@pytest.mark.parametrize("place", hostile_graphs.PLACES)
def test_listed_file_is_taken_in_so_that_the_runtime_opens_none(canary, place):
    folder = canary.parent / "model"
    (folder / "w.bin").write_bytes(np.array([3, 5], np.float32).tobytes())
    model = load_external(folder, "w.bin", place, ["w.bin"])
    assert b"w.bin" not in model.SerializeToString()
    got = rows(model, NUMBERS[:, :2].copy(), ["rows"], ArraySpec())
    np.testing.assert_allclose(got, NUMBERS[:, :2] * ([2, 2] if place == "training" else [3, 5]), rtol=1e-6)


def test_listed_file_in_a_folder_below_is_taken_in(canary):
    folder = canary.parent / "model"
    (folder / "data").mkdir()
    (folder / "data" / "w.bin").write_bytes(np.array([3, 5], np.float32).tobytes())
    model = load_external(folder, "data/w.bin", "initializer", ["data/w.bin"])
    np.testing.assert_allclose(rows(model, NUMBERS[:, :2].copy(), ["rows"], ArraySpec())[0], NUMBERS[0, :2] * [3, 5])


@pytest.mark.parametrize(
    "keys", [{"offset": "99"}, {"length": "99"}, {"offset": "-1"}, {"length": "-1"}, {"offset": "x"}]
)
def test_listed_file_of_another_length_is_a_named_error(canary, keys):
    folder = canary.parent / "model"
    (folder / "w.bin").write_bytes(b"\0" * 8)
    tensor = hostile_graphs.outside("w.bin", **keys)
    path = testing.save_backbone(hostile_graphs.external(tensor), folder, pin=False)
    with pytest.raises(ModelError, match=r"'tiny.onnx': the external weights 'w' cannot be read"):
        graph.load(path, ["w.bin"])


def test_external_data_without_a_location_is_refused(canary):
    with pytest.raises(UnsafeModelError, match=r"keeps weights in '', which its card does not list"):
        load_external(canary.parent / "model", "", "initializer", ["w.bin"])


def test_listed_file_that_is_missing_is_a_named_error(canary):
    with pytest.raises(ModelError, match=r"'tiny.onnx': the external weights 'w' cannot be read"):
        load_external(canary.parent / "model", "w.bin", "initializer", ["w.bin"])
