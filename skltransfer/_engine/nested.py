"""Objects that an estimator is made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np


def has_parts(value: Any) -> bool:
    """Return whether an object is an estimator, or one of scikit-learn's that may hold some."""
    known = hasattr(value, "get_params") or type(value).__module__.startswith("sklearn")
    return known and not isinstance(value, type) and hasattr(value, "__dict__")


def nested(value: Any) -> Iterator[Any]:
    """Yield an estimator and all objects in it, parameters or fitted, once each."""
    seen, waiting = set(), [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, Mapping):
            waiting += part.values()
        elif isinstance(part, list | tuple):
            waiting += part
        elif isinstance(part, np.ndarray):
            waiting += part.ravel().tolist() if part.dtype == object else []
        elif id(part) not in seen and type(part).__module__.partition(".")[0] not in ("builtins", "numpy"):
            seen.add(id(part))
            yield part
            waiting += vars(part).values() if has_parts(part) else ()
