"""Texts at work for one call: batches are made of similar lengths, and what truncation loses is counted."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from skltransfer._engine.modalities._modality import File, Piece, Plain, Room
from skltransfer._engine.modalities.text._filenames import FileNames
from skltransfer._engine.modalities.text._tokens import (
    PADDING,
    PROBES,
    Loss,
    Source,
    collate,
    open_tokenizer,
    prepare,
    read,
)
from skltransfer.cards import TextSpec


class TextPreparer(Plain):
    """Prepares texts: one piece of token ids each, or several windows of a long one."""

    #: Tokens of a batch: on a CPU fewer are slower each, more bring padding.
    sizes: ClassVar = {"fused": 256, "pipelined": 16384}
    bulk: ClassVar = True
    by_length: ClassVar = True

    def __init__(self, spec: TextSpec, files: Mapping[str, File]) -> None:
        super().__init__(spec)
        self._tokenizer = open_tokenizer(files["tokenizer"], spec)
        self._loss, self._seen = Loss(), 0
        self._tokens = self._run = 0
        self._lock = threading.Lock()
        self._names = FileNames()

    def read(self, sample: Any) -> Source:
        """Read a text."""
        self._names.look(sample)
        return read(sample)

    def prepare(self, sources: Sequence[Source]) -> list[list[Piece]]:
        """Convert texts to pieces of token ids."""
        pieces, loss = prepare(sources, self.spec, self._tokenizer)
        with self._lock:
            self._loss, self._seen = self._loss + loss, self._seen + len(sources)
        return pieces

    def probe(self, like: Sequence[Piece] | None) -> npt.NDArray[Any]:
        """Return the ids of `PROBES`."""
        pieces, _ = prepare([read(text) for text in PROBES], self.spec, self._tokenizer)
        return collate([parts[0] for parts in pieces])

    def first(self, samples: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the first text without the padding the others bring."""
        return collate([samples[0][samples[0] != PADDING]])

    def collate(self, pieces: Sequence[Piece], room: Room = np.empty, *, step: int = 1) -> npt.NDArray[Any]:
        """Pad pieces to the longest, rounded up to a multiple of `step`."""
        longest = -(-max(map(len, pieces)) // step) * step
        ids = collate(pieces, min(longest, self.spec.max_length), room)
        with self._lock:
            self._tokens, self._run = self._tokens + sum(map(len, pieces)), self._run + ids.size
        return ids

    def details(self) -> list[str]:
        """Return how much of what ran was padding."""
        if not self._run:
            return []
        waste = 1 - self._tokens / self._run
        return [f"{self._tokens:,} tokens were run; {waste:.1%} of what went through the graph was padding."]

    def notes(self) -> list[str]:
        """Return whether texts are names of files, and how much truncation lost."""
        loss, notes = self._loss, self._names.notes()
        if loss.texts:
            least = "at least " if loss.cut else ""
            notes.append(
                f"{loss.texts} of {self._seen} texts are longer than max_length={self.spec.max_length} tokens: "
                f"{least}{loss.tokens / loss.of:.1%} of all tokens were cut off. To use them: long_text='windows'."
            )
        if loss.capped:
            notes.append(
                f"{loss.capped} of {self._seen} texts are longer than max_chars={self.spec.max_chars:,} characters; "
                "the rest of them was not looked at. To use it, split them, or raise the cap: "
                "load_card(model, max_chars=...)."
            )
        return notes
