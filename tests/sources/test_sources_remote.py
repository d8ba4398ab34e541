"""Addresses are opened where the extra is installed, by known protocols, within limits; without it nothing is."""

import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from skltransfer._engine import sources
from skltransfer._engine.sources import _content, _remote
from skltransfer.errors import Unreadable

DATA = b"\xff\xd8" + bytes(3_000_000)
fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed")


@pytest.fixture
def installed(monkeypatch):
    monkeypatch.setattr(_remote, "_is_installed", lambda: True)


@pytest.fixture
def archive(tmp_path):
    with zipfile.ZipFile(tmp_path / "photos.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("cats/1.jpg", DATA)
    return f"zip://cats/1.jpg::{tmp_path / 'photos.zip'}"


def refusal(name) -> str:
    with pytest.raises(Unreadable, match=r".") as caught:
        sources.read_file(name)
    return str(caught.value)


def test_file_of_an_archive_is_read_by_its_address(installed, archive):
    found = sources.read_file(archive)
    assert (found.data, found.path, found.state) == (DATA, archive, None)


def test_nothing_is_opened_without_the_extra(monkeypatch, archive):
    monkeypatch.setattr(_remote, "_is_installed", lambda: False)
    monkeypatch.setattr(fsspec, "open", None)
    assert "pip install 'skltransfer[remote]'" in refusal(archive)
    assert "pip install 'skltransfer[remote]'" in refusal("https://example.org/a.jpg")


def test_extra_is_not_taken_for_installed_because_of_fsspec_alone(monkeypatch):
    monkeypatch.setitem(sys.modules, "upath", None)
    monkeypatch.setattr(_remote.importlib.util, "find_spec", lambda name: None if name == "upath" else object())
    _remote._is_installed.cache_clear()
    try:
        assert not _remote.opens("https://example.org/a.jpg")
    finally:
        _remote._is_installed.cache_clear()


@pytest.mark.parametrize(
    ("address", "opened"),
    [
        ("https://example.org/a.jpg", True),
        ("s3://bucket/a.jpg", True),
        ("gs://bucket/a.jpg", True),
        ("zip://a.jpg::https://example.org/photos.zip", True),
        ("zip://a.jpg", False),
        ("https://example.org/a.jpg::s3://b/c", False),
        ("simplecache::https://example.org/a.jpg", False),
        ("zip://a.jpg::simplecache::https://example.org/photos.zip", False),
        ("zip://a.jpg::no-such.zip", False),
        ("zip://a.jpg::/dev/zero", False),
        ("ftp://example.org/a.jpg", False),
        ("memory://a.jpg", False),
        ("ssh://host/a.jpg", False),
        ("github://a:b@main/c.jpg", False),
        ("local:///etc/passwd", False),
        ("reference://a", False),
        ("plain.jpg", False),
        ("https://example.org/" + "a" * 5000, False),
    ],
)
def test_known_protocols_only_are_opened(installed, address, opened):
    assert _remote.opens(address) is opened


def test_too_long_content_is_refused_while_it_is_read(installed, archive, monkeypatch):
    monkeypatch.setattr(_content, "MAX_BYTES", 2**20)
    assert "has at least 2,097,152 bytes" in refusal(archive)


def test_too_slow_content_is_refused(installed, archive, monkeypatch):
    monkeypatch.setattr(_remote, "SECONDS", -1.0)
    assert "takes longer to read than -1 s" in refusal(archive)


def test_missing_content_is_named(installed, archive):
    assert "cannot be fetched (" in refusal(archive.replace("1.jpg", "2.jpg"))


def test_library_of_a_protocol_that_is_missing_is_named(installed, monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)  # which other tests set for good
    monkeypatch.setitem(sys.modules, "s3fs", None)
    assert "pip install 'skltransfer[remote]'" in refusal("s3://bucket/a.jpg")


def test_offline_mode_opens_nothing(installed, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert refusal("https://example.org/a.jpg") == "is an address, and HF_HUB_OFFLINE forbids to fetch it"


@pytest.fixture
def server():
    """Serve `DATA`, or what `content` was set to."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            found = self.path == "/a.jpg"
            self.send_response(200 if found else 404)
            self.send_header("Content-Length", str(len(DATA) if found else 0))
            self.end_headers()
            self.wfile.write(DATA if found and self.command == "GET" else b"")

        do_HEAD = do_GET

        def log_message(self, *words):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()


def test_address_of_the_web_is_fetched(installed, server):
    pytest.importorskip("aiohttp", reason="the extra remote is not installed")
    assert sources.read_file(f"{server}/a.jpg").data == DATA
    assert "cannot be fetched (FileNotFoundError" in refusal(f"{server}/b.jpg")


def test_path_of_universal_pathlib_is_read_and_named():
    upath = pytest.importorskip("upath", reason="the extra remote is not installed")
    path = upath.UPath("memory://photos/a.jpg")
    path.write_bytes(DATA)
    assert sources.read_held(path).data == DATA
    assert sources.name_of(path) == "memory://photos/a.jpg"


def test_file_of_fsspec_is_read_opened_or_not():
    fsspec.filesystem("memory").pipe("/photos/b.jpg", DATA)
    unopened = fsspec.open("memory://photos/b.jpg", "rb")
    assert sources.read_held(unopened).data == DATA
    with unopened as file:
        assert sources.read_held(file).data == DATA
