"""Fields that had another name in skltransfer 0.1; the old ones work, with a FutureWarning, until 0.3."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from skltransfer.errors import warn

GONE = "is removed in skltransfer 0.3"


class RenamedFields:
    """Base of dataclasses with renamed fields."""

    #: Old name to new name.
    OLD_NAMES: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def renamed(cls, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return a dictionary of fields with every old name replaced by the new one."""
        return {cls.OLD_NAMES.get(name, name): value for name, value in data.items()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Unpickle; an object pickled by skltransfer 0.1 has fields of the old names."""
        if self.OLD_NAMES.keys() & state.keys():
            kind = type(self).__name__
            warn(f"A {kind} pickled by skltransfer 0.1 was read; its form {GONE}. Pickle it again.", FutureWarning)
        for field in dataclasses.fields(self):  # type: ignore[arg-type]  # its subclasses are dataclasses
            if field.default_factory is not dataclasses.MISSING:  # defaults of the others are those of the class
                self.__dict__[field.name] = field.default_factory()
        self.__dict__.update(self.renamed(state))


def old_name(old: str, new: str) -> property:
    """Return a property that reads a field by its old name, with a FutureWarning."""

    def read(self: Any) -> Any:
        warn(f"{type(self).__name__}.{old} {GONE}; use {type(self).__name__}.{new}.", FutureWarning)
        return getattr(self, new)

    return property(read, doc=f"Old name of `{new}`.")
