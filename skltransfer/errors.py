"""Every exception and warning of the package, and the one way to ask for an optional library.

::

    SklTransferError
    ├── MissingDependencyError   (ImportError)   an extra is not installed
    ├── ModelError               (ValueError)    something is wrong with a model or its card
    │   ├── UnknownModelError                    no card, file or folder of that name
    │   ├── CardError                            a card.json that cannot be used; all its mistakes at once
    │   ├── LayerError                           no such tensor in the graph
    │   ├── DownloadError        (OSError)       a file of the hub that cannot be fetched, with the status
    │   ├── IntegrityError                       a file is not the one its card pins
    │   ├── UnsafeModelError                     refused before ONNX Runtime sees it
    │   ├── ModelChangedError                    fitted with another backbone than the one that is there
    │   ├── ProbeError                           it loads, but its rows are not embeddings
    │   └── ConversionError                      a foreign model that cannot become a card
    ├── DeviceError              (RuntimeError)  the device asked for cannot run, and why
    │   └── OutOfMemoryError     (MemoryError)   not even one row fits
    ├── SampleError              (ValueError)    a sample that cannot be read
    ├── FolderError              (ValueError)    a folder that holds no labelled images
    └── CacheError               (ValueError)    a folder that holds no cache, or a damaged one

    Unreadable                                   between rooms only: why a sample failed

    SklTransferWarning           (UserWarning)
    ├── BadSamplesWarning                        rows left as NaN, listed in ``failures``
    ├── DeviceWarning                            a GPU is there and cannot be used
    ├── ModelWarning                             rows depend on their batch mates, and the like
    ├── CacheWarning                             rows cannot be kept
    └── InputWarning                             the input was read in a way worth knowing

The room imports nothing of the package. A message says what came, what was expected and what to type.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from types import ModuleType


class SklTransferError(Exception):
    """Base of every error raised on purpose by skltransfer."""


class MissingDependencyError(SklTransferError, ImportError):
    """An optional library is not installed; the message names the extra that brings it."""


class ModelError(SklTransferError, ValueError):
    """Something is wrong with a model or with the card that describes it."""


class UnknownModelError(ModelError):
    """Neither a registered name nor a file or folder that exists."""


class CardError(ModelError):
    """A card that cannot be used."""


class LayerError(ModelError):
    """The graph has no tensor of that name, or it cannot be pooled into rows."""


class DownloadError(ModelError, OSError):
    """A file of the hub cannot be fetched.

    Parameters
    ----------
    message : str
        What was asked for, and what to do.
    status : int, optional
        HTTP status of the answer, if there was one.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status

    def __reduce__(self) -> tuple[type[DownloadError], tuple[str, int | None]]:
        return type(self), (str(self), self.status)


class IntegrityError(ModelError):
    """A model file differs from what its card pins by SHA-256."""


class UnsafeModelError(ModelError):
    """A graph refused before it is run: foreign files, custom operators, endless expansion."""


class ModelChangedError(ModelError):
    """An estimator was fitted with another backbone than the one its model stands for now."""


class ProbeError(ModelError):
    """A graph that loads, but whose output on three probe rows cannot be embeddings."""


class ConversionError(ModelError):
    """A foreign model cannot become a card, or its card would give other numbers."""


class DeviceError(SklTransferError, RuntimeError):
    """A device asked for by name cannot run; the message says why and what mends it."""


class OutOfMemoryError(DeviceError, MemoryError):
    """Not even a single row fits into the memory of the device."""


@dataclass(frozen=True, order=True)
class Failure:
    """One sample that could not be embedded.

    Attributes
    ----------
    index : int
        Position in the caller's X, from 0.
    path : str or None
        File the sample came from, if it came from one.
    reason : str
        What is wrong with it.
    """

    index: int
    path: str | None = field(compare=False)
    reason: str = field(compare=False)

    def __str__(self) -> str:
        """Write one line; the path is escaped, for it may hold anything a file name may."""
        where = f" ({self.path!r})" if self.path is not None else ""
        return f"sample {self.index}{where}: {self.reason}"


class SampleError(SklTransferError, ValueError):
    """A sample that cannot be read or embedded.

    Parameters
    ----------
    failure : Failure
        The first sample that failed.

    Attributes
    ----------
    index, path, reason
        As in `Failure`.
    """

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.index, self.path, self.reason = failure.index, failure.path, failure.reason

    def __str__(self) -> str:
        """Say which sample, why, and how to go on without it."""
        return f"{Failure(self.index, self.path, self.reason)}. Mend or drop it, or pass on_error='nan'."


class FolderError(SklTransferError, ValueError):
    """A folder that does not hold labelled images: one subfolder per class, enough images in each."""


class Unreadable(Exception):
    """A sample that cannot be read; the text is the reason. The line turns it into a `Failure`."""


class CacheError(SklTransferError, ValueError):
    """A folder that holds no cache, or one that cannot be read."""


class SklTransferWarning(UserWarning):
    """Base of every warning issued by skltransfer."""


class BadSamplesWarning(SklTransferWarning):
    """Some rows are NaN because their samples could not be embedded.

    Attributes
    ----------
    failures : tuple of Failure
        All of them, in the order of X.
    """

    def __init__(self, failures: Sequence[Failure]) -> None:
        super().__init__(failures)
        self.failures = tuple(failures)

    def __str__(self) -> str:
        """Show the first three; the rest are in ``failures``."""
        shown = "; ".join(map(str, self.failures[:3]))
        more = f"; and {len(self.failures) - 3} more" if len(self.failures) > 3 else ""
        return f"{len(self.failures)} rows are NaN: {shown}{more}. The warning's `failures` lists them all."


class DeviceWarning(SklTransferWarning):
    """A GPU exists and cannot be used; the run goes on, on the CPU."""


class ModelWarning(SklTransferWarning):
    """Something about a model that changes how it is run."""


class CacheWarning(SklTransferWarning):
    """Embeddings could not be kept; the run goes on without."""


class InputWarning(SklTransferWarning):
    """The input was understood in a way the user should know of."""


#: Packages whose frames are not the user's: those that call us, and our own.
NOT_THE_USER = ("skltransfer", "sklearn", "joblib", "importlib")


def warn(message: str | Warning, category: type[Warning] = UserWarning) -> None:
    """Issue a warning that points at the user's line: the nearest one outside `NOT_THE_USER`.

    Parameters
    ----------
    message : str or Warning
        What to say; a Warning brings its own category.
    category : type of Warning
        One of this module, or FutureWarning for a name that goes away.
    """
    level, frame = 2, sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in NOT_THE_USER:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


def need(module: str, *, extra: str) -> ModuleType:
    """Import an optional library, or say which extra installs it.

    Parameters
    ----------
    module : str
        Name to import, such as ``"tqdm.auto"``.
    extra : str
        Extra of skltransfer that brings it, such as ``"progress"``.

    Returns
    -------
    module

    Raises
    ------
    MissingDependencyError
        If the import fails.
    """
    try:
        return importlib.import_module(module)
    except ImportError as err:
        library = module.partition(".")[0]
        raise MissingDependencyError(
            f"{library} is needed here and cannot be imported ({err}). Type: pip install 'skltransfer[{extra}]'"
        ) from err


def nearest(name: str, known: Iterable[str], *, most: int = 3) -> str:
    """Phrase the names closest to a wrong one, for the end of an error message.

    Parameters
    ----------
    name : str
        What was asked for.
    known : iterable of str
        What there is.
    most : int
        How many to name.

    Returns
    -------
    str
        ``" Did you mean 'a' or 'b'?"``, or an empty string if nothing is close.
    """
    from difflib import get_close_matches

    close = get_close_matches(str(name), list(known), n=most, cutoff=0.5)
    return f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
