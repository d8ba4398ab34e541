"""Versions of this package and of what it uses, to be pasted into a report of a mistake."""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata

from skltransfer._version import __version__
from skltransfer.errors import distribution

#: Distributions that are required, and those of the extras.
REQUIRED = ("scikit-learn", "onnxruntime-gpu", "onnxruntime", "onnx", "numpy", "joblib", "pillow")
OPTIONAL = (
    *("tokenizers", "huggingface_hub", "fsspec", "pyarrow", "pandas", "polars", "matplotlib", "tqdm", "torch"),
    *("sentence-transformers", "timm", "torchvision", "transformers"),
)


def versions() -> dict[str, str]:
    """Return the versions of the package, of Python and of installed libraries.

    Returns
    -------
    dict of str to str
        By name, in the order in which `show_versions` prints them.
    """
    found = {distribution(): __version__, "Python": platform.python_version(), "platform": platform.platform()}
    found["executable"], found["processors"] = sys.executable or "", str(os.cpu_count())
    for name in (*REQUIRED, *OPTIONAL):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def show_versions() -> None:
    """Print the versions of the package, of Python and of installed libraries, for a report.

    Examples
    --------
    >>> import skltransfer
    >>> skltransfer.show_versions()  # doctest: +ELLIPSIS
    skltransfer...
    """
    found = versions()
    width = max(map(len, found))
    for name, version in found.items():
        print(f"{name:{width}}  {version}")  # noqa: T201 - what it is for
