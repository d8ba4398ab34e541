"""`read_metadata`: what a file says of itself."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from skltransfer.errors import ExportError
from skltransfer.export import _metadata


def read_metadata(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the metadata of an exported file.

    Parameters
    ----------
    path : path
        A file that `to_onnx` has written.

    Returns
    -------
    dict
        ``inputs`` (type, shape and preprocessing in words), ``classes`` and ``task`` by output, ``card`` (the input of
        the backbone in numbers), ``license``, ``source``, ``model_sha256``, ``versions``, ``parity`` (the figures),
        ``golden`` (inputs and the outputs they had), ``files`` beside it, ``level``, ``labels``, ``opset``, ``pure``.

    Raises
    ------
    ExportError
        If the file is not one that `to_onnx` has written.
    """
    if not (found := _metadata.read(Path(path))):
        raise ExportError(f"{os.fspath(path)!r} was not written by skltransfer.export: its metadata are not ours.")
    return found


def is_exported(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is a file that `to_onnx` has written."""
    place = Path(path)
    return place.suffix == ".onnx" and place.is_file() and bool(_metadata.read(place))
