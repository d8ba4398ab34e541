"""Models of the Hugging Face Hub, fetched by its real client from a server on loopback that speaks its protocol."""

import contextlib
import json
import os
import socket
import stat
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from skltransfer import PretrainedEmbedder, cli, load_card, testing
from skltransfer._engine import hub
from skltransfer.errors import DownloadError, IntegrityError, ModelWarning, UnknownModelError, UnsafeModelError
from tests import graphs
from tests.hub.hub_server import COMMIT, serving

pytest.importorskip("huggingface_hub", reason="needs the extra 'hub'")

ADDRESS = hub.Address("owner/repo", COMMIT, "onnx/model.onnx")


@pytest.fixture
def graph(tmp_path):
    return testing.save_backbone(testing.image_backbone(), tmp_path, pin=False).read_bytes()


@pytest.fixture
def server(graph, tmp_path, monkeypatch):
    files = {
        "onnx/model.onnx": graph,
        "tokenizer.json": testing.word_tokenizer().to_str().encode(),
        "README.md": b"not fetched",
        "onnx/other.onnx": b"other",
    }
    with serving(files) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
        monkeypatch.setenv("SKLTRANSFER_MODELS", str(tmp_path / "store"))
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        yield server


def stored() -> list[str]:
    """List the files in the store, records first, and check that what is under a hash has that hash."""
    root = hub.store_folder()
    assert all(hub.sha256(file) == file.name for file in root.glob("files/*"))
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_graph_and_what_goes_with_it_arrive_verified(server, graph):
    pulled = hub.pull(ADDRESS)
    assert sorted(pulled.files) == ["onnx/model.onnx", "tokenizer.json"]
    assert (pulled.folder / "onnx/model.onnx").read_bytes() == graph
    assert pulled.commit == COMMIT
    assert len(stored()) == 5  # a record, two files, two links


def test_descriptions_of_an_encoder_arrive_and_are_obeyed(server, tmp_path):
    pooled = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling")]
    listed = [{"path": path, "type": f"sentence_transformers.models.{kind}"} for path, kind in kinds]
    server.files["onnx/model.onnx"] = testing.text_backbone().SerializeToString()
    server.files |= {
        "modules.json": json.dumps(listed).encode(),
        "1_Pooling/config.json": json.dumps(pooled).encode(),
        "tokenizer_config.json": b'{"model_max_length": 12}',
        "2_Dense/config.json": b"not fetched",
    }
    card = load_card(str(ADDRESS), layer="context")
    assert sorted(file.path for file in card.files.values()) == sorted(
        ["onnx/model.onnx", "tokenizer.json", "modules.json", "1_Pooling/config.json", "tokenizer_config.json"]
    )
    assert (card.pool, card.input.max_length) == ("cls", 12)


def test_second_pull_opens_no_socket(server):
    first = hub.pull(ADDRESS)
    asked = len(server.asked)
    assert hub.pull(ADDRESS) == first
    assert len(server.asked) == asked


def test_embedder_takes_an_address(server, graph, tmp_path):
    card = load_card(str(ADDRESS), preset="raw", resize="squash", layer="embedding")
    assert (card.name, card.revision, card.pinned) == ("repo", COMMIT, True)
    local = graphs.save_images(tmp_path, name="local")
    pictures = testing.noise_images(3)
    rows = PretrainedEmbedder(card).fit_transform(pictures)
    np.testing.assert_allclose(rows, PretrainedEmbedder(local).fit_transform(pictures), rtol=1e-6)


def test_authors_card_is_used(server, graph, tmp_path):
    path = testing.save_backbone(testing.image_backbone(), tmp_path, "model", layer="embedding")
    server.files["onnx/model.card.json"] = path.with_suffix(".card.json").read_bytes()
    server.files["onnx/model.onnx"] = path.read_bytes()
    assert PretrainedEmbedder(str(ADDRESS)).fit_transform(testing.noise_images(2)).shape == (2, 4)


def test_card_that_pins_another_file_is_an_error(server, tmp_path):
    path = testing.save_backbone(testing.image_backbone(), tmp_path, "model")
    server.files["onnx/model.card.json"] = path.with_suffix(".card.json").read_bytes()
    server.files["onnx/model.onnx"] = graphs.raw_pixels().SerializeToString()
    with pytest.raises(IntegrityError, match="its card pins"):
        PretrainedEmbedder(str(ADDRESS)).fit(testing.noise_images(2))


def test_branch_is_pinned_to_the_commit_of_the_first_time(server):
    branch = ADDRESS._replace(revision="main")
    with pytest.warns(ModelWarning, match=f"'main' of owner/repo is commit {COMMIT} today.*name it 'hf://owner/repo@c"):
        first = hub.pull(branch)
    server.commit = 40 * "a"
    assert hub.pull(branch) == first
    with pytest.warns(ModelWarning, match="is commit aaaa"):
        assert hub.pull(branch, refresh=True).commit == 40 * "a"


def test_offline_opens_no_socket(server, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(DownloadError, match="HF_HUB_OFFLINE forbids to fetch it"):
        hub.pull(ADDRESS)
    assert server.asked == []


def test_offline_uses_what_is_there(server, monkeypatch):
    first = hub.pull(ADDRESS)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert hub.pull(ADDRESS) == first


def test_redirect_is_followed(server, graph):
    server.fault = "redirect"
    assert (hub.pull(ADDRESS).folder / "onnx/model.onnx").read_bytes() == graph
    assert any(path.startswith("/elsewhere/") for path in server.asked)


@pytest.mark.parametrize("large", [True, False])
def test_wrong_body_is_never_kept(server, large):
    server.fault, server.large = "other bytes", {"onnx/model.onnx"} if large else set()
    with pytest.raises(IntegrityError, match=r"the hub announced [0-9a-f]{40,64} and \d+; it was discarded"):
        hub.pull(ADDRESS)
    assert stored() == []


@pytest.mark.parametrize("fault", ["cut", "slow", "hangs", "500", "429"])
def test_deadline_ends_whatever_the_hub_does(server, fault):
    server.fault = fault
    start = time.monotonic()
    with pytest.raises(DownloadError, match=r"hf://owner/repo@c0ffee.* (was not there in time|cannot be fetched)"):
        hub.pull(ADDRESS, deadline=4)
    assert time.monotonic() - start < 4 + 2
    assert stored() == []


@pytest.mark.parametrize("silent", [False, True])
def test_without_a_connection_the_three_ways_on_are_named(tmp_path, monkeypatch, silent):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if silent:  # it lets clients connect, and never answers
            server.listen()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        monkeypatch.setenv("SKLTRANSFER_MODELS", str(tmp_path / "store"))
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        monkeypatch.setattr(hub._store, "DEADLINE", 30.0)
        with pytest.raises(DownloadError) as caught:
            load_card("gte-small")
    words = str(caught.value)
    assert words.startswith("'gte-small', which is hf://")
    assert all(
        way in words for way in ("HTTPS_PROXY", "HF_ENDPOINT", "SKLTRANSFER_MODELS", "vision-mini and text-mini")
    )


@pytest.mark.parametrize(
    ("status", "hint"), [(404, "Check the name against the files"), (401, "hf auth login"), (403, "accept its")]
)
def test_status_and_hint_are_in_the_message(server, status, hint):
    server.fault = str(status)
    with pytest.raises(DownloadError, match=rf"HTTP status {status}.*{hint}") as raised:
        hub.pull(ADDRESS)
    assert raised.value.status == status
    assert stored() == []


@pytest.mark.parametrize("status", [429, 500])
def test_status_of_an_answer_that_is_tried_again_is_in_the_message(server, status):
    server.fault = str(status)
    with pytest.raises(DownloadError, match=str(status)):
        hub.pull(ADDRESS, deadline=12)


def test_graph_that_is_not_in_the_repository_is_an_error_with_those_that_are(server):
    with pytest.raises(DownloadError, match=r"no file 'model\.onnx'; its graphs: onnx/model\.onnx, onnx/other\.onnx"):
        hub.pull(ADDRESS._replace(path="model.onnx"))


def test_graph_that_is_refused_is_not_remembered(server, tmp_path):
    server.files["onnx/model.onnx"] = b"no graph"
    for _ in range(2):
        with pytest.raises(Exception, match=r"model\.onnx") as raised:
            load_card(str(ADDRESS))
        assert isinstance(raised.value, (UnsafeModelError, ValueError))
    assert not list(hub.store_folder().glob("records/*"))


def test_damaged_file_is_noticed_and_mended_by_refreshing(server, graph):
    path = hub.pull(ADDRESS).folder / "onnx/model.onnx"
    path.chmod(0o644)
    path.write_bytes(graph[::-1])
    with pytest.raises(IntegrityError, match="its card pins"):
        hub.verified(load_card(str(ADDRESS), preset="raw"))
    assert (hub.pull(ADDRESS, refresh=True).folder / "onnx/model.onnx").read_bytes() == graph
    assert stored()


def test_store_is_private_and_its_files_are_read_only(server):
    pulled = hub.pull(ADDRESS)
    assert stat.S_IMODE(hub.store_folder().stat().st_mode) == 0o700
    assert not (pulled.folder / "onnx/model.onnx").stat().st_mode & 0o222


def test_what_a_killed_process_left_is_swept_away(server):
    left = hub.store_folder() / "arriving-x"
    left.mkdir(parents=True)
    os.utime(left, (0, 0))
    hub.pull(ADDRESS)
    assert not left.exists()


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("step", ["replace", "link"])
def test_disk_that_fails_at_any_step_leaves_nothing_wrong(server, monkeypatch, step, number):
    count, work = iter(range(99)), getattr(os, step)

    def fail(*given, **options):
        if next(count) == number:
            raise OSError(28, "No space left on device")
        return work(*given, **options)

    with monkeypatch.context() as patch, contextlib.suppress(DownloadError):
        patch.setattr(os, step, fail)
        hub.pull(ADDRESS)
    assert isinstance(stored(), list)
    assert sorted(hub.pull(ADDRESS).files) == ["onnx/model.onnx", "tokenizer.json"]


def test_store_that_cannot_be_written_is_named(server, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("SKLTRANSFER_MODELS", str(tmp_path / "file"))
    with pytest.raises(DownloadError, match=r"cannot be written to '.*file': .*SKLTRANSFER_MODELS"):
        hub.pull(ADDRESS)


def test_two_at_once_get_the_same(server):
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(hub.pull, [ADDRESS, ADDRESS])
    assert first == second
    assert len(stored()) == 5


@pytest.mark.parametrize(
    "text",
    ["hf://repo/model.onnx", "hf://o/r/../m.onnx", "hf://../r/m.onnx", "hf://o/r/model.bin", "hf://o/r@a/b@c.onnx"],
)
def test_address_that_is_none_is_refused(text):
    with pytest.raises(UnknownModelError, match="is not an address of the hub; write hf://owner/repo@revision"):
        load_card(text)


def test_commit_that_is_none_is_refused(server):
    server.commit = "../../elsewhere"
    with pytest.raises(DownloadError, match=r"named the commit '\.\./\.\./elsewhere', which is not a commit hash"):
        hub.pull(ADDRESS)
    assert stored() == []


def test_command_pull_shows_what_came(server, capsys):
    assert cli.main(["models", "pull", str(ADDRESS)]) == 0
    shown = capsys.readouterr().out
    assert "onnx/model.onnx" in shown
    assert COMMIT in shown
