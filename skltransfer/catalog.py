"""Gone since skltransfer 0.2; its public names work until 0.3, see `_deprecated`."""

from skltransfer._deprecated import moved_from

__getattr__ = moved_from(__name__)
