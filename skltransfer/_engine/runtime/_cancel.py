"""The switch that ends runs early."""

from __future__ import annotations

from typing import Protocol

from skltransfer._engine.runtime._providers import import_onnxruntime


class Cancel(Protocol):
    """Switch that ends the runs that hold it: ONNX Runtime's ``RunOptions``."""

    terminate: bool


def cancel_switch() -> Cancel:
    """Return a new switch for `Session.run`; setting its ``terminate`` ends the runs that hold it."""
    return import_onnxruntime().RunOptions()  # type: ignore[no-any-return]
