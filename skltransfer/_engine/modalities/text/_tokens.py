"""Tokens: strings to ids, exactly as the card's tokenizer.json says. What is cut off is counted."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from skltransfer._engine import process
from skltransfer._engine.modalities._modality import File, is_missing
from skltransfer.cards import TextSpec
from skltransfer.errors import CardError, Unreadable, need

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

Ids = npt.NDArray[np.int32]

#: Marks what fills up the shorter texts of a batch; the graph makes the attention mask of it.
PADDING = -1

#: Texts to try a graph on: short, long, and not English.
PROBES = ("A good day.", "The quick brown fox jumps over the lazy dog, and then over another one.", "Ça va très bien!")


#: Characters of a text that are looked at for each token of `max_length`. English has 4 to 5 in a token, code with its
#: indentation up to 10.
CHARS_A_TOKEN = 16
#: Characters that are looked at however few tokens are kept, so that texts of ordinary length are counted in full.
LEAST_CHARS = 4_096
#: Tokens that must be lost of the characters looked at: the word that is cut in two is none of those that are kept. A
#: WordPiece has 100 characters of a word at most.
SURE = 128
#: Characters of a part of a long text that is taken in windows.
PART_CHARS = 65_536
#: Fingerprints of texts begin with it.
HASHER = hashlib.blake2b(digest_size=16, person=b"text")
#: Characters encoded at a time: 50 MB of encodings.
AT_ONCE = 262_144


class Source(NamedTuple):
    """A text that has been checked.

    Attributes
    ----------
    data : str
        The text.
    path : None
        Texts have none.
    """

    data: str
    path: str | None = None

    def digest(self) -> bytes:
        """Compute the fingerprint: 16 bytes."""
        hasher = HASHER.copy()  # three fifths of the time of a new one
        hasher.update(self.data.encode())
        return hasher.digest()


class Loss(NamedTuple):
    """Count of what truncation cut off.

    Attributes
    ----------
    texts : int
        Texts longer than ``max_length``.
    tokens : int
        Tokens of theirs that are lost.
    of : int
        Tokens of all texts.
    capped : int
        Texts longer than ``max_chars``; what they lost by it is in no other count.
    cut : int
        Texts of which more characters were given than the tokens need; `tokens` and `of` lack the rest of them.
    """

    texts: int = 0
    tokens: int = 0
    of: int = 0
    capped: int = 0
    cut: int = 0

    def __add__(self, other: Any) -> Loss:
        """Add up counts."""
        return Loss(*(a + b for a, b in zip(self, other, strict=True)))


def read(sample: Any) -> Source:
    """Check a sample.

    Parameters
    ----------
    sample : str
        A text; the empty one is a text.

    Raises
    ------
    Unreadable
        If it is missing, no string, or cannot be encoded.
    """
    if not isinstance(sample, str):
        what = (
            f"the sample is missing ({sample!r})"
            if is_missing(sample)
            else f"{type(sample).__name__} is no text; give a str"
        )
        raise Unreadable(what + (", such as sample.decode('utf8')" if isinstance(sample, bytes) else ""))
    text = str.__str__(sample)  # of a subclass the plain text, whatever it shows itself as
    if text.isascii():  # known without looking at it
        return Source(text)
    try:
        text.encode()
    except UnicodeEncodeError as err:
        raise Unreadable(
            f"the text holds a lone surrogate at position {err.start}; replace it with text.encode('utf8', "
            "'replace').decode()"
        ) from err
    return Source(text)


def prepare(sources: Sequence[Source], spec: TextSpec, tokenizer: Tokenizer) -> tuple[list[list[Ids]], Loss]:
    """Convert texts to token ids.

    Parameters
    ----------
    sources : sequence of Source
        From `read`.
    spec : TextSpec
        Of the card.
    tokenizer : Tokenizer
        From `open_tokenizer`, with the same spec.

    Returns
    -------
    pieces : list of list of ndarray, int32
        For each text its ids, special tokens included: one piece, or several windows of a long one.
    loss : Loss
    """
    kept = slice(None, spec.max_chars) if spec.truncation == "right" else slice(-spec.max_chars, None)
    texts = [spec.prefix + source.data[kept] for source in sources]
    capped = sum(len(source.data) > spec.max_chars for source in sources)
    if spec.long_text == "windows":
        return _windows(texts, spec, tokenizer), Loss(capped=capped)
    encodings, cut = _truncated(texts, spec, tokenizer)
    special = tokenizer.num_special_tokens_to_add(False)
    lost = [_lost(e, special) for e in encodings]
    of = sum(lost) + sum(len(e) - special for e in encodings)
    return [[_ids(e, spec)] for e in encodings], Loss(sum(map(bool, lost)), sum(lost), of, capped, cut)


def _truncated(texts: Sequence[str], spec: TextSpec, tokenizer: Tokenizer) -> tuple[list[Encoding], int]:
    """Encode as many characters of each text as its first (or last) `max_length` tokens need.

    Where they turn out to be too few, as with a thousand spaces in a row, more are taken.

    Returns
    -------
    encodings : list of Encoding
        Of all texts.
    cut : int
        Texts whose other characters were not looked at.
    """
    encodings: dict[int, Encoding] = {}
    special = tokenizer.num_special_tokens_to_add(False)
    left, most, cut = list(range(len(texts))), max(LEAST_CHARS, CHARS_A_TOKEN * spec.max_length), 0
    while left:
        parts = [texts[i][:most] if spec.truncation == "right" else texts[i][-most:] for i in left]
        encodings |= dict(zip(left, _encode(parts, tokenizer), strict=True))
        longer = [i for i in left if len(texts[i]) > most]
        left = [i for i in longer if _lost(encodings[i], special) < SURE]
        cut, most = cut + len(longer) - len(left), 8 * most
    return [encodings[i] for i in range(len(texts))], cut


def _lost(encoding: Encoding, special: int) -> int:
    """Return the number of tokens that truncation cut off."""
    return sum(len(part) - special for part in encoding.overflowing)


def _windows(texts: Sequence[str], spec: TextSpec, tokenizer: Tokenizer) -> list[list[Ids]]:
    """Encode each text, a long one in parts, and return all of its windows."""
    size = max(PART_CHARS, CHARS_A_TOKEN * spec.max_length)
    parts = [_parts(text, size, spec.truncation) for text in texts]
    encodings = iter(_ids_of_windows([part for one in parts for part in one], spec, tokenizer))
    return [[ids for _ in one for ids in next(encodings)] for one in parts]


def _ids_of_windows(texts: Sequence[str], spec: TextSpec, tokenizer: Tokenizer) -> Iterator[list[Ids]]:
    for encoding in _encode(texts, tokenizer):
        yield [_ids(part, spec) for part in (encoding, *encoding.overflowing)]


def _parts(text: str, size: int, side: str) -> list[str]:
    """Cut a text into parts of at most so many characters, between words where there are any.

    The short part is the last one; where texts are cut on the left, the first.
    """
    if len(text) <= size:
        return [text]
    if side == "left":
        return [part[::-1] for part in reversed(_parts(text[::-1], size, "right"))]
    parts = []
    while len(text) > size:
        end = text.rfind(" ", size // 2, size)
        end = size if end < 0 else end
        parts.append(text[:end])
        text = text[end:]
    return [*parts, text]


def _encode(texts: Sequence[str], tokenizer: Tokenizer) -> Iterator[Encoding]:
    """Encode texts, some at a time: an encoding takes a hundred times the bytes of its ids."""
    group: list[str] = []
    held = 0
    for text in texts:
        if held + len(text) > AT_ONCE:
            yield from tokenizer.encode_batch_fast(group)  # without the places in the text, which nobody asks for
            group, held = [], 0
        group.append(text)
        held += len(text)
    yield from tokenizer.encode_batch_fast(group)


def _ids(encoding: Encoding, spec: TextSpec) -> Ids:
    """Return the ids; where there are none at all, one of padding, for a graph has to attend to something."""
    ids = encoding.ids or [spec.pad]
    return np.array(ids + [spec.pad] * (spec.max_length - len(ids)) if spec.fill else ids, np.int32)


def collate(pieces: Sequence[Ids], length: int = 1, room: Callable[..., Ids] = np.empty) -> Ids:
    """Pad pieces of different lengths with `PADDING` to one array (n, longest), of `length` at least.

    `room` makes the array, given its shape and type.
    """
    out = room((len(pieces), max(length, *(len(piece) for piece in pieces))), np.int32)
    out[:] = PADDING
    for row, piece in zip(out, pieces, strict=True):
        row[: len(piece)] = piece
    return out


def open_tokenizer(file: File, spec: TextSpec) -> Tokenizer:
    """Open a tokenizer.json; once per process, content and spec.

    Raises
    ------
    MissingDependencyError
        If tokenizers is not installed.
    CardError
        If the file is no tokenizer, or `max_length` leaves no room for a token.
    IntegrityError
        If the file has been replaced since the plan was made.
    """
    with _opening:
        return _open(file, spec)


def _set_case(tokenizer: Tokenizer, lowercase: bool | None) -> None:
    """Let a tokenizer lower-case its texts, or not, as its authors set beside tokenizer.json."""
    normalizer = tokenizer.normalizer
    if lowercase is None or getattr(normalizer, "lowercase", None) == lowercase:
        return
    if hasattr(normalizer, "lowercase"):  # that of BERT, which strips accents with it
        normalizer.lowercase = lowercase
        tokenizer.normalizer = normalizer
    elif lowercase:
        normalizers = need("tokenizers.normalizers", extra="text")
        lower = normalizers.Lowercase()
        tokenizer.normalizer = normalizers.Sequence([lower, normalizer]) if normalizer else lower


#: Held while a tokenizer is opened: many threads of one call want the same.
_opening = process.lock()


@process.memo(16, survives_fork=False)
def _open(file: File, spec: TextSpec) -> Tokenizer:
    tokenizer = parse_tokenizer(file.read(), file.path.name)
    special = tokenizer.num_special_tokens_to_add(False)
    if spec.max_length <= special:
        raise CardError(
            f"max_length={spec.max_length} leaves no room for a token of the text beside {special} special ones; give "
            f"at least {special + 1}."
        )
    _set_case(tokenizer, spec.lowercase)
    tokenizer.no_padding()
    tokenizer.enable_truncation(spec.max_length, direction=spec.truncation)
    tokenizer.encode_special_tokens = True  # "[PAD]" in a text is five characters, not a token
    return tokenizer


def parse_tokenizer(content: bytes, name: str) -> Tokenizer:
    """Parse a tokenizer.json.

    Raises
    ------
    MissingDependencyError
        If tokenizers is not installed.
    CardError
        If it is no tokenizer.
    """
    # Our workers are the threads; the library's own would come on top, and it warns about them after a fork.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    library = need("tokenizers", extra="text")
    try:
        return library.Tokenizer.from_str(content.decode())  # type: ignore[no-any-return]  # tokenizers is not typed
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as err:  # a panic of Rust is no Exception
        raise CardError(f"{name!r} is no tokenizer: {err}") from err
