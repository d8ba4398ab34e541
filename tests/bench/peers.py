"""One way of embedding a list of image files, timed in a process of its own.

Usage: ``python peers.py PEER FOLDER LIST [ROUNDS]``. FOLDER holds ``model.onnx``, whose first output is the pooled
embedding of float32 (n, 3, 224, 224) scaled to -1..1, and its ``model.card.json``; LIST is a file with one path a line.
Prints one line of JSON. `images.py` beside this file calls it.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np

Embed = Callable[[Sequence[str]], np.ndarray]


def pixels(path: str) -> np.ndarray:
    """Read a file as the card says: upright is ignored, as every hand-written loop ignores it."""
    from PIL import Image

    image = Image.open(path).convert("RGB")
    scale = 256 / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    left, top = (image.width - 224) // 2, (image.height - 224) // 2
    return np.asarray(image.crop((left, top, left + 224, top + 224)))


def scaled(batch: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray((batch.astype(np.float32) / 127.5 - 1).transpose(0, 3, 1, 2))


def session(folder: str, threads: int = 0):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    opened = onnxruntime.InferenceSession(f"{folder}/model.onnx", options, providers=["CPUExecutionProvider"])
    name = opened.get_inputs()[0].name
    return lambda batch: opened.run(None, {name: batch})[0]


def naive(folder: str) -> Embed:
    """What a first script does: a loop, batch 1, the runtime's default threads."""
    run = session(folder)
    return lambda paths: np.concatenate([run(scaled(pixels(path)[None])) for path in paths])


def queue(folder: str) -> Embed:
    """Decoders in threads, batches of 16 on one session that has every core."""
    run, pool = session(folder), ThreadPoolExecutor(os.cpu_count())

    def embed(paths: Sequence[str]) -> np.ndarray:
        batches = [paths[i : i + 16] for i in range(0, len(paths), 16)]
        ready = pool.map(lambda batch: scaled(np.stack([pixels(path) for path in batch])), batches)
        return np.concatenate([run(batch) for batch in ready])

    return embed


def workers(folder: str) -> Embed:
    """The best loop by hand: every thread decodes and runs its own batch of 4 on one shared one-thread session."""
    run, pool = session(folder, threads=1), ThreadPoolExecutor(os.cpu_count())

    def work(batch: Sequence[str]) -> np.ndarray:
        return run(scaled(np.stack([pixels(path) for path in batch])))

    return lambda paths: np.concatenate(list(pool.map(work, [paths[i : i + 4] for i in range(0, len(paths), 4)])))


def skltransfer(folder: str) -> Embed:
    from skltransfer import PretrainedEmbedder

    return PretrainedEmbedder(f"{folder}/model.onnx", cache=None, device="cpu").fit_transform


def skltransfer_int8(folder: str) -> Embed:
    """Eight bits, converted at first use and compared with the original: rows are near, not equal."""
    from skltransfer import PretrainedEmbedder

    return PretrainedEmbedder(folder, cache=None, device="cpu", precision="int8").fit_transform


def skltransfer_cached(folder: str) -> Embed:
    """The default: samples are fingerprinted and rows kept; the cache is emptied before every pass."""
    from skltransfer import PretrainedEmbedder
    from skltransfer._engine import cache

    embedder = PretrainedEmbedder(f"{folder}/model.onnx", device="cpu")

    def embed(paths: Sequence[str]) -> np.ndarray:
        cache.memory.clear()
        return embedder.fit_transform(paths)

    return embed


def fastembed(folder: str) -> Embed:
    from fastembed import ImageEmbedding

    model = ImageEmbedding("Qdrant/resnet50-onnx", specific_model_path=folder)
    return lambda paths: np.array(list(model.embed(paths)))


def timm(folder: str) -> Embed:
    """PyTorch with a DataLoader of two workers; the architecture of the graph, random weights."""
    import timm
    import torch
    from PIL import Image
    from timm.data import create_transform, resolve_data_config

    model = timm.create_model("mobilenetv2_100", pretrained=False, num_classes=0).eval()
    transform = create_transform(**resolve_data_config({}, model=model))

    class Files(torch.utils.data.Dataset):
        def __init__(self, paths: Sequence[str]) -> None:
            self.paths = paths

        def __len__(self) -> int:
            return len(self.paths)

        def __getitem__(self, i: int):
            return transform(Image.open(self.paths[i]).convert("RGB"))

    def embed(paths: Sequence[str]) -> np.ndarray:
        with torch.inference_mode():
            batches = torch.utils.data.DataLoader(Files(paths), batch_size=32, num_workers=2)
            return np.concatenate([model(batch).numpy() for batch in batches])

    return embed


def embetter(folder: str) -> Embed:
    import embetter.vision._torchvis as vision
    import timm
    from embetter.vision import ImageLoader, TimmEncoder
    from sklearn.pipeline import make_pipeline

    real = timm.create_model
    vision.timm.create_model = lambda name, pretrained=True, **kw: real(name, pretrained=False, **kw).eval()
    return make_pipeline(ImageLoader(), TimmEncoder("mobilenetv2_100")).fit_transform


OURS = (skltransfer, skltransfer_int8, skltransfer_cached)
PEERS = {f.__name__: f for f in (*OURS, workers, queue, naive, fastembed, timm, embetter)}


def cpu_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def main(peer: str, folder: str, listing: str, rounds: str = "1") -> None:
    with open(listing, encoding="utf8") as file:
        paths = file.read().split("\n")
    start = time.perf_counter()
    embed = PEERS[peer](folder)
    embed(paths[:1])
    first_row = time.perf_counter() - start
    embed(paths[:32])
    wall, cpu = time.perf_counter(), cpu_seconds()
    for _ in range(int(rounds)):
        rows = embed(paths)
    wall, cpu = time.perf_counter() - wall, cpu_seconds() - cpu
    n = len(paths) * int(rounds)
    figures = {"images_per_s": n / wall, "cpu_ms": 1000 * cpu / n, "first_row_s": first_row, "columns": rows.shape[1]}
    figures["rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(figures))


if __name__ == "__main__":
    main(*sys.argv[1:])
