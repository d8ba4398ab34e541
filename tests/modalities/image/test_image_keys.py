"""Keys of images follow their content; the pictures a backbone is probed with."""

import os

import numpy as np
import pytest
from PIL import Image

from skltransfer._engine.modalities import image as images
from skltransfer.cards import ImageSpec
from tests.modalities.image.support import NOISE, encoded


def digest(sample):
    return images.read(sample).digest()


def test_fingerprint_is_that_of_the_content(file, tmp_path):
    (tmp_path / "copy.jpg").write_bytes(file.read_bytes())
    os.utime(tmp_path / "copy.jpg", (0, 0))
    assert digest(file) == digest(tmp_path / "copy.jpg") == digest(file.read_bytes())
    assert digest(NOISE) == digest(np.asfortranarray(NOISE)) == digest(Image.fromarray(NOISE))


def test_fingerprints_of_other_contents_differ(file):
    samples = [file, NOISE, NOISE[::-1], NOISE.reshape(4, 16, 3), NOISE.reshape(16, 4, 3), NOISE.tobytes(), b""]
    assert len({digest(sample) for sample in samples}) == len(samples)
    assert {len(digest(sample)) for sample in samples} == {16}


def test_fingerprint_of_a_picture_turned_by_its_exif_data_differs():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert digest(encoded(NOISE)) != digest(encoded(NOISE, exif=exif.tobytes()))


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (224, 160), (4096, 3)])
def test_probe_pictures_are_three_that_differ(size):
    three = images.probe(ImageSpec(size, "squash"))
    assert (three.shape, three.dtype) == ((3, *size, 3), np.uint8)
    assert len({picture.tobytes() for picture in three}) == 3


def test_probe_pictures_are_the_same_on_every_machine():
    three = images.probe(ImageSpec((8, 8), "squash"))
    assert three.sum(axis=(1, 2)).tolist() == [[7112, 7112, 8192], [0, 12800, 0], [2742, 3242, 3394]]
