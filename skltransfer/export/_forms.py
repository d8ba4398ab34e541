"""Forms in which samples enter the file: a row for each kind that may come as it is, with ``level="bytes"``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from skltransfer._engine.modalities import image
from skltransfer.errors import ExportError
from skltransfer.export import _images, _texts
from skltransfer.export._graph import BATCH, Graph


class Form(NamedTuple):
    """How samples of a kind enter the file as they are.

    Attributes
    ----------
    name, dtype, shape : str, str, tuple of str
        Of the input.
    batches : tuple of int
        Sizes of batches that can be run.
    opset : int
        Oldest version of operators.
    pixels : bool
        Whether the file's preparation differs in the last level of pixels.
    check : callable
        Takes the plan and `accept`; refuses.
    emit : callable
        Takes the graph, the input and the plan; returns the tensor of prepared samples.
    stack : callable
        Takes samples; returns the input's array.
    words : str
        What to pass.
    """

    name: str
    dtype: str
    shape: tuple[str, ...]
    batches: tuple[int, ...]
    opset: int
    pixels: bool
    check: Callable[[Any, str | None], None]
    emit: Callable[[Graph, str, Any], str]
    stack: Callable[[Any], npt.NDArray[Any]]
    words: str


def _one_file(files: Any) -> npt.NDArray[np.uint8]:
    """Return the bytes of the one file of a batch: of a path, of bytes, or of an open file."""
    (sample,) = files
    content = image.read(sample).data
    if not isinstance(content, bytes):
        raise ExportError(f"level='bytes' of images takes files, and a sample is a {type(sample).__name__}.")
    return np.frombuffer(content, np.uint8)


#: By the name of the modality.
FORMS: dict[str, Form] = {
    "text": Form(
        name="texts",
        dtype="str",
        shape=(BATCH,),
        batches=(1, 7),
        opset=17,
        pixels=False,
        check=lambda plan, accept: None,
        emit=_texts.tokens,
        stack=lambda texts: np.array(list(texts), object),
        words="Pass texts as strings (batch,). The session needs onnxruntime-extensions.",
    ),
    "image": Form(
        name="file",
        dtype="uint8",
        shape=("length",),
        batches=(1,),
        opset=_images.OPSET,
        pixels=True,
        check=_images.check,
        emit=_images.pixels,
        stack=_one_file,
        words=f"Pass the bytes of one file as uint8 (length,). {_images.WARNING} The session needs "
        "onnxruntime-extensions.",
    ),
}


def form_of(plan: Any) -> Form:
    """Return the form of a backbone's samples.

    Raises
    ------
    ExportError
        If they have none but that of numbers.
    """
    name = plan.card.modality
    if name not in FORMS:
        raise ExportError(f"level='bytes' is for {' and '.join(FORMS)} samples; {plan.card.name!r} takes {name}.")
    return FORMS[name]
