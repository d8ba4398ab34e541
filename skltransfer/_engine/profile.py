"""What bounds this machine: preparing samples, the way to the device, or the graph; and which knob moves it."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from skltransfer._engine import catalog, quantization, runtime, stream, synthetic
from skltransfer.cards import Card, ImageSpec
from skltransfer.errors import CardError

#: Sizes of the photographs that are made up: what cameras and shops make of them, in pixels.
SIZES = [(640, 480), (480, 640), (1024, 768), (500, 500)] * 16
TEXTS = 256
#: Samples prepared at once.
PART = 8
#: Passes, of which the fastest counts.
PASSES = 3


@dataclass(frozen=True)
class Bounds:
    """What was measured, in samples per second unless said otherwise.

    Parameters
    ----------
    model, device : str
        What ran, and where.
    samples, workers : int
        How many, and the threads of the whole way.
    prepare : float
        Read, decode, resize, or make tokens: one thread.
    draft : float or None
        As `prepare`, with ``draft=True``; None where there is nothing to shrink.
    graph : float
        The graph alone: one thread of a CPU, or the device.
    batch : int
        Samples it was given at once.
    whole : float
        The whole way on all threads, nothing cached.
    bus : float or None
        Bytes per second into the device's memory; None on a CPU.
    sample_bytes : int
        Bytes of a prepared sample.
    """

    model: str
    device: str
    samples: int
    workers: int
    prepare: float
    draft: float | None
    graph: float
    batch: int
    whole: float
    bus: float | None
    sample_bytes: int

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds a sample takes in each place; threads prepare side by side for a device that runs meanwhile."""
        if self.bus is None:
            return {"prepare": 1 / self.prepare, "graph": 1 / self.graph}
        places = {"prepare": 1 / (self.prepare * self.workers), "graph": 1 / self.graph}
        return {**places, "transfer": self.sample_bytes / self.bus}

    @property
    def bound(self) -> str:
        """Where a sample takes longest: ``"prepare"``, ``"graph"`` or ``"transfer"``."""
        return max(self.seconds, key=lambda place: self.seconds[place])

    @property
    def share(self) -> float:
        """Part of the time that is: all of it on a device, which does the rest meanwhile."""
        longest = self.seconds[self.bound]
        return longest / sum(self.seconds.values()) if self.bus is None else 1.0


def measure(
    model: str | os.PathLike[str] | Card = "vision-mini", device: str = "auto", samples: Sequence[Any] | None = None
) -> Bounds:
    """Measure preparing, graph, bus and the whole way, on this machine as it is now.

    Parameters
    ----------
    model, device
        As in `PretrainedEmbedder`.
    samples : sequence, optional
        Images or texts; made up by default: JPEG files of 0.25 to 0.8 million pixels, or texts of 5 to 300 words.

    Returns
    -------
    Bounds

    Raises
    ------
    CardError
        If the model takes numbers: there is nothing to prepare, and nothing to make up.
    SampleError
        If a sample cannot be read.
    """
    card = catalog.load_card(model)
    if card.modality == "array":
        raise CardError(f"{card.name!r} takes numbers: its graph alone is what takes time.")
    plan, width = catalog.plan(card, runtime.resolve(device))
    given = _made_up(card) if samples is None else list(samples)
    workers = runtime.workers(None)

    def whole() -> None:
        stream.embed(given, plan, count=len(given), width=width, workers=workers)

    whole()  # opens, warms, and refuses samples that cannot be read
    preparer = stream.PREPARERS[type(plan.recipe.input)](plan)
    pieces = [parts[0] for sample in given for parts in preparer.prepare([preparer.read(sample)])]
    batches = _batches(pieces, preparer.batch(stream.LINES[plan.device.kind].form), by_length=preparer.by_length)
    ready = [preparer.collate(batch) for batch in batches]
    session = stream.open_backbone(plan, pieces[0])
    return Bounds(
        model=card.name,
        device=str(plan.device),
        samples=len(given),
        workers=workers,
        prepare=len(given) / _fastest(lambda: _prepare(plan, given)),
        draft=_draft(plan, given),
        graph=len(given) / _fastest(lambda: [session.run(batch) for batch in ready]),
        batch=max(map(len, batches)),
        whole=len(given) / _fastest(whole),
        bus=None if plan.device.kind == "cpu" else runtime.bus_speed(plan.device.each()[0], lock=True),
        sample_bytes=sum(piece.nbytes for piece in pieces) // len(pieces),
    )


def _made_up(card: Card) -> list[Any]:
    return synthetic.texts(TEXTS) if card.modality == "text" else synthetic.photographs(SIZES)


def _fastest(work: Callable[[], object]) -> float:
    """Give the seconds of the fastest pass."""
    seconds = []
    for _ in range(PASSES):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def _prepare(plan: stream.Plan, samples: Sequence[Any]) -> None:
    """Prepare samples as one thread of the line does."""
    preparer = stream.PREPARERS[type(plan.recipe.input)](plan)
    sources = [preparer.read(sample) for sample in samples]
    for i in range(0, len(sources), PART):
        preparer.prepare(sources[i : i + PART])


def _draft(plan: stream.Plan, samples: Sequence[Any]) -> float | None:
    """Prepare with a decoder that shrinks while it decodes."""
    spec = plan.recipe.input
    if not isinstance(spec, ImageSpec) or spec.draft:
        return None
    recipe = dataclasses.replace(plan.recipe, input=dataclasses.replace(spec, draft=True))
    return len(samples) / _fastest(lambda: _prepare(plan._replace(recipe=recipe), samples))


def _batches(pieces: Sequence[Any], size: int, *, by_length: bool) -> list[list[Any]]:
    """Cut into batches of so many pieces, or of so many tokens, similar lengths together."""
    if not by_length:
        return [list(pieces[i : i + size]) for i in range(0, len(pieces), size)]
    batches: list[list[Any]] = []
    for piece in sorted(pieces, key=len, reverse=True):
        if not batches or (len(batches[-1]) + 1) * len(batches[-1][0]) > size:
            batches.append([])
        batches[-1].append(piece)
    return batches


def advice(bounds: Bounds, card: Card) -> list[str]:
    """Say what would make the machine faster, the first thing first.

    Parameters
    ----------
    bounds : Bounds
        From `measure`.
    card : Card
        Of the model that was measured.

    Returns
    -------
    list of str
        Sentences, with the figure where it was measured.
    """
    again = "cache='memory' (the default) or a folder: a sample is embedded once, whatever is fitted on its row."
    if bounds.bound == "prepare":
        tips = []
        if bounds.draft is not None and bounds.draft > 1.1 * bounds.prepare:
            gain = f"{bounds.draft / bounds.prepare:.1f} times as fast to prepare, pixels differ slightly"
            tips.append(f"load_card(model, draft=True): {gain}.")
        if card.modality == "text":
            tips.append("max_length: fewer tokens of each text.")
        return [*tips, "More cores, or files that are smaller to begin with.", again]
    if bounds.bound == "transfer":
        return ["The bus is the limit: smaller input (size of the card), or another slot for the card.", again]
    if bounds.bus is not None:
        return ["precision='fp16', if the card has tensor cores.", "A smaller model.", again]
    kept = quantization.kept(card, "int8")
    how = f"{kept.measured['speed']} times as fast, measured" if kept else "often 1.4 to 2.4 times as fast"
    return [f"precision='int8': the graph is {how}.", "A smaller model, or more cores.", again]
