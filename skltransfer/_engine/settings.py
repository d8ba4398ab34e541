"""Settings of the process, read and changed as scikit-learn's are.

A setting is looked up where it was set last: in a `config_context` of this thread, by `set_config`, in the environment.
So a child process has what the environment says, and a thread what the program says.
"""

from __future__ import annotations

import contextlib
import operator
import os
import re
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any, ClassVar, Final

from skltransfer._engine import process
from skltransfer.errors import SettingError

#: Name of each setting to its environment variable.
VARIABLES = {
    "cache_memory": "SKLTRANSFER_CACHE_MEMORY",
    "cache_spill": "SKLTRANSFER_CACHE_SPILL",
    "cache_folder": "SKLTRANSFER_CACHE_FOLDER",
}
#: Units in capital letters; those with an i are powers of 1024.
UNITS: dict[str, int] = {"": 1, "B": 1}
UNITS |= {unit + "B": 1000**power for power, unit in enumerate("KMGT", 1)}
UNITS |= {unit + "IB": 1024**power for power, unit in enumerate("KMGT", 1)}


class _Keep:
    """Stands for a setting that is left as it is; None means "automatic"."""

    def __repr__(self) -> str:
        return "<unchanged>"


KEEP: Final = _Keep()


class _Process:
    """Values that `set_config` was given: read without a lock, replaced as a whole. `reset` leaves it as it is."""

    settings: ClassVar[Mapping[str, Any]] = {}
    lock = process.lock()


#: What `config_context` was given in this thread; None outside of one.
_thread: ContextVar[Mapping[str, Any] | None] = ContextVar("skltransfer_settings", default=None)


def get_config() -> dict[str, int | str | None]:
    """Return the settings in use.

    Returns
    -------
    dict
        For ``config_context(**get_config())``: a number of bytes, a text such as ``"2GB"``, or None, which is
        automatic.

    Examples
    --------
    >>> import skltransfer
    >>> sorted(skltransfer.get_config())
    ['cache_folder', 'cache_memory', 'cache_spill']
    """
    set_here = {**_Process.settings, **(_thread.get() or {})}
    return {name: set_here.get(name, os.environ.get(variable) or None) for name, variable in VARIABLES.items()}


def set_config(
    *,
    cache_memory: int | str | _Keep | None = KEEP,
    cache_spill: int | str | _Keep | None = KEEP,
    cache_folder: int | str | _Keep | None = KEEP,
) -> None:
    """Set limits of the caches, for all threads of this process; inside a `config_context`, until it ends.

    What is not named stays as it is. A process that is started later, such as a worker of joblib, does not see it: set
    the environment variable there.

    Parameters
    ----------
    cache_memory : int, str or None
        Bytes of memory that rows of ``cache="memory"`` may take, or a text such as ``"2GB"`` or ``"512MiB"``; None: an
        eighth of the memory this process may use, and no more than half of what is free. Environment variable
        ``SKLTRANSFER_CACHE_MEMORY``.
    cache_spill : int, str or None
        Bytes of an unnamed file in the temporary folder for rows that do not fit into memory; 0: no file; None: a
        quarter of the free disk. Environment variable ``SKLTRANSFER_CACHE_SPILL``.
    cache_folder : int, str or None
        Bytes of a folder, ``cache="rows"``; None: 10 GiB. Environment variable ``SKLTRANSFER_CACHE_FOLDER``.

    Raises
    ------
    SettingError
        For a value that is none of these.

    Examples
    --------
    >>> import skltransfer
    >>> skltransfer.set_config(cache_memory="2GB")
    >>> skltransfer.get_config()["cache_memory"]
    '2GB'
    >>> skltransfer.set_config(cache_memory=None)
    """
    changes = _checked(cache_memory=cache_memory, cache_spill=cache_spill, cache_folder=cache_folder)
    if (inner := _thread.get()) is None:
        with _Process.lock:
            _Process.settings = {**_Process.settings, **changes}
    else:
        _thread.set({**inner, **changes})


@contextlib.contextmanager
def config_context(
    *,
    cache_memory: int | str | _Keep | None = KEEP,
    cache_spill: int | str | _Keep | None = KEEP,
    cache_folder: int | str | _Keep | None = KEEP,
) -> Iterator[None]:
    """Set limits of the caches for this thread, until the context ends; see `set_config`.

    Parameters
    ----------
    cache_memory, cache_spill, cache_folder : int, str or None
        As in `set_config`.

    Raises
    ------
    SettingError
        As `set_config` does.

    Examples
    --------
    >>> import skltransfer
    >>> with skltransfer.config_context(cache_spill=0):
    ...     skltransfer.get_config()["cache_spill"]
    0
    """
    changes = _checked(cache_memory=cache_memory, cache_spill=cache_spill, cache_folder=cache_folder)
    outer = _thread.get()
    _thread.set({**(outer or {}), **changes})
    try:
        yield
    finally:
        _thread.set(outer)


def size(name: str) -> int | None:
    """Return a setting in bytes; None: automatic.

    Raises
    ------
    SettingError
        If the environment variable is no size.
    """
    for place in (_thread.get() or {}, _Process.settings):
        if name in place:
            return parse_size(place[name], name)
    variable = VARIABLES[name]
    return parse_size(os.environ.get(variable) or None, variable)


def parse_size(value: int | str | None, name: str) -> int | None:
    """Return a number of bytes, from a number or a text such as ``"2GB"``; None stays None.

    Parameters
    ----------
    value : int, str or None
        As the user wrote it.
    name : str
        Of the setting or variable, for the error.

    Raises
    ------
    SettingError
        If it is neither.
    """
    if value is None:
        return None
    if isinstance(value, str):
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", value, re.ASCII)
        if found and found[2].upper() in UNITS:
            return round(float(found[1]) * UNITS[found[2].upper()])
    elif not isinstance(value, bool) and (number := _index(value)) is not None and number >= 0:
        return number
    raise SettingError(
        f"{name}={value!r} is no size. Write a number of bytes, a text such as '2GB' or '512MiB', or None for the "
        "automatic limit."
    )


def _index(value: Any) -> int | None:
    """Return an integer, NumPy's too, or None."""
    try:
        return int(operator.index(value))
    except TypeError:
        return None


def _checked(**changes: Any) -> dict[str, Any]:
    """Refuse values that are no sizes; drop those that are not given."""
    given = {name: value for name, value in changes.items() if value is not KEEP}
    for name, value in given.items():
        parse_size(value, name)
    return given
