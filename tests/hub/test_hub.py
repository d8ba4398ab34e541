"""Verified bytes or an error: what is handed on is what the card pins."""

import contextlib
import dataclasses
import os
import random

import pytest

from skltransfer import testing
from skltransfer._engine import graph, hub, process
from skltransfer.cards import Card, ModelFile
from skltransfer.errors import IntegrityError, ModelError, UnknownModelError, UnsafeModelError
from tests import hostile_graphs


@pytest.fixture
def card(tmp_path):
    return testing.pinned_card(testing.save_backbone(testing.image_backbone(), tmp_path, pin=False))


def test_pinned_file_that_is_whole_is_handed_on_by_its_absolute_path(card, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path.parent)
    here = dataclasses.replace(card, folder=tmp_path.relative_to(tmp_path.parent))
    assert hub.verified(here) == tmp_path / "tiny.onnx"


def test_every_one_of_a_thousand_flipped_bits_is_noticed(card, tmp_path):
    whole = (tmp_path / "tiny.onnx").read_bytes()
    unnoticed = []
    with (tmp_path / "tiny.onnx").open("r+b", buffering=0) as file:
        for bit in random.Random(0).choices(range(8 * len(whole)), k=1000):
            os.pwrite(file.fileno(), bytes([whole[bit // 8] ^ 1 << bit % 8]), bit // 8)
            with contextlib.suppress(IntegrityError):
                unnoticed.append((bit, hub.verified(card)))
            os.pwrite(file.fileno(), whole, 0)
    assert unnoticed == []
    assert hub.verified(card)


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b + b"\0", lambda b: b"", lambda b: b[::-1]])
def test_file_of_another_length_or_order_is_noticed(card, tmp_path, damage):
    path = tmp_path / "tiny.onnx"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(IntegrityError, match=r"tiny.onnx' has the SHA-256 [0-9a-f]{64}, its card pins [0-9a-f]{64}"):
        hub.verified(card)


def test_change_within_one_tick_of_the_clock_is_noticed(card, tmp_path, monkeypatch):
    path = tmp_path / "tiny.onnx"
    hub.verified(card)
    status = path.stat()
    with path.open("r+b") as file:
        file.write(b"\xff")
    monkeypatch.setattr(type(path), "stat", lambda self, **_: status)  # inode, length and change time as before
    with pytest.raises(IntegrityError, match=r"has the SHA-256"):
        hub.verified(card)


def test_settled_file_is_hashed_once(card, tmp_path, monkeypatch):
    monkeypatch.setattr(process._files, "SETTLED", -(10**12))
    digest = hub.sha256(tmp_path / "tiny.onnx")
    monkeypatch.setattr(hub._local.hashlib, "file_digest", lambda *_: pytest.fail("hashed twice"))
    assert hub.sha256(tmp_path / "tiny.onnx") == digest


def test_file_that_is_missing_is_named(card, tmp_path):
    os.unlink(tmp_path / "tiny.onnx")
    with pytest.raises(UnknownModelError, match=r"'tiny' has no file 'tiny.onnx' in '.*'; copy it there"):
        hub.verified(card)


def test_card_without_a_folder_is_refused():
    with pytest.raises(UnknownModelError, match=r"card of 'm' has no folder; pass a card from load_card"):
        hub.verified(Card("m", "image", {"model": ModelFile("m.onnx")}))


def test_damaged_external_data_are_noticed(tmp_path):
    (tmp_path / "w.bin").write_bytes(hostile_graphs.CANARY.tobytes())
    card = testing.pinned_card(
        testing.save_backbone(hostile_graphs.external(hostile_graphs.outside("w.bin")), tmp_path, pin=False), "w.bin"
    )
    (tmp_path / "w.bin").write_bytes(b"\1" * 8)
    with pytest.raises(IntegrityError, match=r"w.bin' has the SHA-256"):
        hub.verified(card)


def test_graph_reached_through_a_link_takes_its_weights_from_the_folder_of_its_card(tmp_path):
    store, folder = tmp_path / "store", tmp_path / "model"
    for place, weights in ((store, b"\1" * 8), (folder, hostile_graphs.CANARY.tobytes())):
        place.mkdir()
        (place / "w.bin").write_bytes(weights)
    testing.save_backbone(hostile_graphs.external(hostile_graphs.outside("w.bin")), store, pin=False)
    (folder / "tiny.onnx").symlink_to(store / "tiny.onnx")
    card = testing.pinned_card(folder / "tiny.onnx", "w.bin")
    weights = graph.load(hub.verified(card), card.manifest).graph.initializer[0]
    assert weights.raw_data == hostile_graphs.CANARY.tobytes()


def test_graph_in_a_folder_below_takes_no_weights_the_card_does_not_pin(tmp_path):
    (tmp_path / "onnx").mkdir()
    for place in (tmp_path, tmp_path / "onnx"):
        (place / "w.bin").write_bytes(hostile_graphs.CANARY.tobytes())
    testing.save_backbone(hostile_graphs.external(hostile_graphs.outside("w.bin")), tmp_path / "onnx", pin=False)
    files = {"model": ModelFile("onnx/tiny.onnx"), "w.bin": ModelFile("w.bin")}
    card = Card("tiny", "array", files, folder=tmp_path)
    with pytest.raises(UnsafeModelError, match=r"weights in 'w.bin', which its card does not list"):
        graph.load(hub.verified(card), card.manifest)


def test_fingerprint_of_one_file_is_its_sha256(card, tmp_path):
    assert hub.fingerprint(card) == hub.sha256(tmp_path / "tiny.onnx") == card.files["model"].sha256


def test_fingerprint_covers_every_file(tmp_path):
    path = testing.save_backbone(hostile_graphs.external(hostile_graphs.outside("w.bin")), tmp_path, pin=False)
    prints = set()
    for weights in (b"\1" * 8, b"\2" * 8):
        (tmp_path / "w.bin").write_bytes(weights)
        prints.add(hub.fingerprint(testing.pinned_card(path, "w.bin")))
    assert len(prints) == 2


def test_written_file_replaces_the_old_one_whole(tmp_path):
    hub.write(tmp_path / "card.json", "old")
    hub.write(tmp_path / "card.json", "new")
    assert [p.name for p in tmp_path.iterdir()] == ["card.json"]
    assert (tmp_path / "card.json").read_text() == "new"


@pytest.mark.parametrize("step", ["chmod", "replace"])
def test_write_that_fails_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch, step):
    hub.write(tmp_path / "card.json", "old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(hub._local.os, step, fail)
    with pytest.raises(OSError, match="disk full"):
        hub.write(tmp_path / "card.json", "new")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("card.json", "old")]


# ---------------------------------------------------------------------------------------------------------------------
# A graph that is opened


def test_scratch_file_is_whole_private_and_gone_afterwards():
    with hub.scratch([b"ab", b"", b"c"]) as path:
        assert path.read_bytes() == b"abc"
        assert path.stat().st_mode & 0o077 == 0
    assert not path.exists()


def test_scratch_file_is_gone_when_the_pieces_or_the_reader_fail(tmp_path, monkeypatch):
    def pieces():
        yield b"ab"
        raise ModelError("too large")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(ModelError, match="too large"), hub.scratch(pieces()):
        raise AssertionError("not reached")
    with pytest.raises(ZeroDivisionError, match="zero"), hub.scratch([b"abc"]):
        1 / 0  # noqa: B018 - any error of the reader
    assert list(tmp_path.iterdir()) == []


def test_scratch_without_a_temporary_folder_is_an_error_that_says_what_to_set(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    with pytest.raises(ModelError, match=r"cannot be written to the temporary folder: .*gone.* Set TMPDIR"):
        hub.scratch([b"abc"]).__enter__()
