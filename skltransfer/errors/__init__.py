"""Every exception and warning of the package, and the one way to ask for an optional library.

::

    SklTransferError
    ├── MissingDependencyError   (ImportError)   an extra is not installed
    ├── ModelError               (ValueError)    a model or its card is wrong
    │   ├── UnknownModelError                    no card, file or folder has that name
    │   ├── CardError                            a card.json cannot be used; lists all its mistakes
    │   ├── LayerError                           the graph has no such tensor, or it cannot be pooled
    │   ├── DownloadError        (OSError)       a file of the hub cannot be fetched
    │   ├── IntegrityError                       a file is not the one its card pins
    │   ├── ModelChangedError                    fitted with another backbone than the one that is there
    │   ├── UnsafeModelError                     a graph is refused before ONNX Runtime opens it
    │   ├── ProbeError                           a graph runs, but its rows are not embeddings
    │   ├── ConversionError                      a model cannot be converted to a card
    │   └── TuningError                          a backbone cannot be fine-tuned
    ├── DeviceError              (RuntimeError)  the requested device cannot run
    │   └── OutOfMemoryError     (MemoryError)   not even one row fits into its memory
    ├── SampleError              (ValueError)    a sample cannot be read
    ├── FolderError              (ValueError)    a folder does not hold labeled images
    ├── TableError               (ValueError)    a table does not hold paths and labels
    ├── ExportError              (ValueError)    a pipeline cannot be written as one file that agrees with it
    ├── CacheError               (ValueError)    a folder does not hold a cache, or a damaged one
    ├── JobError                 (ValueError)    a batch job is refused
    │   └── UnfinishedError                      units of a batch job are missing; it can go on
    └── SettingError             (ValueError)    a setting or its environment variable has a wrong value

    Unreadable                                   internal: the reason why a sample cannot be read

    SklTransferWarning           (UserWarning)
    ├── BadSamplesWarning                        some rows are NaN; ``failures`` lists them
    ├── DeviceWarning                            a GPU is present and cannot be used
    ├── ModelWarning                             a model is run in another way than usual
    ├── CacheWarning                             rows cannot be cached
    └── InputWarning                             the input may not be what was meant

The room imports nothing of the package. A message contains the offending value, what was expected and what to type.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import ModuleType

# Used by every room, under the name of this one.
from skltransfer.errors._messages import nearest as nearest
from skltransfer.errors._messages import shorten as shorten
from skltransfer.errors._messages import visible as visible
from skltransfer.errors._warn import NOT_THE_USER as NOT_THE_USER
from skltransfer.errors._warn import deferring as deferring
from skltransfer.errors._warn import warn as warn

__all__ = [
    "BadSamplesWarning",
    "CacheError",
    "CacheWarning",
    "CardError",
    "ConversionError",
    "TuningError",
    "DeviceError",
    "DeviceWarning",
    "DownloadError",
    "ExportError",
    "Failure",
    "FolderError",
    "InputWarning",
    "IntegrityError",
    "JobError",
    "LayerError",
    "MissingDependencyError",
    "ModelChangedError",
    "ModelError",
    "ModelWarning",
    "OutOfMemoryError",
    "ProbeError",
    "SampleError",
    "SettingError",
    "SklTransferError",
    "SklTransferWarning",
    "TableError",
    "UnfinishedError",
    "UnknownModelError",
    "UnsafeModelError",
]


#: Characters of the longest message.
MESSAGE = 4000


class SklTransferError(Exception):
    """Base of every error raised on purpose by skltransfer.

    Names of files, layers and cards in a message come from strangers: control characters are shown escaped, and what
    is longer than a message is cut in its middle.
    """

    def __str__(self) -> str:
        return shorten(visible(super().__str__(), keep="\n\t"), MESSAGE)


class MissingDependencyError(SklTransferError, ImportError):
    """An optional library is not installed; the message names the extra that installs it."""


class ModelError(SklTransferError, ValueError):
    """A model, or the card that describes it, is wrong."""


class UnknownModelError(ModelError):
    """The model is neither a registered name nor an existing file or folder."""


class CardError(ModelError):
    """A card cannot be used."""


class LayerError(ModelError):
    """The graph has no tensor of that name, or it cannot be pooled into rows."""


class DownloadError(ModelError, OSError):
    """A file of the hub cannot be fetched.

    Parameters
    ----------
    message : str
        The message.
    status : int, optional
        HTTP status of the response, if there was one.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status

    def __reduce__(self) -> tuple[type[DownloadError], tuple[str, int | None]]:
        return type(self), (str(self), self.status)


class IntegrityError(ModelError):
    """A model file differs from what its card pins by SHA-256."""


class UnsafeModelError(ModelError):
    """A graph is refused before it is opened: foreign files, custom operators, endless expansion."""


class ModelChangedError(ModelError):
    """An estimator was fitted with another backbone than the one its model stands for now."""


class ProbeError(ModelError):
    """A graph runs, but its output for three probe samples cannot be embeddings."""


class ConversionError(ModelError):
    """A model cannot be converted, or the result would give other embeddings."""


class TuningError(ModelError):
    """A backbone cannot be fine-tuned; the message says why, and what can."""


class DeviceError(SklTransferError, RuntimeError):
    """The requested device cannot run; the message has the reason and the fix."""


class OutOfMemoryError(DeviceError, MemoryError):
    """Not even a single row fits into the memory of the device."""


@dataclass(frozen=True, order=True)
class Failure:
    """A sample that could not be embedded.

    Attributes
    ----------
    index : int
        Position in X, from 0.
    path : str or None
        File of the sample, if it is one.
    reason : str
        Why it could not be embedded.
    """

    index: int
    path: str | None = field(compare=False)
    reason: str = field(compare=False)

    def __str__(self) -> str:
        """Format as one line; the path is escaped and cut, because a file name may contain line breaks and be none."""
        where = f" ({shorten(repr(self.path))})" if self.path is not None else ""
        return f"sample {self.index}{where}: {self.reason}"


class SampleError(SklTransferError, ValueError):
    """A sample cannot be read or embedded.

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
        """Format with the advice how to continue without the sample."""
        return f"{Failure(self.index, self.path, self.reason)}. Fix or drop it, or pass on_error='nan'."


class FolderError(SklTransferError, ValueError):
    """A folder does not hold labeled images: one subfolder per class, with enough images in each."""


class TableError(SklTransferError, ValueError):
    """A table does not hold the columns that are asked for, or some of their cells are empty."""


class ExportError(SklTransferError, ValueError):
    """A pipeline cannot be exported to one ONNX file, or the file would predict something else."""


class Unreadable(Exception):
    """A sample cannot be read; the message is the reason. The stream turns it into a `Failure`."""


class CacheError(SklTransferError, ValueError):
    """A folder does not hold a cache, or one that cannot be read."""


class JobError(SklTransferError, ValueError):
    """A batch job is refused: its folder holds another one, its pipeline or its options cannot be used."""


class UnfinishedError(JobError):
    """Units of a batch job are missing, after all retries; the same call goes on where it ended."""


class SettingError(SklTransferError, ValueError):
    """A setting of `skltransfer.set_config`, or its environment variable, has a wrong value."""


class SklTransferWarning(UserWarning):
    """Base of every warning issued by skltransfer; strangers' names in it are shown as in `SklTransferError`."""

    def __str__(self) -> str:
        return shorten(visible(super().__str__(), keep="\n\t"), MESSAGE)


class BadSamplesWarning(SklTransferWarning):
    """Some samples have no result, as a row of NaN, because they could not be embedded.

    Attributes
    ----------
    failures : tuple of Failure
        All failed samples, in the order of X.
    """

    def __init__(self, failures: Sequence[Failure], outcome: str = "rows are NaN") -> None:
        super().__init__(failures, outcome)
        self.failures, self._outcome = tuple(failures), outcome

    def __str__(self) -> str:
        """Format with the first three failures."""
        shown = "; ".join(map(str, self.failures[:3]))
        more = f"; and {len(self.failures) - 3} more" if len(self.failures) > 3 else ""
        return f"{len(self.failures)} {self._outcome}: {shown}{more}. The warning's `failures` lists them all."


class DeviceWarning(SklTransferWarning):
    """A GPU is present and cannot be used; the CPU runs instead."""


class ModelWarning(SklTransferWarning):
    """A property of the model changes how it is run."""


class CacheWarning(SklTransferWarning):
    """Embeddings could not be cached; they are computed nevertheless."""


class InputWarning(SklTransferWarning):
    """The input is valid, and may not be what was meant."""


def need(module: str, *, extra: str) -> ModuleType:
    """Import an optional library; if that fails, raise an error that names the extra.

    Parameters
    ----------
    module, extra : str
        Module to import, such as ``"tqdm.auto"``, and the extra that installs it, such as ``"progress"``.

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
    except (ImportError, RuntimeError, OSError, AttributeError) as err:  # the last three where libraries do not fit
        library = module.partition(".")[0]
        raise MissingDependencyError(
            f"{library} is required and cannot be imported ({err}). Type: pip install '{distribution()}[{extra}]'"
        ) from err


def distribution() -> str:
    """Return the name of the installed distribution of this package: the one for CPUs has a name of its own."""
    from importlib import metadata

    try:
        metadata.version("skltransfer-cpu")
    except metadata.PackageNotFoundError:
        return "skltransfer"
    return "skltransfer-cpu"
