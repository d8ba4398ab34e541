"""Files that are there: hashed, compared with what a card pins, written so that nobody sees half of one."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from skltransfer.cards import Card
from skltransfer.errors import IntegrityError, ModelError, UnknownModelError

#: A file that changed less than this many nanoseconds ago may change again without its change time showing it.
SETTLED = 2 * 10**9

_digests: dict[tuple[str, int, int, int], str] = {}
_lock = threading.Lock()


def sha256(path: Path) -> str:
    """Hash a file; remembered per process for as long as its inode, size and change time stay the same.

    Clocks of file systems tick, some only every two seconds: the digest of a file that has just changed is not
    remembered, for another change within the tick would not show.
    """
    status = path.stat()
    state = (str(path), status.st_ino, status.st_size, status.st_ctime_ns)
    with _lock:
        known = _digests.get(state)
    if known is None:
        with path.open("rb") as file:
            known = hashlib.file_digest(file, "sha256").hexdigest()
        if time.time_ns() - status.st_ctime_ns > SETTLED:
            with _lock:
                _digests[state] = known
    return known


def verified(card: Card) -> Path:
    """Give the verified graph of a card.

    Parameters
    ----------
    card : Card
        From `cards.find`.

    Returns
    -------
    Path
        Absolute path of the ``.onnx`` file; every other file of the card lies where the graph expects it.

    Raises
    ------
    UnknownModelError
        If a file is missing.
    IntegrityError
        If a file is not the one its card pins.
    """
    folder = _folder(card)
    for file in card.files.values():
        path = folder / file.path
        if not path.is_file():
            raise UnknownModelError(f"Model {card.name!r} has no file {file.path!r} in {str(folder)!r}; copy it there.")
        if file.sha256 is not None and (found := sha256(path)) != file.sha256:
            raise IntegrityError(
                f"{str(path)!r} has the SHA-256 {found}, its card pins {file.sha256}. The file is damaged or another "
                "one; fetch it again, or, if you mean this file, write its card again with: skltransfer models card"
            )
    return folder.resolve() / card.files["model"].path


def fingerprint(card: Card) -> str:
    """Give one SHA-256 over all files of a card, the pinned ones verified."""
    graph = verified(card)
    if len(card.files) == 1:
        return sha256(graph)
    digests = {role: sha256(_folder(card) / file.path) for role, file in card.files.items()}
    return hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()


def write(path: Path, text: str) -> None:
    """Write a text file beside a model, so that a reader sees the old one or the new one, never half of it."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf8") as file:
            file.write(text)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


@contextmanager
def scratch(pieces: Iterable[bytes]) -> Iterator[Path]:
    """Lay a graph down in a file of its own for as long as it takes to open it.

    Parameters
    ----------
    pieces : iterable of bytes
        One after the other they are the file.

    Yields
    ------
    Path
        A temporary file that only this user can read.

    Raises
    ------
    ModelError
        If it cannot be written.
    """
    with ExitStack() as stack:
        try:
            file = stack.enter_context(tempfile.NamedTemporaryFile(prefix="skltransfer", suffix=".onnx", delete=False))
            stack.callback(os.unlink, file.name)
            with file:
                file.writelines(pieces)
        except OSError as err:
            raise ModelError(f"A graph cannot be written to the temporary folder: {err}. Set TMPDIR to one.") from err
        yield Path(file.name)


def _folder(card: Card) -> Path:
    if card.folder is None:
        raise UnknownModelError(f"The card of {card.name!r} does not say in which folder its files lie.")
    return card.folder


def _renew_lock_after_fork() -> None:
    """In a child: the thread that holds the lock in the parent is not there to give it back."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock_after_fork)
