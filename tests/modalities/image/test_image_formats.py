"""Files that cannot be decoded are called by the format they begin like, or by what else they are."""

import io

import numpy as np
import pytest
from PIL import Image

from skltransfer._engine.modalities import image as images
from tests.modalities.image.support import encoded, refusal

PICTURE = np.random.default_rng(0).integers(0, 256, (60, 50, 3), np.uint8)


def signed(kind: str) -> bytes:
    return encoded(PICTURE, kind)


@pytest.mark.parametrize("kind", images.FORMATS)
def test_every_format_begins_as_the_table_says(kind):
    assert images.begins_like(signed(kind)) == kind


@pytest.mark.parametrize("kind", images.FORMATS)
@pytest.mark.parametrize("length", [12, 20, 40])
def test_file_that_is_cut_short_is_called_by_its_format(kind, length):
    reason = refusal(signed(kind)[:length])
    assert f"begins like a {kind} and is cut short or damaged" in reason
    assert f"no {', '.join(images.FORMATS)} file" not in reason


@pytest.mark.parametrize("kind", images.FORMATS)
def test_file_that_is_damaged_is_never_said_to_be_of_no_format(kind):
    data = signed(kind)[:16] + bytes(200)
    reason = refusal(data)
    assert "is no " not in reason
    assert f"begins like a {kind}" in reason


@pytest.mark.parametrize(
    ("data", "what"), [(b"GIF90a" + bytes(50), "its first bytes are b'GIF90a"), (b"", "it is empty")]
)
def test_file_of_no_known_format_is_described(data, what):
    assert refusal(data).startswith("is no JPEG, PNG, WEBP, GIF, BMP, TIFF file; ")
    assert what in refusal(data)


def test_big_tiff_begins_like_a_tiff():
    file = io.BytesIO()
    Image.fromarray(PICTURE).save(file, "TIFF", big_tiff=True)
    assert images.begins_like(file.getvalue()) == "TIFF"
