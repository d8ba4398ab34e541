"""Encoders of texts: the teacher, the student, and batches of token ids."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from tokenizers import Tokenizer

Floats = npt.NDArray[np.float32]


class Teacher:
    """A sentence encoder as ONNX whose sentence embedding is the mean of its token states.

    Parameters
    ----------
    model : Path
        ONNX file. Inputs are `input_ids`, `attention_mask` and perhaps `token_type_ids`, all int64 (batch, tokens); the
        first output is (batch, tokens, dimensions) float32.
    tokenizer : Path
        The tokenizer.json that belongs to it. Padding and truncation set in it are ignored.
    threads : int
        Threads of the graph. More are faster; the last digits, and with them a few bytes of the table, may change.
    """

    def __init__(self, model: Path, tokenizer: Path, threads: int = 1) -> None:
        self.session = open_session(model, threads)
        self.names = {node.name for node in self.session.get_inputs()}
        self.tokenizer = open_tokenizer(tokenizer)

    def run(self, rows: Sequence[Sequence[int]]) -> Floats:
        """Return the embeddings of token ids, special ones included: (texts, dimensions), of length 1."""
        ids, mask = pad(rows)
        feeds = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        states = self.session.run(None, {name: feeds[name] for name in self.names})[0]
        return normalize((states * mask[..., None]).sum(1))

    def embed(self, texts: Sequence[str], max_length: int = 256) -> Floats:
        """Return the embeddings of texts, truncated to `max_length` tokens."""
        self.tokenizer.enable_truncation(max_length)
        return in_batches(self.run, [e.ids for e in self.tokenizer.encode_batch(texts)], 4096)

    def embed_tokens(self, phrase: str) -> Floats:
        """Return the embeddings of a phrase with each token in place of its ``{}``, in order of ids."""
        before, after = (self.tokenizer.encode(part, add_special_tokens=False).ids for part in phrase.split("{}"))
        start, end = self.tokenizer.encode("").ids
        tokens = range(self.tokenizer.get_vocab_size())
        rows = [[start, *before, token, *after, end] for token in tokens]
        return in_batches(self.run, rows, 4096)


class Student:
    """The backbone that `make` has written.

    Parameters
    ----------
    folder : Path
        Holds ``model.onnx`` and ``tokenizer.json``.
    threads : int
        Threads of the graph.
    """

    def __init__(self, folder: Path, threads: int = 1) -> None:
        self.session = open_session(folder / "model.onnx", threads)
        self.tokenizer = open_tokenizer(folder / "tokenizer.json")

    def run(self, rows: Sequence[Sequence[int]]) -> Floats:
        """Return the embeddings of token ids."""
        ids, mask = pad(rows)
        return self.session.run(["embedding"], {"input_ids": ids, "attention_mask": mask})[0]

    def embed(self, texts: Sequence[str], max_length: int = 1024) -> Floats:
        """Return the embeddings of texts, truncated to `max_length` tokens."""
        self.tokenizer.enable_truncation(max_length)
        return in_batches(self.run, [e.ids for e in self.tokenizer.encode_batch(texts)], 4096)


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
    """Pad rows of token ids to one length; return the array and its mask."""
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
    """Split sorted indices into parts whose padded size is at most `budget` tokens."""
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
