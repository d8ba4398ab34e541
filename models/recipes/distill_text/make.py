"""The command `make`: from a teacher to the files ``model.onnx`` and ``tokenizer.json``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import onnx

from distill_text.encoders import Teacher
from distill_text.graph import build_graph
from distill_text.table import HALF, embed_vocabulary, find_words, pack, quantize, spread, tokens_of, weigh_tokens


def strip_tokenizer(path: Path) -> str:
    """Return a tokenizer.json, minified, that neither adds special tokens nor pads nor truncates."""
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


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add the command `make`."""
    parser = commands.add_parser("make", help="write model.onnx and tokenizer.json")
    parser.add_argument("--teacher", type=Path, required=True, help="ONNX file")
    parser.add_argument("--tokenizer", type=Path, required=True, help="its tokenizer.json")
    parser.add_argument("--output", type=Path, required=True, help="folder")
    parser.add_argument("--smoothing", type=float, default=2e-3, help="see weigh_tokens")
    parser.add_argument("--single", type=int, default=100, help="see weigh_tokens")
    parser.add_argument("--power", type=float, default=0.25, help="see spread")
    parser.add_argument("--threads", type=int, default=1)
    parser.set_defaults(command=make)
