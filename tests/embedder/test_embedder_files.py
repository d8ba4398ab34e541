"""Files that were read before are not read again, unless they have changed."""

import os

import numpy as np
import pytest
from PIL import Image
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import Pipeline

from skltransfer import PretrainedEmbedder
from skltransfer._engine import process
from skltransfer._engine.modalities import image as images
from skltransfer._engine.modalities.image import _read
from skltransfer._engine.modalities.image._prepare import ImagePreparer
from skltransfer.errors import SampleError
from skltransfer.testing import noise_images
from tests.graphs import save_images

PICTURES = noise_images(10)
TARGET = np.arange(10) % 2


@pytest.fixture
def embedder(tmp_path):
    return PretrainedEmbedder(save_images(tmp_path))


@pytest.fixture
def pipeline(embedder):
    return Pipeline([("embed", embedder), ("clf", GaussianNB())])


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Pictures in files of one length, and a list of those that are read."""
    for i, picture in enumerate(PICTURES[:10]):
        Image.fromarray(picture).save(tmp_path / f"{i}.bmp")
    read = []
    real = images.read
    monkeypatch.setattr(ImagePreparer, "read", staticmethod(lambda file: read.append(file) or real(file)))
    monkeypatch.setattr(process._files, "SETTLED", 0)
    return sorted(tmp_path.glob("*.bmp")), read


def test_files_are_read_once_whatever_the_number_of_folds(pipeline, files):
    GridSearchCV(pipeline, {"clf__var_smoothing": [1e-9, 1e-6]}, cv=2).fit(files[0], TARGET[:10])
    assert sorted(files[1]) == files[0]


def test_file_that_is_rewritten_is_another_sample_even_with_its_old_length_and_time(embedder, files):
    before = embedder.transform(files[0])
    status = files[0][0].stat()
    files[0][0].write_bytes(files[0][1].read_bytes())
    os.utime(files[0][0], ns=(status.st_atime_ns, status.st_mtime_ns))
    after = embedder.transform(files[0])
    np.testing.assert_array_equal(after[0], before[1])
    np.testing.assert_array_equal(after[1:], before[1:])


def test_file_that_has_just_changed_is_read_again(embedder, files, monkeypatch):
    monkeypatch.setattr(process._files, "SETTLED", 3600 * 10**9)
    embedder.transform(files[0]), embedder.transform(files[0])
    assert len(files[1]) == 20


def test_file_that_changes_after_it_was_looked_at_is_a_named_error(embedder, files, monkeypatch):
    monkeypatch.setattr(ImagePreparer, "glance", staticmethod(lambda file: b"another content!"))
    with pytest.raises(SampleError, match=r"sample 0 .*0\.bmp.*changed while it was being embedded"):
        embedder.transform(files[0][:1])


def test_digests_of_files_are_bounded(embedder, files, monkeypatch):
    monkeypatch.setattr(_read._digests, "most", 3)
    embedder.transform(files[0])
    assert len(_read._digests) == 3
