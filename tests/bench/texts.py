"""Texts per second, CPU milliseconds per text and memory: ours against loops by hand and against peers.

Usage: ``python tests/bench/texts.py --model CARD_FOLDER [--graph FILE.onnx] [--source CHECKPOINT] [--texts A.csv ...]
[--number 400] [--rounds 5] [--peers a,b] [--small text-mini]``

Every peer runs in a process of its own, in turn, round after round; a ratio is taken within a round and the median of
the rounds is printed, because a machine's speed drifts more than the peers differ. All take 256 tokens of a text at
most. Loops by hand and fastembed run the graph of the card folder, cut at its last hidden states; PyTorch needs the
checkpoint the card was converted from. A second table compares the small embedded backbone with the card on one core.

What is not there is left out and named. The texts are column ``text`` of CSV files; by default two sets of the
material beside the repository, one of short texts and one of long ones, else the texts of the emoji.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data" / "text"
HERE = Path(__file__).resolve().parent
NEEDS = {"fastembed": "fastembed", "sentence_transformers": "sentence_transformers"}
ORDER = (
    "skltransfer",
    "skltransfer_int8",
    "skltransfer_cached",
    "workers",
    "workers_pooled",
    "naive",
    "sentence_transformers",
    "fastembed",
)

Figures = dict[str, list[dict[str, float]]]


def make_folder(card: Path, graph: Path | None, source: Path | None, folder: Path) -> None:
    """Write what the peers take: the graph that ends at the hidden states, what fastembed wants beside it, links."""
    loop = folder / "loop"
    loop.mkdir()
    if graph is None:
        cut(card / "model.onnx", loop / "model.onnx")
    else:
        (loop / "model.onnx").symlink_to(graph.resolve())
    (loop / "tokenizer.json").symlink_to((card / "tokenizer.json").resolve())
    (loop / "config.json").write_text(json.dumps({"pad_token_id": 0}))
    (loop / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 256, "pad_token": "[PAD]"}))
    (loop / "special_tokens_map.json").write_text("{}")
    (folder / "card").symlink_to(card.resolve())
    if source is not None:
        (folder / "source").symlink_to(source.resolve())


def cut(path: Path, target: Path) -> None:
    """Make the last hidden states, ``hidden_N`` with the largest N, a graph's one output."""
    import onnx

    model = onnx.load(str(path))
    names = [value.name for value in model.graph.output if value.name.startswith("hidden_")]
    if not names:
        raise SystemExit(f"{path} has no outputs hidden_0, hidden_1, ...; give a graph that ends at them: --graph")
    last = max(names, key=lambda name: int(name.removeprefix("hidden_")))
    inputs = [value.name for value in model.graph.input]
    onnx.save(onnx.utils.Extractor(model).extract_model(inputs, [last]), str(target))


def read(path: Path, number: int) -> list[str]:
    with path.open(newline="", encoding="utf8") as file:
        return [row["text"] for row in csv.DictReader(file)][:number]


def listings(paths: Sequence[Path], number: int, folder: Path) -> dict[str, Path]:
    """Write a JSON list per set of texts, under the name of the file's folder or of the file."""
    sets = {path.parent.name if path.stem in ("train", "test") else path.stem: read(path, number) for path in paths}
    if not sets:
        from skltransfer.datasets import load_emoji

        sets = {"emoji": load_emoji().texts[:number]}
    written = {}
    for name, texts in sets.items():
        written[f"{name}, {len(texts)} texts of {statistics.mean(map(len, texts)):.0f} characters"] = folder / name
        (folder / name).write_text(json.dumps(texts), encoding="utf8")
    return written


def measure(peer: str, folder: Path, listing: Path, *options: str) -> dict[str, float]:
    """Run one peer once."""
    command = [sys.executable, str(HERE / "texts_peers.py"), peer, str(folder), str(listing), *options]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{peer} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def compare(peers: Sequence[str], folder: Path, listing: Path, rounds: int) -> tuple[Figures, dict[str, float]]:
    """Run all peers in turn; give their figures, and how far their rows are from ours: the lowest cosine."""
    figures: Figures = {peer: [] for peer in peers}
    for _ in range(rounds):
        for peer, measured in figures.items():
            measured.append(measure(peer, folder, listing, "--rows", str(folder / f"{peer}.npy")))
    rows = {peer: np.load(folder / f"{peer}.npy") for peer in peers}
    unit = {peer: row / np.linalg.norm(row, axis=1, keepdims=True) for peer, row in rows.items()}
    return figures, {peer: float((row * unit[peers[0]]).sum(1).min()) for peer, row in unit.items()}


def middle(measured: Sequence[dict[str, float]]) -> dict[str, float]:
    return {key: statistics.median(figures[key] for figures in measured) for key in measured[0]}


def ratio(ours: Sequence[dict[str, float]], theirs: Sequence[dict[str, float]], key: str) -> float:
    return statistics.median(o[key] / t[key] for o, t in zip(ours, theirs, strict=True))


def table(figures: Figures, cosines: dict[str, float]) -> list[str]:
    """Format medians, and the ratio of the first peer to each, round by round."""
    head = ("who", "texts/s", "CPU ms per text", "peak MB", "first row s")
    lines = [
        f"| {' | '.join(head)} | ours is faster by | ours takes of its CPU | lowest cosine to ours |",
        "|---" * 8 + "|",
    ]
    ours = next(iter(figures.values()))
    for peer, measured in figures.items():
        m = middle(measured)
        cells = f"{m['texts_per_s']:.0f} | {m['cpu_ms']:.2f} | {m['rss_mb']:.0f} | {m['first_row_s']:.2f}"
        ratios = f"{ratio(ours, measured, 'texts_per_s'):.2f} | {ratio(ours, measured, 'cpu_ms'):.2f}"
        lines.append(f"| {peer} | {cells} | {ratios} | {cosines[peer]:.6f} |")
    return lines


def one_core(small: str, folder: Path, sets: dict[str, Path], rounds: int) -> list[str]:
    """Compare the small backbone with the large one on a single core, both by `skltransfer`."""
    from skltransfer import load_card

    other = folder / "small"
    other.mkdir()
    (other / "card").symlink_to(load_card(small).folder)
    lines = [f"| one core | {small} texts/s | large texts/s | ratio | {small} peak MB |", "|---|---|---|---|---|"]
    for name, listing in sets.items():
        figures: Figures = {"small": [], "large": []}
        for _ in range(rounds):
            figures["small"].append(measure("skltransfer", other, listing, "--one-core"))
            figures["large"].append(measure("skltransfer", folder, listing, "--one-core"))
        fast, slow = middle(figures["small"]), middle(figures["large"])
        by = ratio(figures["small"], figures["large"], "texts_per_s")
        speeds = f"{fast['texts_per_s']:.0f} | {slow['texts_per_s']:.1f}"
        lines.append(f"| {name} | {speeds} | {by:.0f} | {fast['rss_mb']:.0f} |")
    return lines


def absences(peers: Sequence[str], source: Path | None) -> dict[str, str]:
    """Return which peers cannot run, and why."""
    missing = {p: "not installed" for p in peers if p in NEEDS and importlib.util.find_spec(NEEDS[p]) is None}
    if "sentence_transformers" in peers and source is None:
        missing.setdefault("sentence_transformers", "no checkpoint given with --source")
    return missing


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=Path, required=True, help="card folder of a sentence encoder")
    parser.add_argument("--graph", type=Path, help="the same encoder, ending at its hidden states")
    parser.add_argument("--source", type=Path, help="the checkpoint, for sentence-transformers")
    default = [DATA / name / "test.csv" for name in ("banking77", "amazon_multidomain")]
    parser.add_argument("--texts", type=Path, nargs="*", default=[path for path in default if path.exists()])
    parser.add_argument("--number", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", default=",".join(ORDER), help="the first is compared with the others; may be empty")
    parser.add_argument("--small", default="text-mini", help="for the table on one core; may be empty")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    asked = [peer for peer in given.peers.split(",") if peer]
    missing = absences(asked, given.source)
    peers = [peer for peer in asked if peer not in missing]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make_folder(given.model, given.graph, given.source, folder)
        sets = listings(given.texts, given.number, folder)
        for name, listing in sets.items() if peers else ():
            print(f"{name}:\n", *table(*compare(peers, folder, listing, given.rounds)), "", sep="\n", flush=True)
        if given.small:
            print(*one_core(given.small, folder, sets, given.rounds), "", sep="\n")
    print(f"{given.model.name}, medians of {given.rounds} rounds, load {os.getloadavg()[0]:.1f} at the end.")
    for peer, reason in missing.items():
        print(f"Left out: {peer} ({reason}).")


if __name__ == "__main__":
    main()
