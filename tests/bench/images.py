"""Images per second, CPU milliseconds per image and memory: ours against loops by hand and against peers.

Usage: ``python tests/bench/images.py [--model NAME.onnx] [--images FOLDER] [--number 400] [--rounds 5] [--peers a,b]``

Every peer runs in a process of its own, in turn, round after round; a ratio is taken within a round and the median of
the rounds is printed, because a machine's speed drifts more than the peers differ. Peers that are not installed are
left out and named. The graph takes 224 x 224 pixels scaled to -1..1; by default it is the MobileNet V2, and the files
the photographs, of a folder ``shared`` beside the repository.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import onnx

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
HERE = Path(__file__).resolve().parent
NEEDS = {"fastembed": "fastembed", "timm": "timm", "embetter": "embetter"}
ORDER = (
    "skltransfer",
    "skltransfer_int8",
    "skltransfer_cached",
    "workers",
    "queue",
    "naive",
    "fastembed",
    "timm",
    "embetter",
)


def make_folder(graph: Path, tensor: str, folder: Path) -> None:
    """Write the graph with the embedding as its one output, its card, and what fastembed wants beside it."""
    from skltransfer import load_card
    from skltransfer._engine import golden

    model = onnx.load(str(graph))
    value = next(v for v in (*model.graph.output, *model.graph.value_info) if v.name == tensor)
    kept = type(value).FromString(value.SerializeToString())
    del model.graph.output[:]
    model.graph.output.append(kept)
    used = onnx.utils.Extractor(model).extract_model([i.name for i in model.graph.input], [tensor])
    onnx.save(used, str(folder / "model.onnx"))
    card = load_card(folder / "model.onnx", preset="inception", resize_to=256, interpolation="bicubic")
    golden.write_card(card)
    processor = {
        "do_resize": True,
        "size": {"shortest_edge": 256},
        "resample": 3,
        "do_center_crop": True,
        "crop_size": {"height": 224, "width": 224},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
        "image_processor_type": "CLIPImageProcessor",
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))


def measure(peer: str, folder: Path, listing: Path) -> dict[str, float]:
    """Run one peer once."""
    command = [sys.executable, str(HERE / "peers.py"), peer, str(folder), str(listing)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{peer} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def table(figures: dict[str, list[dict[str, float]]]) -> list[str]:
    """Format medians, and the ratio of ours to each peer, round by round."""
    lines = [
        "| who | images/s | CPU ms per image | peak MB | first row s | ours is faster by | ours takes of its CPU |"
    ]
    lines.append("|---|---|---|---|---|---|---|")
    ours = figures["skltransfer"]
    for peer, rounds in figures.items():
        middle = {key: statistics.median(r[key] for r in rounds) for key in rounds[0]}
        speed = statistics.median(o["images_per_s"] / r["images_per_s"] for o, r in zip(ours, rounds, strict=True))
        cpu = statistics.median(o["cpu_ms"] / r["cpu_ms"] for o, r in zip(ours, rounds, strict=True))
        kinds = {"images_per_s": ".0f", "cpu_ms": ".1f", "rss_mb": ".0f", "first_row_s": ".2f"}
        cells = " | ".join(format(middle[key], kind) for key, kind in kinds.items())
        lines.append(f"| {peer} | {cells} | {speed:.2f} | {cpu:.2f} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=Path, default=SHARED / "models" / "mobilenet_v2_1.0_224.onnx")
    parser.add_argument("--tensor", default="embedding")
    parser.add_argument("--images", type=Path, default=SHARED / "data" / "clothing_small")
    parser.add_argument("--number", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", default=",".join(ORDER))
    given = parser.parse_args()
    peers = given.peers.split(",")
    absent = [p for p in peers if p in NEEDS and importlib.util.find_spec(NEEDS[p]) is None]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make_folder(given.model, given.tensor, folder)
        paths = sorted(p for p in given.images.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
        (folder / "list").write_text("\n".join(map(str, paths[: given.number])))
        figures: dict[str, list[dict[str, float]]] = {p: [] for p in peers if p not in absent}
        for _ in range(given.rounds):
            for peer in figures:
                figures[peer].append(measure(peer, folder, folder / "list"))
        shutil.rmtree(folder / "cache", ignore_errors=True)
    print("\n".join(table(figures)))
    print(f"\n{given.model.name}, {min(given.number, len(paths))} files, median of {given.rounds} rounds.")
    if absent:
        print(f"Not installed, left out: {', '.join(absent)}.")


if __name__ == "__main__":
    main()
