"""A tokenizer of a few words, and the state of every token."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skltransfer.errors import need

if TYPE_CHECKING:
    from tokenizers import Tokenizer

#: Special tokens: padding, unknown word, beginning and end of a text.
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
#: The words that texts are made of.
WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight")
#: Words that every text backbone is tried with; a graph that gives them all one row is refused as dead.
PROBED = ("A", "The", "!")
#: Token to id.
VOCABULARY = {token: i for i, token in enumerate((*SPECIAL, *PROBED, *WORDS))}
CLS, SEP = VOCABULARY["[CLS]"], VOCABULARY["[SEP]"]
#: State of every token, float32 (tokens, 3); no column is in order.
TABLE = np.array([[i, 20 - i * i, (7 * i) % 12 - 3] for i in range(len(VOCABULARY))], np.float32)
TABLE[0] = 1000  # so large that padding which leaks into a row is not overlooked


def word_tokenizer(*, special: bool = True) -> Tokenizer:
    """Return a tokenizer of `WORDS`: it splits at white space and punctuation.

    Parameters
    ----------
    special : bool
        Whether ``[CLS]`` and ``[SEP]`` are put around a text.

    Returns
    -------
    tokenizers.Tokenizer
        A word that is not in `VOCABULARY` is ``[UNK]``.
    """
    need("tokenizers", extra="text")
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    made = Tokenizer(models.WordLevel(VOCABULARY, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.add_special_tokens(list(SPECIAL))
    if special:
        made.post_processor = processors.BertProcessing(("[SEP]", SEP), ("[CLS]", CLS))
    return made
