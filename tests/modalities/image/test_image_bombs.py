"""Files that are built to cost time or memory are named, or embedded, at little cost."""

import contextlib
import json
import subprocess
import sys
import time
import zlib

import numpy as np
import pytest

from skltransfer import PretrainedEmbedder, testing
from skltransfer._engine.modalities import image as images
from skltransfer._engine.modalities.image import _apart, _decode, _deflate, _limits
from skltransfer.cards import ImageSpec
from skltransfer.errors import BadSamplesWarning, SampleError, Unreadable
from tests.bombs import BOMBS, _jpeg, _others, _tiff, build
from tests.modalities.image.support import PHOTO, encoded, pixels, refusal
from tests.paths import ROOT

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # Pillow's own, on damaged tags

#: Each kind of part, a file that has too many, and the words it is refused with.
REFUSED = {
    "jpeg empty scans": "24,101 scans, more than the 64",
    "jpeg fill bytes": "1,000,000 bytes between segments, more than the 65,536",
    "jpeg fill before end": "65,537 bytes between segments",
    "jpeg comments": "at least 2,001 segments, more than the 2,000",
    "png chunks": "at least 50,001 chunks, more than the 50,000",
    "png empty blocks": "bytes of compressed pixels beyond what the pixels can need",
    "gif comment": "at least 20,001 blocks, more than the 20,000",
    "gif padding": "bytes between blocks",
    "webp chunks": "at least 50,001 chunks",
    "webp canvas": "has 49,000,000 pixels; of this format, whose decoder takes more memory, 25,000,000 are allowed",
    "bmp line": "49,000,000 pixels in a row of runs, more than the 65,536",
    "tiff overlapping tags": "bytes of tags that lie on each other",
    "tiff strips": "125,000 strips or tiles, more than the 100,000",
    "tiff shared strips": "bytes of strips that lie on each other",
    "tiff JPEG scans": "24,100 scans, more than the 64",
    "tiff thin": "has 49,000,000 rows, more than the 8,200,000 that are decoded",
    "tiff exabytes": "at least 1,001 tags, more than the 1,000",
}


def test_there_are_many_kinds():
    assert len(BOMBS) >= 40
    assert len({kind.split()[0] for kind in BOMBS}) == 6


@pytest.mark.parametrize("kind", REFUSED)
def test_file_of_too_many_parts_is_refused_with_count_and_limit(kind):
    assert REFUSED[kind] in refusal(BOMBS[kind].build(BOMBS[kind].sizes[0]))


@pytest.mark.parametrize("kind", BOMBS)
def test_built_file_is_named_or_embedded_quickly(kind):
    data, start = BOMBS[kind].build(BOMBS[kind].sizes[0]), time.process_time()
    with contextlib.suppress(Unreadable):
        assert pixels(data, ImageSpec((32, 32), "shorter", 36)).shape == (32, 32, 3)
    assert time.process_time() - start < 2


#: Prepares each file it is given the path of; prints the MB that this took beyond what the process had before.
MEASURE = """
import json, sys, warnings
from skltransfer._engine.modalities import image as images
from skltransfer.cards import ImageSpec
from skltransfer.errors import Unreadable
def status(field):
    return int(next(line for line in open("/proc/self/status") if line.startswith(field)).split()[1]) / 1024
warnings.simplefilter("ignore")
spec = ImageSpec((224, 224), *json.loads(sys.argv[1]))
images.prepare(images.read(images.photographs([(99, 99)])[0]), spec)
before = status("VmRSS")
for path in sys.argv[2:]:
    try:
        images.prepare(images.read(path), spec)
    except Unreadable as err:
        print(err, file=sys.stderr)
print(status("VmHWM") - before)
"""


def megabytes(paths, *fields) -> float:
    """Measure how much memory it takes to prepare files one after another, in a process of its own."""
    command = [sys.executable, "-c", MEASURE, json.dumps(fields or ("shorter", 256)), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return float(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("large", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_built_files_take_little_memory(tmp_path, large):
    for kind, data in build(large=large):
        (tmp_path / kind).write_bytes(data)
    assert megabytes(sorted(tmp_path.iterdir())) < 300


@pytest.mark.slow
@pytest.mark.parametrize("kind", BOMBS)
def test_largest_file_is_named_or_embedded_quickly(kind):
    data, start = BOMBS[kind].build(BOMBS[kind].sizes[-1]), time.process_time()
    with contextlib.suppress(Unreadable):
        assert pixels(data, ImageSpec((32, 32), "shorter", 36)).shape == (32, 32, 3)
    assert time.process_time() - start < 2.5


def test_pictures_beside_built_files_keep_their_rows(tmp_path):
    embedder = PretrainedEmbedder(testing.save_backbone(testing.image_backbone(), tmp_path), n_jobs=2)
    good = [encoded(PHOTO + i) for i in range(4)]
    bad = [_jpeg.empty_scans(241_000), _others.png_chunks(1_000_000), _tiff.shared_strips(100_000)]
    mixed = [good[0], bad[0], good[1], bad[1], good[2], bad[2], good[3]]
    with pytest.raises(SampleError, match=r"^sample 1: holds 24,101 scans, more than the 64"):
        embedder.transform(mixed)
    embedder.set_params(on_error="nan", cache=None)
    with pytest.warns(BadSamplesWarning, match="^3 rows are NaN: sample 1: holds"):
        rows = embedder.transform(mixed)
    assert np.isnan(rows[1::2]).all()
    np.testing.assert_array_equal(rows[::2], embedder.transform(good))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_file_that_ends_anywhere_is_counted_without_error(kind):
    data = encoded(PHOTO[:9, :9], kind)
    for length in range(len(data)):
        _limits.check(data[:length], 50_000_000)


@pytest.mark.parametrize("options", [{"compression": c} for c in (None, "tiff_lzw", "tiff_adobe_deflate", "jpeg")])
@pytest.mark.parametrize("big", [False, True])
def test_ordinary_tiff_is_not_refused(options, big):
    assert pixels(encoded(PHOTO, "TIFF", big_tiff=big, **options)).shape == (8, 8, 3)


@pytest.mark.parametrize("build", [_others.png_random_blocks, _tiff.large_random_deflate])
def test_deflated_data_without_pixels_get_no_time_for_their_size(build, monkeypatch):
    monkeypatch.setattr(_deflate, "WASTE", 0.04)  # 4 MB take a fast machine less than what is allowed
    assert _limits.check(build(_limits.QUICK + 1_000), 50_000_000).hurried


@pytest.mark.parametrize("end", [b"", b"damaged"])
def test_data_behind_pixels_are_judged_by_themselves(end, monkeypatch):
    monkeypatch.setattr(_deflate, "WASTE", 0.04)
    pixels = zlib.compress(np.random.default_rng(0).bytes(4_000_000))
    assert not _deflate.stalls([[memoryview(pixels), memoryview(end)]])
    assert _deflate.stalls([[memoryview(pixels)], [memoryview(_tiff.random_blocks(4_000_000))]])


def test_large_png_of_pixels_keeps_the_time_for_its_size():
    noise = np.random.default_rng(0).integers(0, 256, (3200, 4000, 3), np.uint8)
    assert not _limits.check(encoded(noise, "PNG", compress_level=1), 50_000_000).hurried


def test_runs_of_a_small_bmp_are_read():
    data = _others.bmp((2, 2), 1, b"\2\7\0\0\2\x09\0\1")
    assert pixels(data, ImageSpec((2, 2), "squash"))[..., 0].tolist() == [[9, 9], [7, 7]]


def test_decoder_that_reads_for_too_long_is_ended(monkeypatch):
    monkeypatch.setattr(_decode, "SECONDS", 0.0)
    monkeypatch.setattr(_decode, "SECONDS_A_MEGAPIXEL", 0.0)
    assert "takes longer to decode than the 0.0 s of processor time" in refusal(encoded(PHOTO, "JPEG"))


SPEC = ImageSpec((24, 20), "shorter", 28, draft=True)


@pytest.mark.parametrize("kind", ["WEBP", "TIFF", "JPEG"])
def test_file_that_is_decoded_apart_gives_the_same_pixels(kind):
    data = encoded(PHOTO, kind)
    np.testing.assert_array_equal(_apart.prepare(data, SPEC)[0], pixels(data, SPEC))


def test_reason_of_a_file_that_is_decoded_apart_comes_back():
    whole = encoded(PHOTO, "WEBP")
    with pytest.raises(Unreadable, match="begins like a WEBP and is cut short"):
        _apart.prepare(whole[:-30], SPEC)


def test_file_that_takes_too_long_apart_is_named(monkeypatch):
    monkeypatch.setattr(_apart, "START", -100.0)
    with pytest.raises(Unreadable, match=r"takes longer to decode than .*status None"):
        _apart.prepare(encoded(PHOTO, "TIFF"), SPEC)


def test_long_file_that_nothing_can_stop_is_decoded_apart(monkeypatch):
    monkeypatch.setattr(_limits, "STOPPABLE", 1000)
    monkeypatch.setattr(_apart, "prepare", lambda data, spec, *, hurried, **_: [hurried])
    for kind, options in {"WEBP": {"lossless": True}, "TIFF": {"compression": "tiff_adobe_deflate"}}.items():
        assert images.prepare(images.read(encoded(PHOTO, kind, **options)), SPEC) is False
