"""A source that hands out one buffer again and again, as a camera does, gives as many different samples."""

import numpy as np
import pytest

from skltransfer import PretrainedEmbedder, testing
from skltransfer._engine.samples import unpack
from tests.graphs import save_images

FRAMES = testing.noise_images(200)
ROWS = testing.image_rows(FRAMES)


def camera(kind=np.ndarray):
    """Yield frames in one buffer, as OpenCV's ``read(buffer)`` fills it."""
    buffer = np.empty_like(FRAMES[0])
    for frame in FRAMES:
        buffer[:] = frame
        yield buffer


class Video:
    """A container with a length that decodes into one buffer."""

    def __len__(self):
        return len(FRAMES)

    def __iter__(self):
        return camera()


@pytest.mark.parametrize(
    "source", [camera, Video, lambda: map(np.asarray, camera())], ids=["generator", "video", "map"]
)
@pytest.mark.parametrize("kept", ["memory", None])
def test_every_frame_has_its_own_row(tmp_path, source, kept):
    embedder = PretrainedEmbedder(save_images(tmp_path), layer="embedding", cache=kept, n_jobs=2)
    np.testing.assert_allclose(embedder.transform(source()), ROWS, rtol=1e-5)
    honest = embedder.transform(FRAMES)
    np.testing.assert_allclose(honest, ROWS, rtol=1e-5)


def test_encoded_bytes_in_one_buffer_are_copied():
    def packets():
        buffer = bytearray(b"....")
        for i in range(5):
            buffer[:] = b"%04d" % i
            yield buffer
            yield memoryview(buffer)

    assert [*unpack(packets()).items] == [b"%04d" % (i // 2) for i in range(10)]


def test_lists_and_arrays_are_not_copied():
    assert all(given is taken for given, taken in zip(FRAMES, unpack(FRAMES).items, strict=True))
    stack = np.stack(FRAMES)
    assert unpack(stack).items is stack
