"""Images per second on one device: ours, a loop by hand with IO binding, and PyTorch with the same weights.

Usage: ``python tests/bench/gpu.py [--device cuda] [--model resnet50] [--number 4096] [--batch 256] [--rounds 5]``

The images are decoded uint8 arrays in memory, of the size the network takes: what is timed is the way to the device,
the network and the way back. The network is timm's, with random weights that are the same for all; it is converted by
`skltransfer.convert`, which refuses it unless the two agree. All take turns, round after round; ratios are taken within
a round, and their median is printed, with card, driver and date. Needs ``pip install 'skltransfer[convert]'``; on a
machine without a GPU, ``--device cpu --number 64 --batch 8`` tries the script itself, and says nothing of GPUs.
"""

from __future__ import annotations

import argparse
import datetime
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from skltransfer import PretrainedEmbedder, catalog, convert, graph, hub, load_card, runtime, variants
from skltransfer.cards import Card

Way = Callable[[], np.ndarray]


def ours(card: Card, images: np.ndarray, device: str, precision: str, batch: int | str) -> Way:
    """Embed as a user would."""
    embedder = PretrainedEmbedder(card, device=device, precision=precision, batch_size=batch, cache=None)
    return lambda: embedder.transform(images)


def by_hand(card: Card, images: np.ndarray, device: runtime.Device, precision: str, batch: int) -> Way:
    """Loop over batches with buffers that stay on the device: the same graph, nothing around it."""
    plan, _ = catalog.plan(variants.find(card, precision, device), device)
    model = graph.load(hub.fetch(plan.card), plan.card.manifest)
    built = graph.build(model, plan.recipe.input, plan.recipe.layers, pool=plan.recipe.pool, normalize=False)
    ort = runtime.import_onnxruntime()
    place = ("cpu" if device.kind == "cpu" else "cuda", device.index)
    providers = [(name, {"device_id": str(device.index)}) for name in runtime.PROVIDERS[device.kind][:-1]]
    session = ort.InferenceSession(built.SerializeToString(), providers=[*providers, "CPUExecutionProvider"])
    inside = ort.OrtValue.ortvalue_from_shape_and_type((batch, *images.shape[1:]), np.uint8, *place)
    binding = session.io_binding()
    binding.bind_ortvalue_input(graph.INPUT, inside)
    binding.bind_output(graph.OUTPUT, *place)

    def run() -> np.ndarray:
        rows = []
        for start in range(0, len(images), batch):
            inside.update_inplace(images[start : start + batch])
            session.run_with_iobinding(binding)
            rows.append(np.array(binding.copy_outputs_to_cpu()[0]))
        return np.concatenate(rows)

    return run


def pytorch(model: Any, card: Card, images: np.ndarray, device: runtime.Device, batch: int, *, compiled: bool) -> Way:
    """Run the network in half precision (float32 on a CPU), pixels scaled on the device, too."""
    import torch

    place = torch.device("cpu" if device.kind == "cpu" else f"cuda:{device.index}")
    kind = torch.float32 if device.kind == "cpu" else torch.float16
    spec: Any = card.input
    mean, std = (torch.tensor(x, dtype=kind, device=place).view(1, 3, 1, 1) for x in (spec.mean, spec.std))
    net = model.to(place, kind).eval()

    def forward(pixels: Any) -> Any:
        scaled = (pixels.permute(0, 3, 1, 2).to(kind) * (spec.range / 255) - mean) / std
        return net.forward_head(net.forward_features(scaled), pre_logits=True).flatten(1)

    step = torch.compile(forward) if compiled else forward

    def run() -> np.ndarray:
        with torch.inference_mode():
            batches = (torch.from_numpy(images[i : i + batch]).to(place) for i in range(0, len(images), batch))
            return np.concatenate([step(pixels).float().cpu().numpy() for pixels in batches])

    return run


def machine(device: runtime.Device) -> str:
    """Name the card and its driver."""
    if device.kind == "cpu":
        return "no GPU: this says nothing of one"
    query = ["nvidia-smi", f"--id={device.index}", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    return subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip()


def measure(ways: dict[str, Way], rounds: int) -> dict[str, np.ndarray]:
    """Give the seconds of every round, after one that warms up and is compared."""
    rows = {name: way() for name, way in ways.items()}
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


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--number", type=int, default=4096)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--compiled", action="store_true", help="also torch.compile, which takes minutes")
    args = parser.parse_args()
    import timm
    import torch

    device = runtime.resolve(args.device)
    torch.manual_seed(0)
    model = timm.create_model(args.model).eval()
    with tempfile.TemporaryDirectory() as folder:
        path = convert.convert("timm", model, Path(folder) / args.model)
        card = load_card(path, resize="squash")
        spec: Any = card.input
        images = np.random.default_rng(0).integers(0, 256, (args.number, *spec.size, 3), np.uint8)
        half = "fp16" if device.kind != "cpu" else "auto"
        ways: dict[str, Way] = {
            f"skltransfer, {half}": ours(card, images, args.device, half, args.batch),
            f"skltransfer, {half}, batch_size='auto'": ours(card, images, args.device, half, "auto"),
            "skltransfer, as exported": ours(card, images, args.device, "auto", args.batch),
            f"loop by hand, IO binding, {half}": by_hand(card, images, device, half, args.batch),
            "PyTorch eager, same weights": pytorch(model, card, images, device, args.batch, compiled=False),
        }
        if args.compiled:
            ways["PyTorch compiled"] = pytorch(model, card, images, device, args.batch, compiled=True)
        seconds = measure(ways, args.rounds)
    print(f"{datetime.date.today()}, {machine(device)}, {args.model}, {args.number} images, batches of {args.batch}\n")
    print("| who | images/s | skltransfer is faster by |\n|---|---|---|")
    first = next(iter(seconds.values()))
    for name, times in seconds.items():
        print(f"| {name} | {args.number / times.min():.0f} | {np.median(times / first):.2f} |")


if __name__ == "__main__":
    main()
