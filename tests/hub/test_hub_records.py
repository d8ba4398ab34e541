"""Records of the store: each stands for one address, those of the first release too."""

import json

import pytest

from skltransfer._engine import hub
from skltransfer._engine.hub import _store

COMMIT = "a" * 40
NESTED = hub.Address("a/b", "main", "x/y.onnx")
FLAT = hub.Address("a/b", "main", "x--y.onnx")


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("SKLTRANSFER_MODELS", str(tmp_path))
    (tmp_path / "records").mkdir()
    return tmp_path


def keep(stored, record, **more):
    """Put a model and its record into the store, the record at a path of one's choice."""
    file = _store._home(stored, COMMIT) / stored.path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    record.write_text(json.dumps({"commit": COMMIT, "files": {stored.path: "0" * 64}, **more}))


ADDRESSES = [
    *(hub.Address(repo, "main", "m.onnx") for repo in ("a/b--c", "a--b/c", "a/b", "a-/b", "a/-b")),
    *(
        hub.Address("a/b", "main", path)
        for path in ("x/y.onnx", "x--y.onnx", "x-/-y.onnx", "x/y/z.onnx", "x--y/z.onnx")
    ),
    *(hub.Address("a/b", revision, "y.onnx") for revision in ("main--x", "main", "v1")),
]


def test_every_address_has_a_record_of_its_own():
    assert len({_store._record(address) for address in ADDRESSES}) == len(ADDRESSES)


@pytest.mark.parametrize("address", [FLAT, NESTED, hub.Address("a/b", "v1", "m.onnx")])
def test_record_is_found(address):
    keep(address, _store._record(address), address=str(address))
    assert hub.kept(address).commit == COMMIT
    assert all(hub.kept(other) is None for other in ADDRESSES if other != address)


def test_record_of_the_first_release_is_found(store):
    keep(NESTED, store / "records" / "a--b@main--x--y.onnx")
    assert hub.kept(NESTED).commit == COMMIT


@pytest.mark.parametrize("stored", ADDRESSES)
def test_record_of_the_first_release_is_never_taken_for_another(store, stored):
    name = f"{stored.repo}@{stored.revision}/{stored.path}".replace("/", "--")
    keep(stored, store / "records" / name)
    assert [other for other in ADDRESSES if other != stored and hub.kept(other) is not None] == []


ODD = [
    "", "[]", "null", "[" * 100_000, '{"commit": 1, "files": {}}', '{"commit": "main", "files": {"x/y.onnx": ""}}',
    json.dumps({"commit": "../../../..", "files": {"x/y.onnx": ""}}), json.dumps({"commit": COMMIT, "files": [1]}),
    json.dumps({"commit": COMMIT, "files": {"x/y.onnx": "", "../../../../../etc/passwd": ""}}),
    json.dumps({"commit": COMMIT, "files": {"x/y.onnx": "", "/etc/passwd": ""}}),
    json.dumps({"commit": COMMIT, "files": {"x/y.onnx": ""}, "address": str(FLAT)}),
]  # fmt: skip


@pytest.mark.parametrize("text", ODD)
def test_odd_record_is_none(text):
    keep(NESTED, _store._record(NESTED))
    assert hub.kept(NESTED) is not None
    _store._record(NESTED).write_text(text)
    assert hub.kept(NESTED) is None
