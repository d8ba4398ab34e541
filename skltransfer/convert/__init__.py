"""Conversion of models of other libraries to card folders, refused unless the embeddings agree.

torch exports the graph. Size and scaling of pixels, tokenizer, lengths, pooling and normalization are read from the
source's own configuration and become part of the graph or of the card.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from skltransfer.convert import _images, _modules, _texts, _transformers
from skltransfer.convert._source import TOLERANCE, Source, compare, write
from skltransfer.convert._transformers import PARTS
from skltransfer.errors import ConversionError

__all__ = ["PARTS", "SOURCES", "TOLERANCE", "convert"]

#: Functions that read a model, by library.
SOURCES: dict[str, Callable[..., Source]] = {
    "sentence-transformers": _texts.sentence_transformer,
    "timm": _images.timm,
    "torchvision": _images.torchvision,
    "transformers": _transformers.encoder,
    "module": _modules.module,
}


def convert(
    kind: str,
    source: Any,
    output: str | os.PathLike[str],
    *,
    part: str | None = None,
    example: Any = None,
    **changes: Any,
) -> Path:
    """Convert a model to a card folder.

    Parameters
    ----------
    kind : {"sentence-transformers", "timm", "torchvision", "transformers", "module"}
        Library the model comes from; ``"module"`` is any other `torch.nn.Module`.
    source : str, path or torch.nn.Module
        Folder of the model, or its name in that library, with pretrained weights: ``"resnet50"`` or
        ``"local-dir:FOLDER"`` for timm, ``"resnet50"`` or ``"ResNet50_Weights.IMAGENET1K_V1"`` for torchvision. For
        timm and ``"module"`` also the module itself.
    output : path
        Folder to write; it must not exist.
    part : {"vision", "text"}, optional
        Encoder to convert, of a pair of transformers such as CLIP or SigLIP. Its embedding is the projection to the
        space that images and texts share.
    example : ndarray or torch.Tensor of shape (n_samples, ...), float32, optional
        Example input, required for a ``"module"``; every axis but the first is fixed.
    **changes
        For a ``"module"`` only: fields of the card and of its input, as in `skltransfer.load_card`, such as
        ``preset="imagenet"``. Without a field about pixels the card takes arrays.

    Returns
    -------
    Path
        The folder, to pass to ``PretrainedEmbedder(model=...)``.

    Raises
    ------
    ConversionError
        If the kind is unknown, the folder exists, the model cannot be loaded or has parts that cannot be converted,
        or the card's embeddings differ from the source's by more than `TOLERANCE`. Nothing is written then.
    CardError
        If **changes are not fields of the card or of its input.
    MissingDependencyError
        If torch or the library is not installed: ``pip install 'skltransfer[convert]'``.

    Notes
    -----
    The embedding of an image model is the input of its classifier, or its pooled output if it has no classifier. That
    of a text model is the output of sentence-transformers, or the mean of the last hidden state. That of an encoder of
    a pair is its projection. The hidden states are layers of the card. Agreement is tested on images and texts of
    several sizes, which the source and the card each prepare themselves.

    References
    ----------
    .. [1] Reimers and Gurevych, "Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks", EMNLP 2019.
    .. [2] Wightman, "PyTorch Image Models", https://github.com/huggingface/pytorch-image-models

    Examples
    --------
    >>> from skltransfer.convert import convert
    >>> convert("timm", "resnet50", "resnet50-timm")  # doctest: +SKIP
    PosixPath('resnet50-timm')
    """
    output = Path(output)
    if kind not in SOURCES:
        raise ConversionError(f"kind={kind!r} must be one of {', '.join(SOURCES)}.")
    given = {name: value for name, value in {"part": part, "example": example, **changes}.items() if value is not None}
    _check(kind, given)
    if output.exists():
        raise ConversionError(f"output={str(output)!r} exists; pass a folder that does not.")
    if not output.absolute().parent.is_dir():
        raise ConversionError(
            f"There is no folder {str(output.absolute().parent)!r} to write {output.name!r} to; create it first."
        )
    found = SOURCES[kind](source, **given)
    with tempfile.TemporaryDirectory(dir=output.absolute().parent) as temporary:
        folder = Path(temporary) / output.name
        folder.mkdir()
        compare(write(found, folder), found)
        folder.rename(output)
    return output


def _check(kind: str, given: dict[str, Any]) -> None:
    """Check that the options are for models of this kind."""
    if "part" in given and kind != "transformers":
        raise ConversionError(f"part={given['part']!r} is for kind='transformers', not for kind={kind!r}.")
    foreign = given.keys() - {"part"}
    if foreign and kind != "module":
        raise ConversionError(
            f"{', '.join(sorted(foreign))} is for kind='module'; a model of {kind} has its own configuration."
        )
