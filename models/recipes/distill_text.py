"""Distil a static token-embedding backbone from a sentence encoder, on a CPU, without any text.

Two commands, run in this order::

    python distill_text.py make  --teacher TEACHER.onnx --tokenizer TOKENIZER.json --output text-mini
    python distill_text.py probe --model text-mini --sets BANKING77/ SST2/ --teacher TEACHER.onnx

`make` asks the teacher what it thinks of every token of its vocabulary, alone and in a few short
phrases, and keeps the answers as a table of 4-bit numbers. The graph it writes looks the tokens of
a text up and returns their weighted mean: nothing in it depends on the order of the words.

The script owns everything between a teacher and the files ``model.onnx`` and ``tokenizer.json``; it
imports nothing of the package that uses them. It needs numpy, onnx, onnxruntime and tokenizers, and
scikit-learn for `probe`.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

#: What is put to the teacher, once per token: alone, as a noun, after a copula, as an adjective. Any
#: phrase is better than the token alone; random words around it add nothing to these four.
PHRASES = ("{}", "the {}", "this is {}", "it was very {} .")

#: Half the distance between the smallest and the largest of the 16 values of a 4-bit number.
HALF = 7.5


# --- make: the teacher ---------------------------------------------------------------------------


class Teacher:
    """A sentence encoder as ONNX whose sentence embedding is the mean of its token states.

    Parameters
    ----------
    model : Path
        Takes `input_ids`, `attention_mask` and perhaps `token_type_ids`, all int64 (batch, tokens);
        its first output is (batch, tokens, dimensions) float32.
    tokenizer : Path
        The tokenizer.json that belongs to it. Padding and truncation set in it are ignored.
    threads : int
        More are faster; the last digits, and with them a few bytes of the table, may change.
    """

    def __init__(self, model: Path, tokenizer: Path, threads: int = 1) -> None:
        self.session = open_session(model, threads)
        self.names = {node.name for node in self.session.get_inputs()}
        self.tokenizer = open_tokenizer(tokenizer)

    def run(self, rows: Sequence[Sequence[int]]) -> Floats:
        """Embed token ids, special ones included: (texts, dimensions), of length 1."""
        ids, mask = pad(rows)
        feeds = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        states = self.session.run(None, {name: feeds[name] for name in self.names})[0]
        return normalize((states * mask[..., None]).sum(1))

    def embed(self, texts: Sequence[str], max_length: int = 256) -> Floats:
        """Embed texts, cut to `max_length` tokens."""
        self.tokenizer.enable_truncation(max_length)
        return in_batches(self.run, [e.ids for e in self.tokenizer.encode_batch(texts)], 4096)

    def embed_tokens(self, phrase: str) -> Floats:
        """Embed a phrase with each token of the vocabulary in place of its ``{}``, in order of ids."""
        before, after = (self.tokenizer.encode(part, add_special_tokens=False).ids for part in phrase.split("{}"))
        start, end = self.tokenizer.encode("").ids
        tokens = range(self.tokenizer.get_vocab_size())
        rows = [[start, *before, token, *after, end] for token in tokens]
        return in_batches(self.run, rows, 4096)


def open_session(model: Path, threads: int) -> ort.InferenceSession:
    """Open a graph on the CPU."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def open_tokenizer(path: Path) -> Tokenizer:
    """Open a tokenizer.json that neither pads nor truncates."""
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def pad(rows: Sequence[Sequence[int]]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Make one array of token ids, and its mask, of rows of different lengths."""
    ids = np.zeros((len(rows), max(1, *map(len, rows))), np.int64)
    mask = np.zeros_like(ids)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = row
        mask[index, : len(row)] = 1
    return ids, mask


def in_batches(run: Callable[[Sequence[Sequence[int]]], Floats], rows: Sequence[Sequence[int]], budget: int) -> Floats:
    """Run rows sorted by length, `budget` tokens at a time, and restore their order."""
    order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
    parts = [run([rows[index] for index in part]) for part in cut(order, rows, budget)]
    out = np.empty((len(rows), parts[0].shape[1]), np.float32)
    out[order] = np.concatenate(parts)
    return out


def cut(order: Sequence[int], rows: Sequence[Sequence[int]], budget: int) -> Iterator[list[int]]:
    """Cut sorted indices into parts whose padded size is at most `budget` tokens."""
    part: list[int] = []
    for index in order:
        if part and (len(part) + 1) * max(1, len(rows[index])) > budget:
            yield part
            part = []
        part.append(index)
    yield part


def normalize(vectors: Floats) -> Floats:
    """Scale rows to length 1; a row of zeros stays."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


# --- make: the table -----------------------------------------------------------------------------


def find_words(tokenizer: Tokenizer) -> Bools:
    """Tell which tokens can occur in a text: neither special nor unused."""
    special = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    return np.array([t not in special and not re.fullmatch(r"\[unused\d+\]", t) for t in tokens_of(tokenizer)])


def tokens_of(tokenizer: Tokenizer) -> list[str]:
    """List the tokens in order of their ids."""
    vocabulary = tokenizer.get_vocab()
    return sorted(vocabulary, key=vocabulary.__getitem__)


def embed_vocabulary(teacher: Teacher, words: Bools) -> Floats:
    """Average what the teacher says of a token over `PHRASES`: (vocabulary, dimensions).

    What all tokens of a phrase have in common, the phrase itself, is subtracted.
    """
    total = np.float32(0)
    for phrase in PHRASES:
        start = time.monotonic()
        vectors = teacher.embed_tokens(phrase)
        total += vectors - vectors[words].mean(0)
        print(f"{phrase!r}: {time.monotonic() - start:.0f} s", flush=True)
    return np.where(words[:, None], total / len(PHRASES), 0).astype(np.float32)


def spread(vectors: Floats, words: Bools, power: float) -> Floats:
    """Divide each principal component by its standard deviation to a power; keep the axes.

    A few directions, such as the kind of a word, take up much of the variance and say little. Power
    0 changes nothing, 1 makes all directions equal. Back on the original axes, all columns vary
    alike, as `quantize` needs it.
    """
    values, axes = np.linalg.eigh(np.cov(vectors[words], rowvar=False, dtype=np.float64))
    relative = np.maximum(values / values[-1], 1e-4)  # normalised layers leave a few empty directions
    matrix = axes * relative ** (-power / 2) @ axes.T
    return vectors @ matrix.astype(np.float32)


def weigh_tokens(tokens: Sequence[str], words: Bools, smoothing: float, single: int) -> Floats:
    """Weigh tokens by smooth inverse frequency, the frequency being estimated by Zipf's law.

    A WordPiece vocabulary lists single characters first, then words from the most frequent one on,
    so that the place of a word is its rank.

    Parameters
    ----------
    tokens : sequence of str
        In order of their ids.
    words : ndarray of bool
        What can occur; the rest weighs nothing.
    smoothing : float
        Frequency at which the weight is one half. Smaller: frequent words count less.
    single : int
        Rank given to single characters, whose place says nothing. Larger: they count more.

    References
    ----------
    Arora, Liang, Ma: A simple but tough-to-beat baseline for sentence embeddings. ICLR 2017.
    """
    first = next(i for i, token in enumerate(tokens) if len(token) > 1 and token.isalpha())
    places = np.arange(len(tokens)) - first + 1
    ranks = np.where(places > 0, places, single)
    frequency = 1 / (ranks * np.log(len(tokens)))
    return (words * smoothing / (smoothing + frequency)).astype(np.float32)


def quantize(vectors: Floats) -> tuple[npt.NDArray[np.uint8], Floats]:
    """Round rows to 16 values: ``vectors ~ scales[:, None] * (codes - HALF)``.

    The range of a row is 2.5 standard deviations to either side: of normal numbers, that leaves the
    smallest squared error, about 1.4 % of the variance.
    """
    scales = (2.5 / HALF * vectors.std(1)).astype(np.float32)
    safe = np.where(scales > 0, scales, 1)[:, None]
    return np.clip(np.floor(vectors / safe + HALF + 0.5), 0, 2 * HALF).astype(np.uint8), scales


def pack(codes: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Put column ``i`` in the upper and column ``i + half`` in the lower four bits of a byte."""
    upper, lower = np.split(codes, 2, axis=1)
    return upper << 4 | lower


# --- make: the graph -----------------------------------------------------------------------------


def build_graph(packed: npt.NDArray[np.uint8], scales: Floats, weights: Floats) -> onnx.ModelProto:
    """Write the graph: token ids and mask to the weighted mean, and to that of length 1.

    A byte is ``16 * upper + lower``. Weighted sums of the bytes and of their upper halves therefore
    give the sums of the lower halves too, and each sum is one matrix product per text. A text
    without any token that weighs something gives zeros.
    """
    constants = {
        "table": packed,
        "scales": scales * weights,
        "weights": weights,
        "four": np.uint8(4),
        "sixteen": np.float32(16),
        "half": np.float32(HALF),
        "floor": np.float32(1e-12),
        "axis": np.array([1]),
    }
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["bytes"]),
        helper.make_node("BitShift", ["bytes", "four"], ["upper"], direction="RIGHT"),
        helper.make_node("Cast", ["bytes"], ["bytes_float"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["upper"], ["upper_float"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Gather", ["scales", "input_ids"], ["scale_all"]),
        helper.make_node("Mul", ["scale_all", "mask"], ["scale"]),
        helper.make_node("Unsqueeze", ["scale", "axis"], ["scale_row"]),
        helper.make_node("MatMul", ["scale_row", "bytes_float"], ["bytes_sum"]),
        helper.make_node("MatMul", ["scale_row", "upper_float"], ["upper_sum"]),
        helper.make_node("Mul", ["upper_sum", "sixteen"], ["upper_share"]),
        helper.make_node("Sub", ["bytes_sum", "upper_share"], ["lower_sum"]),
        helper.make_node("Concat", ["upper_sum", "lower_sum"], ["code_row"], axis=2),
        helper.make_node("Squeeze", ["code_row", "axis"], ["code_sum"]),
        helper.make_node("ReduceSum", ["scale", "axis"], ["scale_sum"]),
        helper.make_node("Mul", ["scale_sum", "half"], ["offset"]),
        helper.make_node("Sub", ["code_sum", "offset"], ["sum"]),
        helper.make_node("Gather", ["weights", "input_ids"], ["weight_all"]),
        helper.make_node("Mul", ["weight_all", "mask"], ["weight"]),
        helper.make_node("ReduceSum", ["weight", "axis"], ["weight_sum"]),
        helper.make_node("Max", ["weight_sum", "floor"], ["weight_safe"]),
        helper.make_node("Div", ["sum", "weight_safe"], ["mean"]),
        helper.make_node("ReduceL2", ["mean"], ["length"], axes=[1]),
        helper.make_node("Max", ["length", "floor"], ["length_safe"]),
        helper.make_node("Div", ["mean", "length_safe"], ["embedding"]),
    ]
    return wrap_graph(nodes, constants, 2 * packed.shape[1])


def wrap_graph(
    nodes: Sequence[onnx.NodeProto], constants: dict[str, npt.NDArray[np.generic]], dimensions: int
) -> onnx.ModelProto:
    """Give the nodes their inputs, outputs and constants; check the whole."""
    vector = ("batch", dimensions)
    graph = helper.make_graph(
        nodes,
        "static_token_embedding",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, ("batch", "tokens"))
            for name in ("input_ids", "attention_mask")
        ],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, vector)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
        value_info=[helper.make_tensor_value_info("mean", TensorProto.FLOAT, vector)],
    )
    opset = helper.make_opsetid("", 17)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=8, producer_name="")
    onnx.checker.check_model(model, full_check=True)
    return model


def strip_tokenizer(path: Path) -> str:
    """Return a tokenizer.json, minified, that adds no special token, pads nothing, cuts nothing."""
    settings = json.loads(path.read_text(encoding="utf8"))
    settings.update(post_processor=None, padding=None, truncation=None)
    return json.dumps(settings, ensure_ascii=False, separators=(",", ":"))


def make(args: argparse.Namespace) -> None:
    """Write ``model.onnx`` and ``tokenizer.json``."""
    teacher = Teacher(args.teacher, args.tokenizer, args.threads)
    words = find_words(teacher.tokenizer)
    vectors = spread(embed_vocabulary(teacher, words), words, args.power)
    weights = weigh_tokens(tokens_of(teacher.tokenizer), words, args.smoothing, args.single)
    codes, scales = quantize(vectors)
    error = np.square(scales[:, None] * (codes - HALF) - vectors).sum() / np.square(vectors).sum()
    print(f"{len(codes)} tokens, {codes.shape[1]} dimensions, rounding costs {error:.1%} of the variance")
    args.output.mkdir(parents=True, exist_ok=True)
    onnx.save(build_graph(pack(codes), scales, weights), args.output / "model.onnx")
    tokenizer = args.output / "tokenizer.json"
    tokenizer.write_text(strip_tokenizer(args.tokenizer), encoding="utf8", newline="\n")
    print(f"{sum(p.stat().st_size for p in (args.output / 'model.onnx', tokenizer))} bytes")


# --- probe ---------------------------------------------------------------------------------------


class Student:
    """What `make` has written.

    Parameters
    ----------
    folder : Path
        Holds ``model.onnx`` and ``tokenizer.json``.
    threads : int
        Of the graph.
    """

    def __init__(self, folder: Path, threads: int = 1) -> None:
        self.session = open_session(folder / "model.onnx", threads)
        self.tokenizer = open_tokenizer(folder / "tokenizer.json")

    def run(self, rows: Sequence[Sequence[int]]) -> Floats:
        """Embed token ids."""
        ids, mask = pad(rows)
        return self.session.run(["embedding"], {"input_ids": ids, "attention_mask": mask})[0]

    def embed(self, texts: Sequence[str], max_length: int = 1024) -> Floats:
        """Embed texts, cut to `max_length` tokens."""
        self.tokenizer.enable_truncation(max_length)
        return in_batches(self.run, [e.ids for e in self.tokenizer.encode_batch(texts)], 4096)


def read_table(path: Path) -> tuple[list[str], list[str]]:
    """Read texts and labels of a CSV file with the columns `text` and `label`."""
    with path.open(newline="", encoding="utf8") as file:
        rows = list(csv.DictReader(file))
    return [row["text"] for row in rows], [row["label"] for row in rows]


def measure_accuracy(embed: Callable[[Sequence[str]], Floats], folder: Path) -> float:
    """Return the test accuracy of logistic regression on the embeddings."""
    from sklearn.linear_model import LogisticRegression

    (train, y_train), (test, y_test) = (read_table(folder / f"{p}.csv") for p in ("train", "test"))
    head = LogisticRegression(C=10, max_iter=2000).fit(embed(train), y_train)
    return float(head.score(embed(test), y_test))


def measure_speed(embed: Callable[[Sequence[str]], Floats], texts: Sequence[str], repeats: int) -> float:
    """Return texts per second, tokenising included, of the best of several runs."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        embed(texts)
        seconds.append(time.perf_counter() - start)
    return len(texts) / min(seconds)


def probe(args: argparse.Namespace) -> None:
    """Print accuracy and speed on each data set, on one thread, and those of the teacher."""
    student = Student(args.model)
    embedders = {"student": (student.embed, 20)}
    if args.teacher:
        tokenizer = args.tokenizer or args.teacher.with_name("tokenizer.json")
        embedders["teacher"] = (Teacher(args.teacher, tokenizer).embed, 3)
    for folder in args.sets:
        texts = read_table(folder / "test.csv")[0]
        for name, (embed, repeats) in embedders.items():
            count = len(texts) if name == "student" else args.count
            speed = measure_speed(embed, texts[:: max(1, len(texts) // count)], repeats)
            print(f"{folder.name} {name}: {speed:.0f} texts/s", end=" ", flush=True)
            print(f"accuracy {measure_accuracy(embed, folder):.4f}", flush=True)


# --- commands ------------------------------------------------------------------------------------


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)

    command = commands.add_parser("make", help=make.__doc__)
    command.set_defaults(run=make)
    command.add_argument("--teacher", type=Path, required=True, help="ONNX file")
    command.add_argument("--tokenizer", type=Path, required=True, help="its tokenizer.json")
    command.add_argument("--output", type=Path, required=True, help="folder")
    command.add_argument("--smoothing", type=float, default=2e-3, help="see weigh_tokens")
    command.add_argument("--single", type=int, default=100, help="see weigh_tokens")
    command.add_argument("--power", type=float, default=0.25, help="see spread")
    command.add_argument("--threads", type=int, default=1)

    command = commands.add_parser("probe", help=probe.__doc__)
    command.set_defaults(run=probe)
    command.add_argument("--model", type=Path, required=True, help="folder that `make` has written")
    command.add_argument("--sets", type=Path, nargs="+", required=True, help="train.csv, test.csv")
    command.add_argument("--teacher", type=Path, help="ONNX file to compare with (slow)")
    command.add_argument("--tokenizer", type=Path, help="default: tokenizer.json beside the teacher")
    command.add_argument("--count", type=int, default=100, help="texts to time the teacher on")
    return parser.parse_args()


if __name__ == "__main__":
    arguments = parse_arguments()
    arguments.run(arguments)
