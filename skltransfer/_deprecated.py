"""Names of skltransfer 0.1 that moved: they work, with a FutureWarning that names the new one, until 0.3."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from skltransfer.errors import warn

#: Old module and name, to the module that has it now, its name there, and what to write.
MOVED = {
    ("cache", "memory"): ("skltransfer._engine.cache", "memory", "skltransfer.reset()"),
    ("catalog", "list_models"): ("skltransfer", "list_models", "skltransfer.list_models"),
    ("catalog", "load_card"): ("skltransfer", "load_card", "skltransfer.load_card"),
    ("runtime", "clear"): ("skltransfer", "reset", "skltransfer.reset"),
    ("runtime", "open_sessions"): ("skltransfer._engine.runtime", "open_sessions", "skltransfer.rows_run"),
    ("variants", "make_variant"): ("skltransfer", "quantize", "skltransfer.quantize"),
}


def moved_from(module: str) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a module that is gone.

    Parameters
    ----------
    module : str
        Its dotted name.
    """
    short = module.rpartition(".")[2]

    def find(name: str) -> Any:
        if (short, name) not in MOVED:
            raise AttributeError(f"module {module!r} has no attribute {name!r}; it was private or is gone since 0.2.")
        place, found, write = MOVED[short, name]
        warn(f"{module}.{name} is removed in skltransfer 0.3; write {write}.", FutureWarning)
        return getattr(importlib.import_module(place), found)

    return find
