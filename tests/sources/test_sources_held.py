"""What libraries hand out as a file is read, from its beginning, within limits, and left as it was."""

import io
import os
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from skltransfer._engine import sources
from skltransfer.errors import Unreadable

DATA = bytes(range(256)) * 9000 + b"\0\0"


def content(sample) -> bytes:
    return sources.read_held(sample).data


@contextmanager
def closing(sample):
    """Close whatever is open in a sample."""
    yield sample
    for held in (sample, getattr(sample, "file", None), getattr(sample, "stream", None)):
        if hasattr(held, "close"):
            held.close()


def refusal(sample) -> str:
    with pytest.raises(Unreadable, match=r".") as caught:
        sources.read_held(sample)
    return str(caught.value)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(DATA)
    return path


@pytest.fixture
def archive(tmp_path):
    with zipfile.ZipFile(tmp_path / "photos.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("cats/1.jpg", DATA)
    return tmp_path / "photos.zip"


def spooled(path):
    file = tempfile.SpooledTemporaryFile()  # noqa: SIM115 - as Starlette keeps it
    file.write(path.read_bytes())
    return file


class AsyncUpload(SimpleNamespace):
    """An upload whose own `read` must be awaited, as Starlette's and FastAPI's."""

    async def read(self, size=-1):
        raise AssertionError("nobody awaits this")


@pytest.mark.parametrize(
    "held",
    [
        lambda path: io.BytesIO(path.read_bytes()),
        lambda path: path.open("rb"),
        lambda path: open(path, "rb", buffering=0),  # noqa: SIM115 - people do
        spooled,
        lambda path: AsyncUpload(filename="a.jpg", file=spooled(path)),
        lambda path: SimpleNamespace(filename="a.jpg", stream=path.open("rb")),
        lambda path: SimpleNamespace(name="a.jpg", file=io.BytesIO(path.read_bytes()), read=None),
        lambda path: {"bytes": path.read_bytes(), "path": None},
        lambda path: {"bytes": bytearray(path.read_bytes())},
        lambda path: {"path": path},
    ],
    ids=["BytesIO", "open", "raw", "spooled", "Starlette", "Werkzeug", "Django", "bytes", "bytearray", "path"],
)
def test_content_is_read_again_and_again(held, path):
    with closing(held(path)) as sample:
        assert content(sample) == content(sample) == DATA


def test_file_of_an_archive_is_read_by_its_path(archive):
    path = zipfile.Path(archive, "cats/1.jpg")
    assert content(path) == content(path) == DATA
    assert sources.name_of(path).endswith("photos.zip/cats/1.jpg")
    with zipfile.ZipFile(archive) as file, file.open("cats/1.jpg") as opened:
        assert content(opened) == DATA


def test_open_file_is_left_where_it_was(path):
    with path.open("rb") as file:
        file.seek(100)
        assert content(file) == DATA
        assert file.tell() == 100


def test_spooled_file_stays_in_memory(path):
    with closing(spooled(path)) as file:
        assert content(file) == DATA
        assert not file._rolled


def test_one_open_file_is_read_by_many_threads():
    file = io.BytesIO(DATA)
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(content, [file] * 64)) == {DATA}


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (lambda path: path.open("r"), "is a file opened as text; open it with mode 'rb'"),
        (lambda path: io.StringIO("text"), "is a file opened as text"),
        (lambda path: {"bytes": None, "path": None}, "the sample is missing: neither its 'bytes' nor its 'path'"),
        (lambda path: {"bytes": None, "path": float("nan")}, "the sample is missing"),
        (lambda path: {"bytes": "text", "path": None}, "its 'bytes' are str, not bytes"),
        (lambda path: {"bytes": None, "path": 7}, "its 'path' is int, not a str"),
        (lambda path: SimpleNamespace(read=lambda size: b""), "is a stream that can be read once only; give its bytes"),
        (lambda path: zipfile.Path(path.parent / "photos.zip", "nothing.jpg"), "cannot be read (FileNotFoundError"),
    ],
)
def test_what_is_no_file_to_read_twice_is_refused(sample, message, path, archive):
    with closing(sample(path)) as held:
        assert message in refusal(held)


def test_closed_file_is_refused(path):
    with path.open("rb") as file:
        pass
    assert refusal(file) == "is a file that is closed; give its path or its bytes"


def test_pipe_is_refused_at_once():
    end, other = os.pipe()
    with os.fdopen(end, "rb") as file, os.fdopen(other, "wb"):
        assert "can be read once only" in refusal(file)


def test_device_is_refused_at_once():
    with open("/dev/zero", "rb") as file:
        assert refusal(file) == "is not a regular file"


def test_file_that_is_too_long_is_refused_while_it_is_read(monkeypatch):
    from skltransfer._engine.sources import _content

    monkeypatch.setattr(_content, "MAX_BYTES", 2**20)
    assert refusal(io.BytesIO(DATA)).startswith("has at least 2,097,152 bytes, more than the 1,048,576")


@pytest.mark.parametrize(
    "sample", [7, "a".join, object(), [], {"file": "a"}, {"bytes": b"", "path": "", "x": 1}, io.BytesIO]
)
def test_what_holds_no_file_is_none(sample):
    assert sources.read_held(sample) is None
    assert sources.name_of(sample) is None


def test_upload_whose_properties_fail_is_no_file():
    class Upload:
        @property
        def file(self):
            raise ValueError("no file")

    assert sources.read_held(Upload()) is None


@pytest.mark.parametrize(
    ("sample", "name"),
    [
        ({"bytes": b"x", "path": "train/1.jpg"}, "train/1.jpg"),
        (SimpleNamespace(filename="2.jpg", file=io.BytesIO()), "2.jpg"),
        (io.BytesIO(), None),
    ],
)
def test_name_is_that_which_the_object_says(sample, name):
    assert sources.name_of(sample) == name
