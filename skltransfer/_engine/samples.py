"""X of any kind to samples in order: lists, arrays, columns of pandas and polars, generators.

The room knows containers, not what is inside them, and imports no data frame library: it looks at what X can do.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sized
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from skltransfer._engine import listing
from skltransfer.errors import FolderError, shorten


class Samples(NamedTuple):
    """Samples in order, and how many there are.

    Attributes
    ----------
    items : iterable
        The samples; iterated once, lazily.
    n : int or None
        None for a generator.
    name : str or None
        Name of the column they are, if it has one; numbers, which frames without names have, are none.
    """

    items: Iterable[Any]
    n: int | None
    name: str | None = None


def unpack(X: Any) -> Samples:
    """Unpack the samples of X.

    Parameters
    ----------
    X : iterable of samples, array, Series or one-column frame
        A one-column frame is taken as its column, as selectors such as ``X[["photo"]]`` give it.

    Returns
    -------
    Samples

    Raises
    ------
    TypeError
        If X is a single sample, or has no order.
    ValueError
        If X has several columns, or axes that could mean two things.
    """
    _refuse_single(X)
    refuse_masked(X)
    name = None if isinstance(X, KEEP) else getattr(X, "name", None)
    if _is_frame(X):
        name, X = _only_column(X)
    if isinstance(X, np.ndarray):
        X = _check_axes(X)
    elif hasattr(X, "to_pylist"):  # pyarrow: its scalars are no Python objects
        X = X.to_pylist()
    if not isinstance(X, Iterable):
        raise TypeError(f"X is a {type(X).__name__}; give a list, array, Series or generator of samples.")
    items = X if isinstance(X, KEEP) or hasattr(X, "iloc") or hasattr(X, "to_list") else map(_own, X)
    return Samples(items, len(X) if isinstance(X, Sized) else None, name if isinstance(name, str) and name else None)


#: Containers whose samples are objects of their own. Others may hand out one buffer again and again, as a camera does.
KEEP = (list, tuple, np.ndarray)


def _own(sample: Any) -> Any:
    """Copy a sample that its source may overwrite before it has been read."""
    if isinstance(sample, np.ndarray):
        return sample.copy()
    return bytes(sample) if isinstance(sample, (bytearray, memoryview)) else sample


def refuse_masked(X: Any) -> None:
    """Refuse a masked array: NumPy and scikit-learn look through its mask.

    Raises
    ------
    ValueError
        With the two ways out.
    """
    if isinstance(X, np.ma.MaskedArray):
        raise ValueError(
            f"X is a masked array of shape {X.shape}: what its masked values stand for is not known. Give "
            "X.filled(value), or X.data to ignore the mask."
        )


def _refuse_single(X: Any) -> None:
    """Refuse what would be iterated letter by letter, line by line, key by key, or in no order."""
    if isinstance(X, (str, bytes, bytearray, memoryview, os.PathLike)):
        shown = shorten(repr(X)) if isinstance(X, (str, os.PathLike)) else f"a {type(X).__name__}"
        raise TypeError(f"X is {shown}, a single sample; give several, such as [{shown}].{_reader_of(X)}")
    if type(X).__module__.partition(".")[0] == "PIL":
        raise TypeError("X is a single image; give several, such as [image].")
    if isinstance(X, Mapping) and X and X.keys() <= {"bytes", "path"}:
        raise TypeError("X is a single image of Hugging Face, a dictionary; give several, such as [X].")
    if isinstance(X, (Mapping, AbstractSet)):
        raise TypeError(f"X is a {type(X).__name__}, whose samples have no order; give a list.")
    if not isinstance(X, KEEP) and (callable(getattr(X, "read", None)) or callable(getattr(X, "read_bytes", None))):
        raise TypeError(f"X is a single file, a {type(X).__name__}; give several, such as [X].")


#: How a file of labels ends.
TABLES = (".csv", ".tsv")


def _reader_of(X: Any) -> str:
    """Return what reads a folder or a table of samples; empty if X is neither."""
    if not isinstance(X, (str, os.PathLike)) or not os.path.exists(X):
        return ""
    shown = shorten(repr(os.fspath(X)))
    if os.path.isdir(X):
        return (
            f" It is a folder: data = skltransfer.datasets.load_folder({shown}) lists its images by class, as "
            "data.paths and data.target."
        )
    if os.fsdecode(X).lower().endswith(TABLES):
        return f" It is a table: skltransfer.datasets.load_table({shown}, column=..., target=...) reads it."
    return ""


def _is_frame(X: Any) -> bool:
    return hasattr(X, "columns") and len(getattr(X, "shape", ())) == 2


def _only_column(X: Any) -> tuple[Any, Any]:
    """Return the name and the values of the one column of a frame."""
    names = list(getattr(X, "column_names", X.columns))  # pyarrow's `columns` are the data
    if len(names) != 1:
        shown = ", ".join(shorten(str(name), 60) for name in names[:5])
        raise ValueError(
            f"X has {len(names)} columns ({shown}{', ...' if len(names) > 5 else ''}); samples are one column. Choose "
            "it with ColumnTransformer([('embed', PretrainedEmbedder(), 'NAME'), ...])."
        )
    return names[0], X.iloc[:, 0] if hasattr(X, "iloc") else X[names[0]]


def _check_axes(X: np.ndarray) -> np.ndarray:
    """Return a column of objects or strings, or a stack of images; refuse what could mean two things."""
    if X.ndim == 0:
        raise TypeError(f"X is a single sample, {shorten(repr(X.item()))}; give several, such as [sample].")
    if X.dtype.kind in "OUST":
        if X.ndim == 2 and X.shape[1] == 1:
            return X[:, 0]
        if X.ndim != 1 and not (X.dtype.kind == "O" and X.size == 0):
            raise ValueError(f"X has the shape {X.shape}; samples are one column, of shape (n,) or (n, 1).")
    elif X.ndim in (2, 3):
        raise ValueError(
            f"X is a {X.dtype} array of shape {X.shape}: one image or many? Give X[None] for one, list(X) for many "
            "(gray ones, if they have two axes each), or a 4-D array (n, height, width, 3)."
        )
    return X


def of_path(path: Path) -> list[Any]:
    """Find samples on disk.

    Parameters
    ----------
    path : Path
        A folder: the paths of all files in it, but for those that systems and tools leave there; a ``.npy`` file: its
        rows; any other file: its lines, as texts.

    Raises
    ------
    FolderError
        If the file cannot be read.
    """
    if os.path.isdir(path):
        return _some(listing.list_files(path), path)
    if not os.path.isfile(path):
        raise FolderError(f"{str(path)!r} is neither a folder nor a regular file.")
    try:
        return _some(_rows(path) if path.suffix == ".npy" else path.read_text("utf8").splitlines(), path)
    except (ValueError, TypeError, EOFError, MemoryError, RecursionError) as err:
        raise FolderError(
            f"{str(path)!r} holds neither an array nor lines of text: {err or type(err).__name__}"
        ) from err


def _some(found: list[Any], path: Path) -> list[Any]:
    """Refuse a folder or a file without samples."""
    if not found:
        raise FolderError(f"{str(path)!r} is empty; give a folder of images, a file of texts or a .npy file.")
    return found


def _rows(path: Path) -> list[Any]:
    """Return the rows of a .npy file that is what its header says: no archive, no pickle, no memory beyond its size."""
    with path.open("rb") as file:
        if not file.read(len(np.lib.format.MAGIC_PREFIX)) == np.lib.format.MAGIC_PREFIX:
            raise ValueError("it is not a .npy file of NumPy")
        file.seek(0)
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
        left = os.fstat(file.fileno()).st_size - file.tell()
        if dtype.hasobject or dtype.itemsize * math.prod(shape) != left or any(n < 0 for n in shape):
            raise ValueError(f"its header says {dtype} of shape {shape}, and {left:,} bytes follow")
        file.seek(0)
        return list(np.load(file, allow_pickle=False))
