"""Links in a model's folder: followed inside it, never out of it."""

import json
import os
import shutil

import pytest

from skltransfer import cli, load_card, testing
from skltransfer.cards import check_link, find
from skltransfer.errors import UnsafeModelError

SECRET = "TOP-SECRET-TOP-SECRET"

pytestmark = pytest.mark.skipif(os.name != "posix", reason="links as POSIX has them")


@pytest.fixture
def folder(tmp_path):
    """A card folder, and a secret beside it."""
    (tmp_path / "model").mkdir()
    path = testing.save_backbone(testing.image_backbone(), tmp_path / "model", "model", layer="embedding")
    path.with_suffix(".card.json").rename(path.parent / "card.json")
    (tmp_path / "secret").write_text(SECRET)
    return path.parent


def link(folder, name, target="../secret"):
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(target)


@pytest.mark.parametrize("end", ["", "model.onnx"])
@pytest.mark.parametrize("name", ["model.onnx", "card.json", "tokenizer.json", "model.card.json"])
def test_nothing_of_a_link_s_target_is_shown(folder, capsys, name, end):
    link(folder, name)
    for command in ("show", "layers", "verify"):
        cli.main(["models", command, str(folder / end)])
        out, err = capsys.readouterr()
        assert SECRET[:4] not in out + err


USED = [("model.onnx", ""), ("card.json", "")]
USED += [(name, "model.onnx") for name in ("model.onnx", "tokenizer.json", "model.card.json")]


@pytest.mark.parametrize(("name", "end"), USED)
def test_link_out_of_the_folder_is_refused(folder, name, end):
    link(folder, name)
    with pytest.raises(
        UnsafeModelError, match=r"is a link that leads out of its folder, to '.*secret'.* copy in its place: cp"
    ):
        find(str(folder / end))


def test_external_data_that_is_a_link_out_of_the_folder_is_refused(folder):
    link(folder, "weights")
    card = json.loads((folder / "card.json").read_text())
    card["files"]["weights"] = {"path": "weights"}
    (folder / "card.json").write_text(json.dumps(card))
    with pytest.raises(UnsafeModelError, match=r"weights' is a link that leads out .* cp --remove-destination"):
        find(str(folder))


def test_links_that_lead_to_each_other_are_refused(folder):
    link(folder, "model.onnx", "model.onnx")
    with pytest.raises(UnsafeModelError, match="leads out of its folder"):
        find(str(folder))


def test_link_inside_the_folder_is_followed(folder):
    (folder / "model.onnx").rename(folder / "real")
    link(folder, "model.onnx", "real")
    assert load_card(str(folder)).layer == "embedding"


def test_folder_that_is_a_link_is_followed(folder, tmp_path):
    (tmp_path / "name").symlink_to(folder)
    assert load_card(str(tmp_path / "name")).layer == "embedding"


@pytest.mark.parametrize("sub", ["", "onnx"])
def test_cache_of_the_hub_s_own_client_is_followed(folder, tmp_path, sub):
    blobs, snapshot = tmp_path / "models--a--b" / "blobs", tmp_path / "models--a--b" / "snapshots" / "c0ffee" / sub
    shutil.copytree(folder, blobs)
    snapshot.mkdir(parents=True)
    for name in ("card.json", "model.onnx"):
        (snapshot / name).symlink_to(blobs / name)
    assert find(str(snapshot)).layer == "embedding"
    link(blobs, "model.onnx", "../../secret")
    with pytest.raises(UnsafeModelError, match="leads out of its folder"):
        find(str(snapshot))


def test_file_that_does_not_exist_is_no_link(tmp_path):
    check_link(tmp_path / "absent")
