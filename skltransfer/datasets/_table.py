"""`load_table`: a table of paths and labels."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skltransfer._engine import process
from skltransfer.errors import TableError, nearest, shorten

if TYPE_CHECKING:
    import numpy as np
    from sklearn.utils import Bunch

#: What stands between the cells, by the suffix of the file.
SEPARATORS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
#: Lines that are named in a message; of more, their number is.
MOST = 5


def load_table(
    table: str | os.PathLike[str],
    *,
    column: str,
    target: str | None = None,
    root: str | os.PathLike[str] | None = None,
    sep: str | None = None,
) -> Bunch:
    r"""Read a table of paths and labels, whose first line has the names of the columns (classification, regression).

    No sample is opened: a file that is missing is named when it is embedded.

    Parameters
    ----------
    table : path
        A ``.csv`` or ``.tsv`` file in UTF-8; ``~`` is the home folder.
    column : str
        Name of the column of paths. Relative ones start at `root`; addresses (``https://``) stay as they are.
    target : str or None, default=None
        Name of the column of labels or numbers to predict.
    root : path or None, default=None
        Folder of the relative paths; None: that of the table.
    sep : str or None, default=None
        What stands between the cells. None: a comma, in ``.tsv`` files a tab.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        Dictionary-like object, with the attributes:

        paths : list of str
            The paths, in the order of the table.
        target : ndarray of shape (n,)
            int64 or float64 if every cell is such a number, else str as an object. Labels like ``007`` stay text. None
            without `target`.
        columns : dict of str to list of str
            All columns, as they are in the table.

    Raises
    ------
    TableError
        If there is no such column, or lines without a path or a label; the message names them.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from skltransfer.datasets import load_table
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "labels.csv").write_text("file,animal\na/1.jpg,cat\nb/2.jpg,dog\n")
    >>> data = load_table(folder / "labels.csv", column="file", target="animal")
    >>> [str(Path(path).relative_to(folder)) for path in data.paths], data.target.tolist()
    (['a/1.jpg', 'b/2.jpg'], ['cat', 'dog'])
    """
    from sklearn.utils import Bunch

    file = process.expand(table)
    shown = f"The table {shorten(repr(str(file)))}"
    columns = _columns(file, SEPARATORS.get(file.suffix.lower(), ",") if sep is None else sep, shown)
    for name in (column,) if target is None else (column, target):
        _check_column(name, columns, shown)
    start = file.parent if root is None else process.expand(root)
    paths = [_path(start, cell.strip()) for cell in columns[column]]
    labels = None if target is None else _numbers(columns[target])
    return Bunch(paths=paths, target=labels, columns=columns)


def _columns(file: Path, sep: str, shown: str) -> dict[str, list[str]]:
    """Read all columns of a table."""
    if not os.path.isfile(file):
        what = "is a folder: load_folder reads it" if os.path.isdir(file) else "does not exist"
        raise TableError(f"{shown} {what}.")
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            names, *rows = [row for row in csv.reader(lines, delimiter=sep, strict=True) if row] or [[]]
    except (OSError, UnicodeDecodeError, csv.Error, TypeError) as err:
        raise TableError(
            f"{shown} cannot be read with sep={sep!r} ({shorten(str(err))}). Read it with pandas, and pass its "
            "column of paths."
        ) from err
    if twice := [name for name in names if names.count(name) > 1]:
        raise TableError(f"{shown} has several columns {shorten(repr(twice[0]))}; rename all but one.")
    if wrong := [number for number, row in enumerate(rows, 2) if len(row) != len(names)]:
        raise TableError(
            f"{shown} has {len(names)} columns in its first line, and another number in {_lines(wrong)}; quote cells "
            f"that hold {sep!r}."
        )
    return {name: [row[i] for row in rows] for i, name in enumerate(names)}


def _check_column(name: str, columns: dict[str, list[str]], shown: str) -> None:
    if name not in columns:
        there = shorten(", ".join(map(repr, columns)))
        other = " Is it another separator: sep=';'?" if len(columns) == 1 else ""
        raise TableError(f"{shown} has no column {name!r}; it has {there}.{nearest(name, columns)}{other}")
    if empty := [number for number, cell in enumerate(columns[name], 2) if not cell.strip()]:
        raise TableError(f"{shown} has nothing in column {name!r} of {_lines(empty)}; fill or remove them.")


def _lines(numbers: Sequence[int]) -> str:
    """Name rows of a table, the line of names being the first."""
    more = f" and {len(numbers) - MOST} more" if len(numbers) > MOST else ""
    return f"row{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers[:MOST]))}{more}"


def _path(root: Path, cell: str) -> str:
    """Return the path of a cell; an address, or a path from the root of the file system or from home, stays."""
    return cell if "://" in cell or cell.startswith("~") else str(root / cell)


def _numbers(cells: list[str]) -> np.ndarray[Any, Any]:
    """Return cells as numbers, if every one is what its number is written like; else as they are."""
    import numpy as np

    for kind in (int, float):
        try:
            numbers = [kind(cell) for cell in cells]
        except ValueError:
            continue
        if cells and all(_is_plain(cell.strip()) for cell in cells) and all(map(math.isfinite, numbers)):
            return np.array(numbers, np.int64 if kind is int else np.float64)
    return np.array(cells, dtype=object)


def _is_plain(cell: str) -> bool:
    """Return whether a cell is a number for sure, and no code like ``007``, ``1_000`` or one of 19 digits."""
    digits = cell.lstrip("+-")
    if "_" in cell or (digits.isdecimal() and len(digits) > 18):
        return False
    return not digits.startswith("0") or digits[1:2] in ("", ".", "e", "E")
