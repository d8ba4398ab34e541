"""The command `prepare`."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np
import torch

from distill_vision.images import cache_images
from distill_vision.targets import cache_targets
from distill_vision.teachers import Teacher


def prepare(args: argparse.Namespace) -> None:
    """Cache the images, then the targets of each teacher."""
    torch.set_num_threads(1)
    args.cache.mkdir(parents=True, exist_ok=True)
    path = args.cache / "images.npy"
    images = np.load(path, "r") if path.exists() else cache_images(args.images, args.side, path)
    print(f"{len(images)} squares of {args.side} px", flush=True)
    for index, text in enumerate(args.teachers):
        name, _, size = text.rpartition(":")
        stem, start = args.cache / f"teacher_{index}", time.monotonic()
        if not stem.with_suffix(".npz").exists():
            teacher = Teacher(Path(name), int(size))
            cache_targets(teacher, images, args.components, args.threads, stem)
        print(f"{Path(name).stem} at {size}: {time.monotonic() - start:.0f} s", flush=True)


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add the command `prepare`."""
    parser = commands.add_parser("prepare", help="cache images and the targets of the teachers")
    parser.add_argument("--cache", type=Path, required=True, help="folder to write")
    parser.add_argument("--images", type=Path, nargs="+", required=True, help="folders or zips")
    parser.add_argument("--teachers", nargs="+", required=True, help="FILE.onnx:SIZE, card beside")
    parser.add_argument("--side", type=int, default=112, help="side of the cached squares")
    parser.add_argument("--components", type=int, default=512, help="target width per teacher")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.set_defaults(command=prepare)
