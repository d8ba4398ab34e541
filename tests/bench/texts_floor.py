"""Where the CPU time of texts goes: in all, in runs of the graph, and in the products of its weights alone.

Usage: ``python tests/bench/texts_floor.py CARD_FOLDER [--texts FILE.csv] [--number 400] [--rounds 5]``

No loop that computes in float32 can take less than the last figure, which is measured with graphs of one product each,
and counts no token of padding. What is between it and the second is all else that the graph computes: attention, GELU,
normalization. What is between the second and the first is ours, and the tokenizer's.
"""

from __future__ import annotations

import argparse
import os
import statistics
import threading
import time
from collections import Counter
from pathlib import Path

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper
from peers import cpu_seconds
from texts import DATA, read
from texts_peers import tokens

from skltransfer import PretrainedEmbedder, load_card
from skltransfer._engine.runtime import Session

#: Tokens of the batches that are multiplied.
TOKENS = 256
#: Products of one shape until the median is taken.
PASSES = 100


def weights(path: Path, layer: str) -> Counter[tuple[int, int]]:
    """Count the matrices that tokens are multiplied by, by their shape."""
    model = onnx.load(str(path))
    part = onnx.utils.Extractor(model).extract_model([value.name for value in model.graph.input], [layer]).graph
    shapes = {weight.name: tuple(weight.dims) for weight in part.initializer if len(weight.dims) == 2}
    products = [node for node in part.node if node.op_type in ("MatMul", "Gemm")]
    return Counter(shapes[node.input[1]] for node in products if node.input[1] in shapes)


def seconds(shape: tuple[int, int]) -> float:
    """Multiply a batch of tokens by one matrix on one thread; return the seconds of a product."""
    matrix = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    given, made = (helper.make_tensor_value_info(name, 1, ["n", k]) for name, k in zip("xy", shape, strict=True))
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    graph = helper.make_graph([node], "product", [given], [made], [numpy_helper.from_array(matrix, "w")])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    x, taken = np.ones((TOKENS, shape[0]), np.float32), []
    for _ in range(PASSES):
        start = time.thread_time()
        session.run(None, {"x": x})
        taken.append(time.thread_time() - start)
    return statistics.median(taken)


class Clock:
    """Counts the processor time of the runs of all sessions."""

    def __init__(self) -> None:
        self.seconds, run, lock = 0.0, Session._rows, threading.Lock()

        def timed(session: Session, *given: object) -> object:
            start = time.thread_time()
            rows = run(session, *given)
            with lock:
                self.seconds += time.thread_time() - start
            return rows

        Session._rows = timed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("card", type=Path)
    parser.add_argument("--texts", type=Path, default=DATA / "banking77" / "test.csv")
    parser.add_argument("--number", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    card, texts, clock = load_card(given.card), read(given.texts, given.number), Clock()
    embedder = PretrainedEmbedder(given.card, cache=None, device="cpu")
    embedder.fit_transform(texts)
    products = weights(given.card / "model.onnx", card.layer)
    count = sum(map(len, tokens(given.card / "tokenizer.json")(texts)))
    operations = sum(2 * k * n * times for (k, n), times in products.items())
    figures: dict[str, list[float]] = {"in all": [], "in runs of the graph": [], "in products of weights": []}
    for _ in range(given.rounds):
        all_before, runs_before = cpu_seconds(), clock.seconds
        embedder.transform(texts)
        figures["in all"].append(cpu_seconds() - all_before)
        figures["in runs of the graph"].append(clock.seconds - runs_before)
        each = sum(times * seconds(shape) for shape, times in products.items()) / TOKENS
        figures["in products of weights"].append(each * count)
    print(f"{len(texts)} texts of {count / len(texts):.1f} tokens, {operations / 1e6:.1f} million operations a token")
    for name, taken in figures.items():
        share = statistics.median(part / whole for part, whole in zip(taken, figures["in all"], strict=True))
        print(f"{name:24} {1000 * statistics.median(taken) / len(texts):7.3f} ms of CPU a text, {share:.1%}")
    rate = operations * count / statistics.median(figures["in products of weights"]) / 1e9
    print(f"products: {rate:.0f} billion operations/s a core")


if __name__ == "__main__":
    main()
