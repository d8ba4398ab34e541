"""Local files: hashed, compared with the hashes a card pins, and written atomically."""

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

#: A file that changed less than this many nanoseconds ago may change again with the same change time: some file systems
#: record it in steps of two seconds.
SETTLED = 2 * 10**9

_digests: dict[tuple[str, int, int, int], str] = {}
_lock = threading.Lock()


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, cached per process for as long as its inode, size and change time stay the same.

    The digest of a file that has changed in the last two seconds is not cached, see `SETTLED`.
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
    """Verify the files of a card and return the path of its graph.

    Parameters
    ----------
    card : Card
        From `cards.find`.

    Returns
    -------
    Path
        Absolute path of the ``.onnx`` file.

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
                f"{str(path)!r} has the SHA-256 {found}, its card pins {file.sha256}. The file is damaged or not the "
                "same; fetch it again, or, to use this file, write its card again with: skltransfer models card"
            )
    return folder.resolve() / card.files["model"].path


def fingerprint(card: Card) -> str:
    """Return one SHA-256 over all files of a card, after verifying the pinned ones."""
    graph = verified(card)
    if len(card.files) == 1:
        return sha256(graph)
    digests = {role: sha256(_folder(card) / file.path) for role, file in card.files.items()}
    return hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()


def write(path: Path, text: str) -> None:
    """Write a text file atomically: a reader sees the old content or the new one, never a part of it."""
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
    """Write a graph to a temporary file, which is removed when the context ends.

    Parameters
    ----------
    pieces : iterable of bytes
        Content of the file.

    Yields
    ------
    Path
        The file; only this user can read it.

    Raises
    ------
    ModelError
        If the file cannot be written.
    """
    with ExitStack() as stack:
        try:
            file = stack.enter_context(tempfile.NamedTemporaryFile(prefix="skltransfer", suffix=".onnx", delete=False))
            stack.callback(os.unlink, file.name)
            with file:
                file.writelines(pieces)
        except OSError as err:
            raise ModelError(
                f"A graph cannot be written to the temporary folder: {err}. Set TMPDIR to another folder."
            ) from err
        yield Path(file.name)


def _folder(card: Card) -> Path:
    if card.folder is None:
        raise UnknownModelError(
            f"The card of {card.name!r} has no folder; pass a card from load_card, or set its `folder`."
        )
    return card.folder


def _renew_lock_after_fork() -> None:
    """Replace the lock in a forked child: the thread that may hold it exists in the parent only."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock_after_fork)
