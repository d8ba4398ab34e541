"""Verified model files of a card or an address. The only room that writes model files.

A pinned file is compared with its SHA-256 once per process and file state, and refused if it differs. Files of the
Hugging Face Hub are fetched once, by a child process with a deadline, and kept in a store in which files never change.
"""

from skltransfer._engine.hub._local import (
    digests,
    fingerprint,
    reader,
    remember_tried,
    scratch,
    sha256,
    verified,
    was_tried,
    write,
)
from skltransfer._engine.hub._store import SCHEME, Address, Pulled, engine_folder, kept, pull, store_folder

__all__ = [
    "SCHEME",
    "Address",
    "Pulled",
    "digests",
    "engine_folder",
    "fingerprint",
    "kept",
    "pull",
    "reader",
    "remember_tried",
    "scratch",
    "sha256",
    "store_folder",
    "verified",
    "was_tried",
    "write",
]
