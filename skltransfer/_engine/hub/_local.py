"""Local files: hashed, compared with the hashes a card pins, and written atomically."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from skltransfer._engine import process
from skltransfer.cards import Card
from skltransfer.errors import IntegrityError, ModelError, UnknownModelError

#: SHA-256 of files that were hashed, by path and state.
_digests: process.Table[tuple[str, process.FileState], str] = process.Table(4096)


def sha256(path: Path) -> str:
    """Hash a file; the digest is kept for as long as the file's state stays the same.

    That of a file that has just changed is not kept: another change within a tick of the clock would not show.
    """
    state = process.FileState.of(path.stat())
    known = _digests.get((str(path), state))
    if known is None:
        with path.open("rb") as file:
            known = hashlib.file_digest(file, "sha256").hexdigest()
        if state.settled:
            _digests.keep((str(path), state), known)
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


def digests(card: Card) -> dict[str, str]:
    """Return the SHA-256 of each file of a card by role, after verifying the pinned ones."""
    verified(card)
    return {role: sha256(_folder(card) / file.path) for role, file in card.files.items()}


def fingerprint(card: Card, known: Mapping[str, str] | None = None) -> str:
    """Return one SHA-256 over all files of a card; `known` are their `digests`, if at hand."""
    each = digests(card) if known is None else known
    if len(each) == 1:
        return each["model"]
    return hashlib.sha256(json.dumps(dict(each), sort_keys=True).encode()).hexdigest()


def reader(card: Card, known: Mapping[str, str]) -> Callable[[Path], bytes]:
    """Return a function that reads files of a card, each checked against the digest it was planned with.

    What was hashed is what is parsed: a file that is replaced between the two is an `IntegrityError`.
    """
    folder = _folder(card).resolve()
    digest_of = {(folder / card.files[role].path): digest for role, digest in known.items()}
    return lambda path: process.read_once(path, digest_of.get(path))


def was_tried(fingerprint: str) -> bool:
    """Return whether a child process has survived a model of this fingerprint, in this process or an earlier one."""
    return (_tried_folder() / fingerprint).is_file()


def remember_tried(fingerprint: str) -> None:
    """Remember that a child process has survived a model; where nothing can be written, the next process tries anew."""
    with suppress(OSError):
        _tried_folder().mkdir(parents=True, exist_ok=True, mode=0o700)
        (_tried_folder() / fingerprint).touch(0o600)


#: Number of the trial; raised when it becomes stricter, so that every model is tried again.
TRIAL = 1


def _tried_folder() -> Path:
    return process.user_folder() / f"tried-{TRIAL}"


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
