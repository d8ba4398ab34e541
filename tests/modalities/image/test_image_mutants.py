"""Damaged files are read or refused, quickly, and closed."""

import contextlib
import os
import random
import time
import warnings

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from skltransfer.cards import ImageSpec
from skltransfer.errors import Unreadable
from tests.modalities.image.support import PHOTO, encoded, pixels, refusal

ZOO = {
    "jpeg": encoded(PHOTO, "JPEG"),
    "progressive": encoded(PHOTO, "JPEG", progressive=True, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0"),
    "cmyk": encoded(Image.fromarray(PHOTO).convert("CMYK"), "JPEG"),
    "png": encoded(PHOTO),
    "palette": encoded(Image.fromarray(PHOTO).quantize(32), "PNG"),
    "16 bit": encoded((PHOTO[..., 0].astype(np.uint16) * 257), "PNG"),
    "alpha": encoded(np.dstack([PHOTO, PHOTO[..., 0]]), "WEBP"),
    "webp": encoded(PHOTO, "WEBP"),
    "gif": encoded(Image.fromarray(PHOTO), "GIF", save_all=True, append_images=[Image.fromarray(PHOTO[::-1])]),
    "bmp": encoded(PHOTO, "BMP"),
    "tiff": encoded(PHOTO, "TIFF"),
    "lzw": encoded(PHOTO, "TIFF", compression="tiff_lzw"),
    "text": encoded(
        PHOTO, pnginfo=(lambda info: (info.add_text("a", "b" * 99, zip=True), info)[1])(PngImagePlugin.PngInfo())
    ),
}


def mutant(seed: int) -> bytes:
    """Damage a file of the zoo: bytes changed, a piece cut out, doubled or replaced by noise."""
    dice = random.Random(seed)
    data = bytearray(ZOO[dice.choice(sorted(ZOO))])
    for _ in range(dice.choice([1, 1, 1, 2, 5, 20])):
        at, length = dice.randrange(min(len(data), dice.choice([64, 10**6]))), dice.choice([1, 1, 1, 2, 4, 100])
        piece = data[at : at + length]
        data[at : at + length] = dice.choice([b"", piece * 2, dice.randbytes(len(piece)), b"\xff" * len(piece)])
    return bytes(data) or b"\0"


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning")  # Pillow's own
@pytest.mark.parametrize(
    "seeds",
    [*(range(i, i + 50) for i in range(0, 500, 50)), pytest.param(range(500, 10_000), marks=pytest.mark.slow)],
    ids=str,
)
def test_mutants_are_read_or_refused_quickly(seeds):
    spec = ImageSpec((32, 32), "shorter", 36)
    for seed in seeds:
        data, start = mutant(seed), time.process_time()
        with contextlib.suppress(Unreadable):
            assert pixels(data, spec).shape == (32, 32, 3)
        assert time.process_time() - start < 2, seed


def test_some_mutants_are_still_read_and_some_are_not():
    readable = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for seed in range(100):
            with contextlib.suppress(Unreadable):
                readable += len(pixels(mutant(seed))) > 0
    assert 20 <= readable <= 80


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda p: os.symlink("/dev/null", p)])
def test_refused_files_are_closed(tmp_path, make):
    make(tmp_path / "a.jpg")
    before = set(os.listdir("/proc/self/fd"))
    refusal(tmp_path / "a.jpg")
    assert set(os.listdir("/proc/self/fd")) == before
