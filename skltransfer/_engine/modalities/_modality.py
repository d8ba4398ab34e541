"""`Modality`, one row of the table of kinds of samples, and `Preparer`, which works for one call."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from skltransfer._engine import process
from skltransfer.cards import Card, GraphInfo, InputSpec

Piece = npt.NDArray[Any]
#: Makes an array to fill, of a shape and a type.
Room = Callable[[tuple[int, ...], Any], npt.NDArray[Any]]


@dataclass(frozen=True)
class File:
    """A file of a card, as it was planned with.

    Parameters
    ----------
    path : Path
        Where it lies.
    sha256 : str
        Of its content.
    """

    path: Path
    sha256: str

    def read(self) -> bytes:
        """Read the content.

        Raises
        ------
        IntegrityError
            If it is another one by now.
        """
        return process.read_once(self.path, self.sha256)


class Preparer(Protocol):
    """Prepares the samples of one call; its methods are called by many threads.

    Attributes
    ----------
    bulk : bool
        Whether many samples are prepared faster at once than one by one.
    by_length : bool
        Whether pieces have lengths, so that a batch is best made of similar ones.
    """

    bulk: ClassVar[bool]
    by_length: ClassVar[bool]

    def batch_size(self, form: str) -> int:
        """Return the size of a batch in a form of the line: samples, or tokens where lengths differ."""

    def glance(self, sample: Any) -> bytes | None:
        """Return the digest of a sample that was read before and has not changed; None if it has to be read."""

    def read(self, sample: Any) -> Any:
        """Read a sample; the result has ``digest()`` and ``path``."""

    def prepare(self, sources: Sequence[Any]) -> list[list[Piece]]:
        """Turn each source into the pieces that are run; its row is the mean of their rows."""

    def collate(self, pieces: Sequence[Piece], room: Room = np.empty, *, step: int = 1) -> npt.NDArray[Any]:
        """Stack pieces into one array, made by `room`; where they have lengths, its own is a multiple of `step`."""

    def probe(self, like: Sequence[Piece] | None) -> npt.NDArray[Any]:
        """Return three collated samples to try a graph on; `like` are prepared ones of the user's, if at hand."""

    def strangers(self, samples: npt.NDArray[Any], like: Sequence[Piece] | None) -> npt.NDArray[Any] | None:
        """Return others to try it on if all had the same row; empty: that proves nothing; None: it does."""

    def first(self, samples: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the first of collated samples as it is without the others."""

    def path(self, sample: Any) -> str | None:
        """Return the path of a sample that is one."""

    def notes(self) -> list[str]:
        """Return what is worth a warning, once the call is over."""

    def details(self) -> list[str]:
        """Return what only someone who asks for details wants to know, once the call is over."""


class Numbers(NamedTuple):
    """Conversion of a numeric X to the type a graph takes.

    Attributes
    ----------
    dtype : callable
        Takes the spec; returns the type in which scikit-learn is to check X.
    convert : callable
        Takes the checked X and the spec; returns it in the graph's type, or raises ValueError.
    """

    dtype: Callable[[Any], str]
    convert: Callable[[npt.NDArray[Any], Any], npt.NDArray[Any]]


@dataclass(frozen=True)
class Modality:
    """One kind of sample: everything the package can do with it.

    Parameters
    ----------
    name : str
        As in `Card.modality`.
    spec : type of InputSpec
        How a sample becomes the graph's input.
    signs : callable
        Takes a `GraphInfo` and the roles of the files beside the graph; returns the signs, in words, that a graph
        without a card takes this kind.
    complete : callable
        Takes a card without or with ``input``, a `GraphInfo` and the fields the caller gave; returns the fields of the
        input that can be known.
    describe : callable or None
        Takes the card of a bare graph, a `GraphInfo` and the wanted layer or None; returns the fields of card and input
        that the files beside the graph say. None where there are no such files.
    check : callable
        Takes the spec and a `GraphInfo`; raises `CardError` if they contradict each other.
    preprocess : callable
        Takes a `graph.Editor`, the spec and a `GraphInfo`; puts the nodes before the graph that turn collated pieces
        into its inputs.
    preparer : callable
        Takes the spec and the verified files of the card by role; returns a `Preparer`. Where the recipe has views, it
        also takes ``views``.
    synthetic : callable or None
        Takes a purpose, ``"compare"`` or ``"measure"``; returns samples for it, the same on every machine. None where
        nobody can make them up.
    to_tensor : callable or None
        Takes a sample and the spec; returns the original graph's input (1, ...), to calibrate on. None: not supported.
    faster : callable or None
        Takes a spec; returns one that is faster to prepare and gives slightly different numbers, or None.
    advice : tuple of str
        What makes preparation faster.
    mask : callable or None
        Takes samples, the spec and the files; returns which tokens are no padding. None where there are no tokens.
    presets : mapping of str to mapping
        Fields of the spec by the name of a usual choice, for ``preset=``.
    numbers : Numbers or None
        What is done to X, a numeric array; None where X is a column of samples.
    needs : tuple of str
        Roles of files a card must list.
    views : tuple of str
        Views that the mean may be taken of, as in `Recipe`.
    variants : tuple of str
        Views of which a row may be made, by the first word, as in `Recipe`.
    prepared : str
        What prepared samples are called as input of an exported file.
    explain : callable or None
        Takes the spec; returns in words how a sample is prepared, for programs in other languages.
    """

    name: str
    spec: type[InputSpec]
    signs: Callable[[GraphInfo, Collection[str]], list[str]]
    complete: Callable[[Any, GraphInfo, Mapping[str, Any]], dict[str, Any]]
    check: Callable[[Any, GraphInfo], None]
    preprocess: Callable[[Any, Any, GraphInfo], None]
    preparer: Callable[..., Preparer]
    synthetic: Callable[[str], list[Any]] | None = None
    to_tensor: Callable[[Any, Any], npt.NDArray[Any]] | None = None
    faster: Callable[[Any], InputSpec | None] | None = None
    advice: tuple[str, ...] = ()
    describe: Callable[[Card, GraphInfo, str | None], dict[str, Any]] | None = None
    mask: Callable[[Sequence[Any], Any, Mapping[str, File]], npt.NDArray[np.bool_]] | None = None
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    numbers: Numbers | None = None
    needs: tuple[str, ...] = ()
    views: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()
    prepared: str = "samples"
    explain: Callable[[Any], str] | None = None

    @property
    def numeric(self) -> bool:
        """Whether X is a numeric array, checked as scikit-learn checks numbers, and not a column of samples."""
        return self.numbers is not None


class Plain:
    """A preparer of pieces of one shape, prepared one by one, with nothing to note; base for others."""

    sizes: ClassVar[dict[str, int]] = {}
    bulk: ClassVar = False
    by_length: ClassVar = False

    def __init__(self, spec: Any, files: Mapping[str, File] | None = None) -> None:
        self.spec = spec

    def batch_size(self, form: str) -> int:
        """Return the size of a batch in a form of the line."""
        return self.sizes[form]

    def glance(self, sample: Any) -> bytes | None:
        """Return None: every sample is read."""
        return None

    def collate(self, pieces: Sequence[Piece], room: Room = np.empty, *, step: int = 1) -> npt.NDArray[Any]:
        """Stack pieces of one shape."""
        return np.stack(pieces, out=room((len(pieces), *pieces[0].shape), pieces[0].dtype))

    def strangers(self, samples: npt.NDArray[Any], like: Sequence[Piece] | None) -> npt.NDArray[Any] | None:
        """Return None: samples that were chosen to differ have different rows."""
        return None

    def first(self, samples: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the first of collated samples."""
        return samples[:1]

    def path(self, sample: Any) -> str | None:
        """Return None: samples are no paths."""
        return None

    def notes(self) -> list[str]:
        """Return nothing."""
        return []

    def details(self) -> list[str]:
        """Return nothing."""
        return []


def is_missing(sample: Any) -> bool:
    """Return whether a sample is None, NaN, or the NA or NaT of pandas, the first of which refuses to be compared."""
    if isinstance(sample, (float, np.floating)):
        return bool(np.isnan(sample))
    return sample is None or type(sample).__name__ in ("NAType", "NaTType")
