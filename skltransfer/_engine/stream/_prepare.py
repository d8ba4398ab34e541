"""What is done to samples of each kind: a row of `PREPARERS` per input specification, no `if` anywhere else."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from skltransfer._engine import hub, runtime
from skltransfer._engine.modalities import array as arrays
from skltransfer._engine.modalities import image as images
from skltransfer._engine.modalities import text as texts
from skltransfer.cards import ArraySpec, Card, ImageSpec, Recipe, TextSpec
from skltransfer.errors import CardError

Piece = npt.NDArray[Any]


@dataclass(frozen=True)
class View:
    """The part of a wider row that is wanted.

    Parameters
    ----------
    columns : tuple of slice
        Columns of the wider row, to be put side by side.
    normalize : bool
        Whether to scale the result to unit L2 norm.
    """

    columns: tuple[slice, ...]
    normalize: bool

    def take(self, row: runtime.Rows) -> runtime.Rows:
        """Take the part out of a row."""
        part = np.concatenate([row[columns] for columns in self.columns])
        return scaled(part) if self.normalize else part


def scaled(rows: runtime.Rows) -> runtime.Rows:
    """Scale a row, or each of several, to unit L2 norm."""
    norms = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.asarray(rows / np.maximum(norms, np.finfo(np.float32).tiny), np.float32)


class Plan(NamedTuple):
    """What to run, and where.

    Attributes
    ----------
    card : Card
        Where the graph lies.
    recipe : Recipe
        What is made of it.
    device : runtime.Device
        Where it runs.
    view : View or None
        What is wanted of the rows it gives; None: all of them.
    """

    card: Card
    recipe: Recipe
    device: runtime.Device
    view: View | None = None

    def take(self, row: runtime.Rows) -> runtime.Rows:
        """Take what is wanted out of a row."""
        return row if self.view is None else self.view.take(row)


class Preparer(Protocol):
    """Prepares the samples of one call of `embed`; its methods are called by many threads.

    Attributes
    ----------
    bulk : bool
        Whether many samples are prepared faster at once than one by one.
    by_length : bool
        Whether pieces have lengths, so that a batch is best made of similar ones.
    """

    bulk: ClassVar[bool]
    by_length: ClassVar[bool]

    def batch(self, form: str) -> int:
        """Give the size of a batch in a form of the line: samples, or tokens where lengths differ."""

    def glance(self, sample: Any) -> bytes | None:
        """Give the digest of a sample that was read before and has not changed; None if it has to be read."""

    def read(self, sample: Any) -> Any:
        """Read a sample; what comes back has ``digest()`` and ``path``."""

    def prepare(self, sources: Sequence[Any]) -> list[list[Piece]]:
        """Turn each source into the pieces that are run; its row is the mean of their rows."""

    def collate(self, pieces: Sequence[Piece], room: runtime.Room = np.empty, *, step: int = 1) -> npt.NDArray[Any]:
        """Put pieces into one array, made by `room`; where they have lengths, its own is a multiple of `step`."""

    def probe(self, like: Piece | None) -> npt.NDArray[Any]:
        """Make three samples up, to try a graph on."""

    def first(self, samples: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Give the first of collated samples as it is without the others."""

    def path(self, sample: Any) -> str | None:
        """Give the path a sample is, if it is one."""

    def notes(self) -> list[str]:
        """Say what was noticed and is worth a warning, once the call is over."""

    def details(self) -> list[str]:
        """Say what someone who asks for details wants to know, once the call is over."""


class _Plain:
    """What images and arrays have in common: pieces of one shape, prepared one by one, nothing to note."""

    batches: ClassVar[dict[str, int]] = {}
    bulk: ClassVar = False
    by_length: ClassVar = False

    def __init__(self, plan: Plan) -> None:
        self.spec: Any = plan.recipe.input

    def batch(self, form: str) -> int:
        return self.batches[form]

    def glance(self, sample: Any) -> bytes | None:
        return None

    def collate(self, pieces: Sequence[Piece], room: runtime.Room = np.empty, *, step: int = 1) -> npt.NDArray[Any]:
        return np.stack(pieces, out=room((len(pieces), *pieces[0].shape), pieces[0].dtype))

    def first(self, samples: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return samples[:1]

    def path(self, sample: Any) -> str | None:
        return None

    def notes(self) -> list[str]:
        return []

    def details(self) -> list[str]:
        return []


class _Images(_Plain):
    #: Pixels of a batch: two images of 224 x 224, ten of 96 x 96. More no longer fit the processor's cache (measured: 4
    #: of 224 x 224 take 7 % more time each), less is spent on handing batches around.
    batches: ClassVar = {"fused": 2 * 224 * 224, "pipelined": 64 * 224 * 224}
    #: Images of a batch however small the input: originals of any size wait for it in memory.
    most: ClassVar = {"fused": 16, "pipelined": 256}
    read = staticmethod(images.read)
    glance = staticmethod(images.glance)
    path = staticmethod(images.path_of)

    def batch(self, form: str) -> int:
        height, width = self.spec.size
        return max(1, min(int(self.most[form]), int(self.batches[form] // (height * width))))

    def prepare(self, sources: Sequence[images.Source]) -> list[list[Piece]]:
        return [[images.prepare(source, self.spec)] for source in sources]

    def probe(self, like: Piece | None) -> npt.NDArray[Any]:
        return images.probe(self.spec)


class _Arrays(_Plain):
    batches: ClassVar = {"fused": 1024, "pipelined": 4096}
    read = staticmethod(arrays.read)

    def prepare(self, sources: Sequence[arrays.Source]) -> list[list[Piece]]:
        return [[source.data] for source in sources]

    def probe(self, like: Piece | None) -> npt.NDArray[Any]:
        if like is None:
            raise CardError("The graph takes rows of any length; give it at least one, so that its width is known.")
        return arrays.probe(self.spec, like)


class _Texts(_Plain):
    """Texts: batches are made of similar lengths, and what truncation loses is counted."""

    batches: ClassVar = {"fused": 512, "pipelined": 16384}
    bulk: ClassVar = True
    by_length: ClassVar = True
    read = staticmethod(texts.read)

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        if "tokenizer" not in plan.card.files:
            raise CardError(
                f"The card of {plan.card.name!r} takes texts and lists no file 'tokenizer' (a tokenizer.json)."
            )
        hub.verified(plan.card)
        path = (plan.card.folder or Path()) / plan.card.files["tokenizer"].path
        self._tokenizer = texts.open_tokenizer(path, self.spec)
        self._loss, self._seen = texts.Loss(), 0
        self._tokens = self._run = 0
        self._lock = threading.Lock()

    def prepare(self, sources: Sequence[texts.Source]) -> list[list[Piece]]:
        pieces, loss = texts.prepare(sources, self.spec, self._tokenizer)
        with self._lock:
            self._loss, self._seen = self._loss + loss, self._seen + len(sources)
        return pieces

    def probe(self, like: Piece | None) -> npt.NDArray[Any]:
        pieces, _ = texts.prepare([texts.read(text) for text in texts.PROBES], self.spec, self._tokenizer)
        return texts.collate([parts[0] for parts in pieces])

    def first(self, samples: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return texts.collate([samples[0][samples[0] != texts.PADDING]])

    def collate(self, pieces: Sequence[Piece], room: runtime.Room = np.empty, *, step: int = 1) -> npt.NDArray[Any]:
        longest = -(-max(map(len, pieces)) // step) * step
        ids = texts.collate(pieces, min(longest, self.spec.max_length), room)
        with self._lock:
            self._tokens, self._run = self._tokens + sum(map(len, pieces)), self._run + ids.size
        return ids

    def details(self) -> list[str]:
        if not self._run:
            return []
        waste = 1 - self._tokens / self._run
        return [f"{self._tokens:,} tokens were run; {waste:.1%} of what went through the graph was padding."]

    def notes(self) -> list[str]:
        loss, notes = self._loss, []
        if loss.texts:
            notes.append(
                f"{loss.texts} of {self._seen} texts are longer than max_length={self.spec.max_length} tokens: "
                f"{loss.tokens / loss.of:.1%} of all tokens were cut off. To use them: long_text='windows'."
            )
        if loss.capped:
            notes.append(
                f"{loss.capped} of {self._seen} texts are longer than max_chars={self.spec.max_chars:,} characters; "
                "the rest of them was not looked at. To use it, split them, or raise the cap: "
                "load_card(model, max_chars=...)."
            )
        return notes


PREPARERS: dict[type, Callable[[Plan], Preparer]] = {ImageSpec: _Images, ArraySpec: _Arrays, TextSpec: _Texts}
