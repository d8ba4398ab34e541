"""Copies of fitted estimators with some parts changed, which share all that stays the same with the user's own."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from skltransfer._engine.nested import has_parts


def rebuilt(value: Any, change: Callable[[Any], Any]) -> Any:
    """Return a value in which every estimator, and every part of one, is what a function makes of it.

    Parameters
    ----------
    value : object
        A fitted estimator, or a container of some; it is not changed itself.
    change : callable
        Takes an object whose parts are rebuilt already; returns it, or a changed copy.
    """
    if isinstance(value, dict):
        parts = {name: rebuilt(part, change) for name, part in value.items()}
        return parts if any(parts[name] is not value[name] for name in parts) else value
    if type(value) in (list, tuple):
        items = [rebuilt(part, change) for part in value]
        return type(value)(items) if any(new is not old for new, old in zip(items, value, strict=True)) else value
    if not has_parts(value):
        return value
    held = vars(value)
    return change(with_attributes(value, {name: rebuilt(part, change) for name, part in held.items()}))


def with_attributes(value: Any, new: Mapping[str, Any]) -> Any:
    """Return a copy with other attributes; the object itself if they are its own."""
    if all(part is vars(value).get(name) for name, part in new.items()):
        return value
    changed = copy.copy(value)
    vars(changed).update(new)
    return changed


def on_cpu(pipeline: Any) -> Any:
    """Return a pipeline whose backbones run on the CPU: a GPU multiplies with fewer bits than the file will."""
    return rebuilt(pipeline, lambda part: with_attributes(part, {"device": "cpu"} if _is_backbone(part) else {}))


def _is_backbone(part: Any) -> bool:
    return hasattr(part, "_onnx_parts") and hasattr(part, "device") and part.device != "cpu"
