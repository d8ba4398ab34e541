"""The table: a vector and a weight per token, in 4 bits."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from distill_text.encoders import Floats, Teacher

Bools = npt.NDArray[np.bool_]

#: Phrases that the teacher embeds with each token: alone, as a noun, after a copula, as an adjective. Any phrase is
#: better than the token alone; random words around it add nothing to these four.
PHRASES = ("{}", "the {}", "this is {}", "it was very {} .")

#: Half the distance between the smallest and the largest of the 16 values of a 4-bit number.
HALF = 7.5


def find_words(tokenizer: Tokenizer) -> Bools:
    """Return which tokens can occur in a text: neither special nor unused."""
    special = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    return np.array([t not in special and not re.fullmatch(r"\[unused\d+\]", t) for t in tokens_of(tokenizer)])


def tokens_of(tokenizer: Tokenizer) -> list[str]:
    """Return the tokens in order of their ids."""
    vocabulary = tokenizer.get_vocab()
    return sorted(vocabulary, key=vocabulary.__getitem__)


def embed_vocabulary(teacher: Teacher, words: Bools) -> Floats:
    """Return the mean embedding of each token over `PHRASES`: (vocabulary, dimensions).

    The mean over all tokens of a phrase, that is the phrase itself, is subtracted.
    """
    total = np.float32(0)
    for phrase in PHRASES:
        start = time.monotonic()
        vectors = teacher.embed_tokens(phrase)
        total += vectors - vectors[words].mean(0)
        print(f"{phrase!r}: {time.monotonic() - start:.0f} s", flush=True)
    return np.where(words[:, None], total / len(PHRASES), 0).astype(np.float32)


def spread(vectors: Floats, words: Bools, power: float) -> Floats:
    """Divide each principal component by its standard deviation to a power; keep the axes.

    A few directions, such as the part of speech, take up much of the variance and help little. Power 0 changes
    nothing, 1 makes all directions equal. Back on the original axes, all columns have a similar variance, as
    `quantize` needs it.
    """
    values, axes = np.linalg.eigh(np.cov(vectors[words], rowvar=False, dtype=np.float64))
    relative = np.maximum(values / values[-1], 1e-4)  # normalised layers leave a few empty directions
    matrix = axes * relative ** (-power / 2) @ axes.T
    return vectors @ matrix.astype(np.float32)


def weigh_tokens(tokens: Sequence[str], words: Bools, smoothing: float, single: int) -> Floats:
    """Return the weights of tokens: their smooth inverse frequency, estimated by Zipf's law.

    A WordPiece vocabulary lists single characters first, then words in descending order of frequency, so that the
    place of a word is its rank.

    Parameters
    ----------
    tokens : sequence of str
        In order of their ids.
    words : ndarray of bool
        Tokens that can occur; the others have weight 0.
    smoothing : float
        Frequency at which the weight is one half. Smaller: frequent words count less.
    single : int
        Rank of single characters, whose place is not their rank. Larger: they count more.

    References
    ----------
    Arora, Liang, Ma: A simple but tough-to-beat baseline for sentence embeddings. ICLR 2017.
    """
    first = next(i for i, token in enumerate(tokens) if len(token) > 1 and token.isalpha())
    places = np.arange(len(tokens)) - first + 1
    ranks = np.where(places > 0, places, single)
    frequency = 1 / (ranks * np.log(len(tokens)))
    return (words * smoothing / (smoothing + frequency)).astype(np.float32)


def quantize(vectors: Floats) -> tuple[npt.NDArray[np.uint8], Floats]:
    """Round rows to 16 values: ``vectors ~ scales[:, None] * (codes - HALF)``.

    The range of a row is 2.5 standard deviations to either side: for normally distributed numbers, this has the
    smallest squared error, about 1.4 % of the variance.
    """
    scales = (2.5 / HALF * vectors.std(1)).astype(np.float32)
    safe = np.where(scales > 0, scales, 1)[:, None]
    return np.clip(np.floor(vectors / safe + HALF + 0.5), 0, 2 * HALF).astype(np.uint8), scales


def pack(codes: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Pack two columns into a byte: ``i`` in its upper, ``i + half`` in its lower four bits."""
    upper, lower = np.split(codes, 2, axis=1)
    return upper << 4 | lower
