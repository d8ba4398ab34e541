"""Texts: strings to token ids, exactly as the card's tokenizer.json says.

The room starts no thread. Special tokens in a user's text are text. What is cut off is counted.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from skltransfer._engine.modalities._modality import File, Modality
from skltransfer._engine.modalities.text._graph import check, complete, explain, preprocess, signs, synthetic, texts
from skltransfer._engine.modalities.text._prepare import TextPreparer
from skltransfer._engine.modalities.text._repository import describe
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

__all__ = [
    "PADDING",
    "PROBES",
    "TEXT",
    "Loss",
    "Source",
    "collate",
    "open_tokenizer",
    "prepare",
    "read",
    "texts",
    "token_mask",
]


def token_mask(samples: Sequence[str], spec: TextSpec, files: Mapping[str, File]) -> npt.NDArray[np.bool_]:
    """Mark the tokens of texts that are no padding.

    Returns
    -------
    ndarray of shape (n, max_length), bool
    """
    pieces, _ = prepare([read(text) for text in samples], spec, open_tokenizer(files["tokenizer"], spec))
    lengths = np.array([len(parts[0]) for parts in pieces], np.int64)
    mask: npt.NDArray[np.bool_] = np.arange(spec.max_length) < lengths[:, np.newaxis]
    return mask


TEXT = Modality(
    name="text",
    spec=TextSpec,
    signs=signs,
    complete=complete,
    describe=describe,
    check=check,
    preprocess=preprocess,
    preparer=TextPreparer,
    synthetic=synthetic,
    mask=token_mask,
    advice=("A smaller max_length: fewer tokens of each text.",),
    needs=("tokenizer",),
    prepared="tokens",
    explain=explain,
)
