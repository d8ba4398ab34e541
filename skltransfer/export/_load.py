"""Pipelines from files: of skops, which runs no code, or pickles of joblib, which do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from skltransfer.errors import ExportError, need, shorten

#: Ends of the names of pickles.
PICKLES = (".joblib", ".pickle", ".pkl")


def load_pipeline(path: Path, trusted: Sequence[str], *, pickles: bool = False) -> Any:
    """Load a fitted pipeline.

    Parameters
    ----------
    path : Path
        A ``.skops`` file, or a pickle.
    trusted : sequence of str
        Types of a ``.skops`` file that are loaded.
    pickles : bool
        Whether a pickle is loaded, which runs whatever code it holds.

    Raises
    ------
    ExportError
        If it is neither, or a pickle that nobody vouches for.
    """
    if path.suffix == ".skops":
        skops = need("skops.io", extra="export")
        return skops.load(path, trusted=list(trusted))
    if path.suffix not in PICKLES:
        raise ExportError(f"{shorten(repr(str(path)))} ends neither in .skops nor in {', '.join(PICKLES)}.")
    if not pickles:
        raise ExportError(
            f"{shorten(repr(str(path)))} is a pickle, which runs the code it holds. Add --trust-pickle if it is yours, "
            "or save the pipeline with skops.io.dump(pipeline, 'pipeline.skops')."
        )
    return need("joblib", extra="export").load(path)
