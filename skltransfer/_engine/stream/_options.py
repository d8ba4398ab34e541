"""Choices of a call that do not change numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from skltransfer._engine import runtime


@dataclass(frozen=True)
class Options:
    """Choices that do not change numbers.

    Parameters
    ----------
    n_jobs : int or None
        Threads that prepare (and, on the CPU, run), as in `runtime.workers`.
    batch_size : int or None
        Samples per run; None: as the preparer's table says.
    skip_bad : bool
        Whether a sample that fails becomes a row of NaN rather than an error.
    output : runtime.Torch or None
        Keeps rows on the device. There is no cache then, and no text is cut into windows.
    progress : callable or None
        Called with the number of rows finished so far, after every batch.
    shrink : bool
        Whether runs give their memory back, as in `runtime.cancel_switch`; for samples of many megapixels.
    """

    n_jobs: int | None = 1
    batch_size: int | None = None
    skip_bad: bool = False
    output: runtime.Torch | None = None
    progress: Callable[[int], object] | None = None
    shrink: bool = False


DEFAULT = Options()
