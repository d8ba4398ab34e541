"""One way of embedding a list of texts, timed in a process of its own.

Usage: ``python texts_peers.py PEER FOLDER LIST [--rows FILE] [--one-core]``. FOLDER holds ``loop/``, what loops by hand
and fastembed take (``model.onnx``, whose one output is the hidden states, and a tokenizer); ``card``, the card folder
for ours; ``source``, the checkpoint for PyTorch. LIST is a JSON list of strings. Prints one line of JSON. `texts.py`
beside this file calls it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
from peers import cpu_seconds

Embed = Callable[[Sequence[str]], np.ndarray]

#: Tokens of a text that are taken, by every peer.
LONGEST = 256
#: Tokens of a batch, padding included, in the best loop by hand.
BUDGET = 1024
#: Passes are repeated until they have taken this long together.
SECONDS = 2.0


def tokens(file: Path) -> Callable[[Sequence[str]], list[list[int]]]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.enable_truncation(LONGEST)
    tokenizer.no_padding()
    return lambda texts: [encoding.ids for encoding in tokenizer.encode_batch(texts)]


def session(path: Path, threads: int = 0) -> Callable[[Sequence[list[int]]], np.ndarray]:
    """Open a graph; what is given back pads, runs and, where the graph does not, takes the mean and normalises."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    opened = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    first = opened.get_outputs()[0].name

    def run(batch: Sequence[list[int]]) -> np.ndarray:
        ids = np.zeros((len(batch), max(map(len, batch))), np.int64)
        mask = np.zeros_like(ids)
        for row, filled, piece in zip(ids, mask, batch, strict=True):
            row[: len(piece)], filled[: len(piece)] = piece, 1
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        out, real = opened.run([first], given)[0], mask[..., None].astype(np.float32)
        if out.ndim == 2:
            return out
        mean = (out * real).sum(1) / real.sum(1)
        return mean / np.linalg.norm(mean, axis=1, keepdims=True)

    return run


def naive(folder: Path) -> Embed:
    """What a first script does: a loop, batch 1, the runtime's default threads."""
    run, encode = session(folder / "loop" / "model.onnx"), tokens(folder / "loop" / "tokenizer.json")
    return lambda texts: np.concatenate([run(encode([text])) for text in texts])


def workers(folder: Path, graph: str = "loop/model.onnx") -> Embed:
    """The best loop by hand: small batches of similar length, a thread per core, one shared one-thread session."""
    run, encode = session(folder / graph, threads=1), tokens(folder / "loop" / "tokenizer.json")
    pool = ThreadPoolExecutor(len(os.sched_getaffinity(0)))

    def batches(pieces: Sequence[list[int]]) -> Iterable[list[int]]:
        order, start = sorted(range(len(pieces)), key=lambda i: -len(pieces[i])), 0
        while start < len(order):
            size = max(1, BUDGET // len(pieces[order[start]]))
            yield order[start : start + size]
            start += size

    def embed(texts: Sequence[str]) -> np.ndarray:
        pieces = encode(texts)
        taken = list(batches(pieces))
        rows = np.concatenate(list(pool.map(lambda batch: run([pieces[i] for i in batch]), taken)))
        out = np.empty_like(rows)
        out[np.concatenate(taken)] = rows
        return out

    return embed


def workers_pooled(folder: Path) -> Embed:
    """The same on the card's own graph, which ends at the embedding: hidden states never leave it."""
    return workers(folder, "card/model.onnx")


def skltransfer(folder: Path) -> Embed:
    from skltransfer import PretrainedEmbedder

    return PretrainedEmbedder(folder / "card", cache=None, device="cpu").fit_transform


def skltransfer_int8(folder: Path) -> Embed:
    """Eight bits, converted at first use and compared with the original: rows are near, not equal."""
    from skltransfer import PretrainedEmbedder

    return PretrainedEmbedder(folder / "card", cache=None, device="cpu", precision="int8").fit_transform


def skltransfer_cached(folder: Path) -> Embed:
    """The default: samples are fingerprinted and rows kept; the cache is emptied before every pass."""
    from skltransfer import PretrainedEmbedder
    from skltransfer._engine import cache

    embedder = PretrainedEmbedder(folder / "card", device="cpu")

    def embed(texts: Sequence[str]) -> np.ndarray:
        cache.memory.clear()
        return embedder.fit_transform(texts)

    return embed


def sentence_transformers(folder: Path) -> Embed:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder / "source"), device="cpu")
    model.max_seq_length = LONGEST
    return lambda texts: model.encode(texts, normalize_embeddings=True, show_progress_bar=False)


def fastembed(folder: Path) -> Embed:
    from fastembed import TextEmbedding
    from fastembed.common.model_description import ModelSource, PoolingType

    name = "local/model"
    TextEmbedding.add_custom_model(
        model=name,
        pooling=PoolingType.MEAN,
        normalization=True,
        sources=ModelSource(hf=name),
        dim=384,
        model_file="model.onnx",
    )
    model = TextEmbedding(name, specific_model_path=str(folder / "loop"))
    return lambda texts: np.array(list(model.embed(texts)))


OURS = (skltransfer, skltransfer_int8, skltransfer_cached)
ALL = (*OURS, workers, workers_pooled, naive, sentence_transformers, fastembed)
PEERS = {peer.__name__: peer for peer in ALL}


def peak_mb() -> float:
    """Peak memory of this program; ``ru_maxrss`` would count the program that started it as well."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text()).group(1)) / 1024


def measure(embed: Embed, texts: Sequence[str]) -> tuple[np.ndarray, dict[str, float]]:
    """Embed the texts for `SECONDS`, or once if that takes longer."""
    passes, wall, cpu = 0, time.perf_counter(), cpu_seconds()
    while not passes or time.perf_counter() - wall < SECONDS:
        rows, passes = embed(texts), passes + 1
    wall, cpu = time.perf_counter() - wall, cpu_seconds() - cpu
    n = len(texts) * passes
    return rows, {"texts_per_s": n / wall, "cpu_ms": 1000 * cpu / n, "rss_mb": peak_mb()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("listing", type=Path)
    parser.add_argument("--rows", type=Path, help="file to keep the embeddings in, for comparison")
    parser.add_argument("--one-core", action="store_true")
    given = parser.parse_args()
    if given.one_core:  # before anything starts a thread
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    texts = json.loads(given.listing.read_text(encoding="utf8"))
    start = time.perf_counter()
    embed = PEERS[given.peer](given.folder)
    embed(texts[:1])
    first_row = time.perf_counter() - start
    embed(texts[:32])
    rows, figures = measure(embed, texts)
    if given.rows is not None:
        np.save(given.rows, rows)
    print(json.dumps({**figures, "first_row_s": first_row, "columns": rows.shape[1]}))


if __name__ == "__main__":
    main()
