"""The command `probe`: a linear probe on the embeddings, and the time of an image."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort
from PIL import Image

from distill_vision.student import PIXEL_MEAN, PIXEL_STD
from distill_vision.teachers import batches


def squash(image: Image.Image, size: int) -> Image.Image:
    """Resize the whole image to a square, whatever its proportions."""
    return image.resize((size, size), Image.Resampling.BILINEAR)


def centre_crop(image: Image.Image, size: int) -> Image.Image:
    """Resize the shorter side to `size` and cut the square in the middle."""
    width, height = image.size
    side = min(width, height)
    x, y = (width - side) / 2, (height - side) / 2
    return image.resize((size, size), Image.Resampling.BILINEAR, box=(x, y, x + side, y + side))


def padded_crop(image: Image.Image, size: int) -> Image.Image:
    """Cut the middle after resizing the shorter side to 8/7 of `size`, as ImageNet models do."""
    larger = round(size * 8 / 7)
    edge = (larger - size) / 2
    square = centre_crop(image, larger)
    return square.crop((round(edge), round(edge), round(edge) + size, round(edge) + size))


#: Ways to a square, by the name that is printed.
RULES: dict[str, Callable[[Image.Image, int], Image.Image]] = {
    "squash": squash,
    "centre": centre_crop,
    "padded": padded_crop,
}


def load_arrays(folder: Path, part: str) -> tuple[list[Image.Image], np.ndarray]:
    """Return the images and labels of PART.npz."""
    data = np.load(folder / f"{part}.npz")
    return [Image.fromarray(image) for image in data["images"]], data["labels"]


def load_photographs(folder: Path, part: str) -> tuple[list[Image.Image], np.ndarray]:
    """Return the images of PART/CLASS/*.jpg and their classes."""
    files = sorted((folder / part).glob("*/*.jpg"))
    return [Image.open(f).convert("RGB") for f in files], np.array([f.parent.name for f in files])


def open_session(path: Path, threads: int) -> tuple[ort.InferenceSession, int]:
    """Return a session and the side of its input."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session, session.get_inputs()[0].shape[2]


def embed(session: ort.InferenceSession, squares: Sequence[Image.Image]) -> np.ndarray:
    """Return the embeddings of images that have the input's size."""
    array = np.stack([np.asarray(square, np.float32) for square in squares])
    pixels = np.ascontiguousarray(((array - PIXEL_MEAN) / PIXEL_STD).transpose(0, 3, 1, 2))
    return np.concatenate(
        [session.run(["embedding"], {"pixel_values": pixels[rows]})[0] for rows in batches(len(pixels), 32)]
    )


def score(session: ort.InferenceSession, size: int, parts: list[tuple], rule: str) -> float:
    """Return the test accuracy of a linear probe on the embeddings."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    (train_x, test_x) = (embed(session, [RULES[rule](image, size) for image in images]) for images, _ in parts)
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
    return classifier.fit(train_x, parts[0][1]).score(test_x, parts[1][1])


def time_per_image(path: Path, batch: int = 4, repeats: int = 60) -> float:
    """Return the milliseconds of one image on one thread, the best of several runs."""
    session, size = open_session(path, threads=1)
    pixels = np.random.default_rng(0).uniform(-1, 1, (batch, 3, size, size)).astype(np.float32)
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        session.run(["embedding"], {"pixel_values": pixels})
        times.append(time.perf_counter() - start)
    return 1000 * min(times) / batch


def probe(args: argparse.Namespace) -> None:
    """Print the accuracy of a linear probe on two kinds of data, and the time of an image."""
    session, size = open_session(args.model, threads=args.threads)
    if args.arrays:
        parts = [load_arrays(args.arrays, part) for part in ("train", "test")]
        print(f"{args.arrays.name}, squash: {score(session, size, parts, 'squash'):.3f}")
    if args.photographs:
        parts = [load_photographs(args.photographs, part) for part in ("train", "test")]
        for rule in RULES:
            name = f"{args.photographs.name}, {rule}"
            print(f"{name}: {score(session, size, parts, rule):.3f}")
    print(f"{time_per_image(args.model):.2f} ms per image at {size} px, one thread")


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add the command `probe`."""
    parser = commands.add_parser("probe", help="measure an exported student")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--arrays", type=Path, help="folder of train.npz and test.npz")
    parser.add_argument("--photographs", type=Path, help="folder of PART/CLASS/*.jpg")
    parser.add_argument("--threads", type=int, default=1)
    parser.set_defaults(command=probe)
