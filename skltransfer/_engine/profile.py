"""The bottleneck of this machine: preparing samples, the copy to the device, or the graph; and what speeds it up."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from skltransfer._engine import catalog, modalities, quantization, runtime, stream
from skltransfer._engine import plan as plans
from skltransfer._engine.samples import Samples
from skltransfer.cards import Card
from skltransfer.errors import CardError

#: Samples prepared at a time, as a thread of the stream does.
PART = 8
#: Passes; the fastest counts, because others are slowed by the rest of the machine.
PASSES = 3


@dataclass(frozen=True)
class Profile:
    """Speeds, in samples per second unless stated otherwise.

    Parameters
    ----------
    model, device : str
        Name of the backbone, and the device it ran on.
    samples, workers : int
        Number of samples, and of threads of `end_to_end`.
    prepare : float
        Read, decode, resize or tokenize, on one thread.
    draft : float or None
        As `prepare`, with ``draft=True``; None if the samples are not images or the card says so already.
    graph : float
        The graph alone: one thread of a CPU, or the device.
    batch_size : int
        Most samples of one run of the graph.
    end_to_end : float
        From samples to rows on all threads, nothing cached.
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
    batch_size: int
    end_to_end: float
    bus: float | None
    sample_bytes: int

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds per sample of each step. For a device all threads prepare, and all steps run at the same time."""
        if self.bus is None:
            return {"prepare": 1 / self.prepare, "graph": 1 / self.graph}
        steps = {"prepare": 1 / (self.prepare * self.workers), "graph": 1 / self.graph}
        return {**steps, "transfer": self.sample_bytes / self.bus}

    @property
    def bottleneck(self) -> str:
        """The slowest step: ``"prepare"``, ``"graph"`` or ``"transfer"``."""
        return max(self.seconds, key=lambda step: self.seconds[step])

    @property
    def share(self) -> float:
        """Part of the time that the bottleneck takes; 1 on a device, where the steps run at the same time."""
        longest = self.seconds[self.bottleneck]
        return longest / sum(self.seconds.values()) if self.bus is None else 1.0


def measure(
    model: str | os.PathLike[str] | Card = "vision-mini", device: str = "auto", samples: Sequence[Any] | None = None
) -> Profile:
    """Measure preparation, graph, bus and everything together, on this machine.

    Parameters
    ----------
    model, device
        As in `PretrainedEmbedder`.
    samples : sequence, optional
        Images or texts. Synthetic by default: JPEG files of 0.25 to 0.8 million pixels, or texts of 5 to 300 words.

    Returns
    -------
    Profile

    Raises
    ------
    CardError
        If the model takes arrays: there is nothing to prepare, and no synthetic samples exist.
    SampleError
        If a sample cannot be read.
    """
    card = catalog.load_card(model)
    plan = plans.make(card, runtime.resolve(device))
    if (synthetic := plan.modality.synthetic) is None:
        raise CardError(
            f"{card.name!r} takes {card.modality} samples, which need no preparation: all of the time is that of its "
            "graph."
        )
    given = synthetic("measure") if samples is None else list(samples)

    def end_to_end() -> None:
        stream.embed(Samples(given, len(given)), plan, options=stream.Options(n_jobs=None))

    end_to_end()  # opens the backbone, warms up, and raises for samples that cannot be read
    preparer = plan.preparer()
    pieces = [parts[0] for sample in given for parts in preparer.prepare([preparer.read(sample)])]
    batches = _batches(pieces, preparer.batch_size(stream.LINES[plan.device.kind].form), by_length=preparer.by_length)
    ready = [preparer.collate(batch) for batch in batches]
    session = stream.open_backbone(plan, pieces)
    return Profile(
        model=card.name,
        device=str(plan.device),
        samples=len(given),
        workers=runtime.workers(None),
        prepare=len(given) / _fastest(lambda: _prepare(plan, given)),
        draft=_draft(plan, given),
        graph=len(given) / _fastest(lambda: [session.run(batch) for batch in ready]),
        batch_size=max(map(len, batches)),
        end_to_end=len(given) / _fastest(end_to_end),
        bus=None if plan.device.kind == "cpu" else runtime.bus_speed(plan.device.each()[0], lock=True),
        sample_bytes=sum(piece.nbytes for piece in pieces) // len(pieces),
    )


def _fastest(work: Callable[[], object]) -> float:
    """Return the seconds of the fastest pass."""
    seconds = []
    for _ in range(PASSES):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def _prepare(plan: plans.Plan, samples: Sequence[Any]) -> None:
    """Prepare samples as one thread of the stream does."""
    preparer = plan.preparer()
    sources = [preparer.read(sample) for sample in samples]
    for i in range(0, len(sources), PART):
        preparer.prepare(sources[i : i + PART])


def _draft(plan: plans.Plan, samples: Sequence[Any]) -> float | None:
    """Measure preparation by the faster specification, if there is one: a decoder that shrinks while it decodes."""
    faster = plan.modality.faster(plan.recipe.input) if plan.modality.faster else None
    if faster is None:
        return None
    other = dataclasses.replace(plan, recipe=dataclasses.replace(plan.recipe, input=faster))
    return len(samples) / _fastest(lambda: _prepare(other, samples))


def _batches(pieces: Sequence[Any], size: int, *, by_length: bool) -> list[list[Any]]:
    """Split into batches of `size` pieces, or of `size` tokens with similar lengths together."""
    if not by_length:
        return [list(pieces[i : i + size]) for i in range(0, len(pieces), size)]
    batches: list[list[Any]] = []
    for piece in sorted(pieces, key=len, reverse=True):
        if not batches or (len(batches[-1]) + 1) * len(batches[-1][0]) > size:
            batches.append([])
        batches[-1].append(piece)
    return batches


def advice(profile: Profile, card: Card) -> list[str]:
    """List what would speed up the bottleneck, the most effective first.

    Parameters
    ----------
    profile : Profile
        From `measure`.
    card : Card
        The card of the measured model.

    Returns
    -------
    list of str
        Sentences, with the speed-up if it was measured.
    """
    again = "cache='memory' (the default) or a folder: each sample is embedded once, however often it is used."
    if profile.bottleneck == "prepare":
        tips = []
        if profile.draft is not None and profile.draft > 1.1 * profile.prepare:
            gain = f"images are prepared {profile.draft / profile.prepare:.1f} times as fast, pixels differ slightly"
            tips.append(f"load_card(model, draft=True): {gain}.")
        return [*tips, *modalities.of(card.modality).advice, "More cores, or smaller files.", again]
    if profile.bottleneck == "transfer":
        return ["A smaller input size (load_card(model, size=...)), or a faster PCIe slot for the GPU.", again]
    if profile.bus is not None:
        return ["precision='fp16', if the GPU has tensor cores.", "A smaller model.", again]
    found = quantization.find_quantized(card, "int8")
    how = f"{found.measured['speed']} times as fast, measured" if found else "often 1.4 to 2.4 times as fast"
    return [f"precision='int8': the graph is {how}.", "A smaller model, or more cores.", again]
