"""Strings that name no file are named for what they are, with what to do, in a line."""

import base64

import pytest

from skltransfer import PretrainedEmbedder
from skltransfer._engine import sources
from skltransfer._engine.sources import _remote
from skltransfer.errors import SampleError, Unreadable
from tests.graphs import save_images
from tests.modalities.image.support import NOISE, PHOTO, encoded


@pytest.fixture(autouse=True)
def nothing_is_fetched(monkeypatch):
    monkeypatch.setattr(_remote, "_is_installed", lambda: False)


def refusal(name) -> str:
    with pytest.raises(Unreadable, match=r".") as caught:
        sources.read_file(name)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "https://example.org/cat.jpg",
            "is an address of the web, not a file; download it first, or let",
        ),
        ("HTTP://example.org/cat.jpg", "is an address of the web"),
        ("s3://bucket/cat.jpg", "is an object in a bucket, not a file; download it first"),
        ("gs://bucket/cat.jpg", "is an object in a bucket"),
        ("zip://cat.jpg::photos.zip", "is a file in an archive"),
        ("hdfs://host/cat.jpg", "is an address that is not opened here"),
        ("file://server/cat.jpg", "is an address of another machine"),
        ("file:///no/such/cat%20a.jpg", "stands for '/no/such/cat a.jpg', where there is no file"),
        (
            "data:image/png;base64," + base64.b64encode(encoded(PHOTO)).decode(),
            "is a data URL, not a file name; give",
        ),
        (base64.b64encode(encoded(PHOTO, "JPEG")).decode(), "is an image in base64, not a file name; give its bytes"),
        (base64.b64encode(encoded(PHOTO, "WEBP")).decode(), "is an image in base64"),
        (base64.encodebytes(encoded(NOISE, "GIF")).decode(), "is an image in base64"),
        ("<svg xmlns=''/>", "is HTML or XML itself"),
        ("photos/*.jpg", "is a pattern, not a file name; give what it finds: sorted(glob.glob(pattern))"),
        ("", "is empty; give the path of a file"),
        ("no/such/file.jpg", "cannot be opened (No such file or directory)"),
        ("~/no such file.jpg", "where there is no file"),
    ],
)
def test_string_that_names_no_file_is_named_for_what_it_is(name, words):
    assert words in refusal(name)


def test_extra_that_fetches_is_named():
    assert "pip install 'skltransfer[remote]'" in refusal("s3://bucket/a.jpg")


@pytest.mark.parametrize("name", ["a b.jpg", "ä%.png", "100%.jpg", "#?.png"])
def test_address_of_a_file_of_this_machine_is_read(name, tmp_path):
    (tmp_path / name).write_bytes(b"content")
    found = sources.read_file((tmp_path / name).as_uri())
    assert found.data == b"content"
    assert found.path == str(tmp_path / name)


@pytest.mark.parametrize("form", ["file:{}", "file://localhost{}", "FILE://{}"])
def test_other_forms_of_such_addresses_are_read(form, tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"content")
    assert sources.read_file(form.format(tmp_path / "a.jpg")).data == b"content"


def test_file_whose_name_looks_like_an_address_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "https:").mkdir()
    (tmp_path / "https:" / "a.jpg").write_bytes(b"content")
    assert sources.read_file("https://a.jpg").data == b"content"


@pytest.mark.parametrize("sample", ["data:image/png;base64," + "A" * 10**6, "/9j/" + "A" * 10**6, "x" * 10**6])
def test_message_shows_300_characters_of_a_sample_at_most(sample, tmp_path):
    with pytest.raises(SampleError, match="sample 0") as caught:
        PretrainedEmbedder(save_images(tmp_path)).transform([sample])
    assert len(str(caught.value)) < 700
    assert caught.value.path == sample
