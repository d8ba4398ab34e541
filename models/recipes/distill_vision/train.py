"""The command `train`: the student, its views and its pace, handed to the training loop of skltransfer."""

from __future__ import annotations

import argparse
import json
import os
import signal
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from distill_vision.losses import distillation_loss
from distill_vision.pace import DeadlineClock, ThreadTuner, find_deadline
from distill_vision.student import Distiller
from distill_vision.views import Cache, load_views
from distill_vision.warm_start import start_from
from skltransfer._engine import training

#: Steps from one line of the log to the next.
LOGGED = 60


def input_size(progress: float, sizes: Sequence[str]) -> int:
    """Return the size of the last entry "START:SIZE" whose start is past; small sizes are cheap."""
    pairs = (entry.split(":") for entry in sizes)
    return [int(size) for start, size in pairs if float(start) <= progress][-1]


class Loader:
    """Batches for `training.train`: the views of a step, loaded on another core while the step before it runs.

    Parameters
    ----------
    cache : Cache
    clock : DeadlineClock
        Its progress determines the size of the views.
    args : Namespace
        The options of `train`.
    """

    def __init__(self, cache: Cache, clock: DeadlineClock, args: argparse.Namespace) -> None:
        self.cache, self.clock, self.args = cache, clock, args
        self.pool = ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(1,))
        self.coming: Future | None = None

    def __call__(self, step: int) -> tuple[Tensor, list[Tensor]]:
        """Return pixels and targets of a step, and begin to load the next."""
        views = (self.coming or self.load(step)).result()
        self.coming = self.load(step + 1)
        return views

    def load(self, step: int) -> Future:
        """Begin to load the views of a step."""
        size = input_size(self.clock.progress, self.args.sizes)
        return self.pool.submit(load_views, self.cache, step, size, self.args)


class Watch:
    """After each step: tune the number of threads, log, and stop the run if SIGTERM has come.

    Parameters
    ----------
    args : Namespace
        The options of `train`.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.tuner, self.stopped = args, ThreadTuner(args.threads), False
        self.losses: list[float] = []
        self.begun = time.monotonic()
        self.tuner.before_step()
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "stopped", True))

    def __call__(self, report: training.StepReport) -> bool:
        """Return whether to stop."""
        self.tuner.after_step(report.seconds)
        self.losses.append(report.loss)
        if len(self.losses) == LOGGED:
            self.log(report)
            self.losses, self.begun = [], time.monotonic()
        self.tuner.before_step()
        return self.stopped

    def log(self, report: training.StepReport) -> None:
        """Print one line of progress."""
        per_second = len(self.losses) * self.args.batch / (time.monotonic() - self.begun)
        print(
            f"{datetime.now(UTC):%H:%M:%S} step {report.step} progress {report.progress:.3f} "
            f"size {input_size(report.progress, self.args.sizes)} loss {np.mean(self.losses):.4f} "
            f"images/s {per_second:.0f} views {report.samples} threads {torch.get_num_threads()}",
            flush=True,
        )


def build_model(cache: Cache, args: argparse.Namespace) -> Distiller:
    """Return a student with random weights and a projector to the cached targets, on the device."""
    torch.manual_seed(args.seed)
    targets = sum(cells.shape[2] for cells in cache.targets)
    return Distiller(targets).to(args.device, memory_format=torch.channels_last)


def settings_of(args: argparse.Namespace) -> training.TrainSettings:
    """Return the settings of the training loop; the thread number is left to `ThreadTuner`."""
    return training.TrainSettings(
        learning_rate=args.rate,
        weight_decay=args.decay,
        warmup=0.03,
        betas=(0.9, 0.98),
        max_grad_norm=5.0,
        average=args.average,
        autocast="bfloat16",
        device=args.device,
        threads=None,
        seed=args.seed,
    )


def write_facts(args: argparse.Namespace) -> None:
    """Write the process id and the options of a run to its folder."""
    args.run.mkdir(parents=True, exist_ok=True)
    (args.run / "pid").write_text(f"{os.getpid()}\n", encoding="utf8")
    (args.run / "options.json").write_text(json.dumps(vars(args), default=str), encoding="utf8")


def train(args: argparse.Namespace) -> None:
    """Train, or go on training; the last checkpoint in the run's folder is the result."""
    write_facts(args)
    cache = Cache.load(args.cache)
    clock = DeadlineClock(find_deadline(args.minutes, args.until), args.run / "anneal", args.anneal_seconds)
    checkpoint = training.Checkpoint(args.run / "last.pt", seconds=60 * args.save_minutes)
    model = build_model(cache, args)
    if args.start and not checkpoint.path.exists():
        start_from(args.start, model, cache, input_size(0.0, args.sizes), args)
    loss = partial(distillation_loss, heads=[head.to(args.device) for head in cache.heads])
    watch, batches = Watch(args), Loader(cache, clock, args)
    training.train(model, batches, loss, settings_of(args), clock=clock, on_step=watch, checkpoint=checkpoint)


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add the command `train`."""
    parser = commands.add_parser("train", help="train the student, or go on training it")
    parser.add_argument("--cache", type=Path, required=True, help="folder that prepare wrote")
    parser.add_argument("--run", type=Path, required=True, help="folder of checkpoints and pid")
    parser.add_argument("--start", type=Path, help="exported student to begin from: FILE.onnx")
    parser.add_argument("--minutes", type=float, help="length of the run")
    parser.add_argument("--until", help="end of the run, HH:MM UTC, instead of --minutes")
    parser.add_argument("--sizes", nargs="+", default=["0:64", "0.4:80", "0.72:96"])
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=3e-3, help="peak learning rate")
    parser.add_argument("--decay", type=float, default=0.05, help="weight decay")
    parser.add_argument("--average", type=float, default=0.999, help="decay of averaged weights")
    parser.add_argument("--smallest-crop", type=float, default=0.3, help="area of the image")
    parser.add_argument("--jitter", type=float, default=0.25, help="of brightness and contrast")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="at most")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="default: a GPU")
    parser.add_argument("--save-minutes", type=float, default=3.0)
    parser.add_argument("--anneal-seconds", type=float, default=240.0)
    parser.set_defaults(command=train)
