"""Files of the Hugging Face Hub: fetched once, verified, then read from a store that is only ever added to.

::

    STORE/files/SHA256                           the bytes, under their own hash
    STORE/models/OWNER--REPO/COMMIT/PATH         the same files (hard links) where a graph expects them
    STORE/engines/KEY                            what TensorRT builds of a recipe
    STORE/variants/SHA256/NAME.int8              variants of models that are not the user's own
    STORE/records/OWNER--REPO@REVISION--PATH     JSON: the commit a revision meant when first asked for, and the hashes

A record is written last: what it lists is there, and verified. It also is what makes a branch stand still: the first
answer is remembered, and asked for again only by `pull` with ``refresh=True``.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from skltransfer._engine import process
from skltransfer._engine.hub._local import sha256, write
from skltransfer.errors import DownloadError, IntegrityError, ModelWarning, UnknownModelError, need, warn

SCHEME = "hf://"
#: Seconds a model may take to arrive, all its files together.
DEADLINE = 900.0
#: Seconds after which what a killed process left half done is swept away.
STALE = 86_400.0
COMMIT = re.compile("[0-9a-f]{40}")
PATTERN = re.compile(r"hf://(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w.-]+))?/(?P<path>[^\\@]+\.onnx)")


class Address(NamedTuple):
    """A graph of the hub: ``hf://OWNER/REPO[@REVISION]/PATH.onnx``.

    Attributes
    ----------
    repo, revision, path : str
        A revision is a commit, a branch or a tag; ``"main"`` by default.
    """

    repo: str
    revision: str
    path: str

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read an address.

        Raises
        ------
        UnknownModelError
            If it is none.
        """
        found = PATTERN.fullmatch(text)
        if not found or {"", ".", ".."} & {*found["repo"].split("/"), *found["path"].split("/")}:
            raise UnknownModelError(
                f"{text!r} is no address of the hub; they look like hf://owner/repo@revision/path/model.onnx."
            )
        return cls(found["repo"], found["revision"] or "main", found["path"])

    @property
    def pinned(self) -> bool:
        """Whether the revision is a commit, which cannot come to mean other files."""
        return COMMIT.fullmatch(self.revision) is not None

    def __str__(self) -> str:
        return f"{SCHEME}{self.repo}@{self.revision}/{self.path}"


class Pulled(NamedTuple):
    """A model in the store.

    Attributes
    ----------
    folder : Path
        Where its files lie, as in the repository.
    commit : str
        Which version it is.
    files : mapping of str to str
        SHA-256 of each path.
    """

    folder: Path
    commit: str
    files: Mapping[str, str]


def store_folder() -> Path:
    """Give the folder of the store: ``SKLTRANSFER_MODELS``, or one in the user's cache folder."""
    if chosen := os.environ.get("SKLTRANSFER_MODELS"):
        return Path(chosen).expanduser().absolute()
    return (process.user_folder() / "models").absolute()


def engine_folder(key: str) -> Path:
    """Make a folder of the store for what TensorRT builds of a recipe.

    Parameters
    ----------
    key : str
        `Recipe.key`; every choice that changes the graph is in it.
    """
    folder = store_folder() / "engines" / key
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def pull(
    address: Address,
    *,
    check: Callable[[Pulled], object] = lambda pulled: None,
    refresh: bool = False,
    deadline: float = DEADLINE,
) -> Pulled:
    """Give a model of the hub, fetched if the store has none of that address.

    Parameters
    ----------
    address : Address
        Which one.
    check : callable
        Called once, with a model that has just arrived, before it is remembered; what it raises keeps the model out.
    refresh : bool
        Whether to ask the hub again: a branch may have moved on, or a file in the store be damaged.
    deadline : float
        Seconds in all.

    Raises
    ------
    DownloadError
        If it cannot be fetched in time; with ``HF_HUB_OFFLINE=1`` no socket is opened, and it cannot.
    IntegrityError
        If what came is not what the hub announced.
    """
    if not refresh and (known := kept(address)):
        return known
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        raise DownloadError(f"{address} is not in {str(store_folder())!r}, and HF_HUB_OFFLINE keeps it from the hub.")
    need("huggingface_hub", extra="hub")
    with _naming_the_store(address):
        pulled = _download(address, time.monotonic() + deadline)
    check(pulled)
    with _naming_the_store(address):
        record = _record(address)
        record.parent.mkdir(parents=True, exist_ok=True)
        write(record, json.dumps({"commit": pulled.commit, "files": dict(pulled.files)}, indent=1) + "\n")
    if not address.pinned:
        warn(
            f"{address.revision!r} of {address.repo} is commit {pulled.commit} today, and stays so on this machine. To "
            f"have the same model everywhere, name it {str(address._replace(revision=pulled.commit))!r}.",
            ModelWarning,
        )
    return pulled


@contextmanager
def _naming_the_store(address: Address) -> Iterator[None]:
    """Say of errors of the disk where they happened."""
    try:
        yield
    except OSError as err:
        if isinstance(err, DownloadError):
            raise
        raise DownloadError(
            f"{address} cannot be kept in {str(store_folder())!r}: {err}. Make room there, or name another folder in "
            "SKLTRANSFER_MODELS."
        ) from err


def _home(address: Address, commit: str) -> Path:
    return store_folder() / "models" / address.repo.replace("/", "--") / commit


def kept(address: Address) -> Pulled | None:
    """Give a model of the hub if the store has it, whole."""
    try:
        data = json.loads(_record(address).read_text("utf8"))
        pulled = Pulled(_home(address, data["commit"]), data["commit"], data["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return pulled if all((pulled.folder / path).is_file() for path in pulled.files) else None


def _record(address: Address) -> Path:
    return store_folder() / "records" / f"{address.repo}@{address.revision}/{address.path}".replace("/", "--")


def _download(address: Address, until: float) -> Pulled:
    """Let a child fetch to a folder of its own, then take in what is as the hub announced."""
    store_folder().mkdir(parents=True, exist_ok=True, mode=0o700)
    _sweep()
    with tempfile.TemporaryDirectory(dir=store_folder(), prefix="arriving-", ignore_cleanup_errors=True) as folder:
        answer = _ask_child(address, folder, until)
        files = {path: _verified(Path(folder, path), path, facts) for path, facts in answer["files"].items()}
        home = _home(address, answer["commit"])
        for path, digest in files.items():
            _keep(Path(folder, path), digest, home / path)
    return Pulled(home, answer["commit"], files)


def _ask_child(address: Address, folder: str, until: float) -> dict[str, Any]:
    """Run the child until it answers or the deadline has come."""
    try:
        answer = process.run_child(
            "skltransfer._engine.hub._child",
            {**address._asdict(), "folder": folder},
            seconds=until - time.monotonic(),
            environment={"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"},
        )
    except process.ChildFailure as err:
        if err.status is None:
            last = err.words.splitlines()[-1:]
            raise DownloadError(f"{address} was not there in time. {' '.join(last)}".strip()) from None
        raise DownloadError(
            f"{address}: the process that fetches it ended with status {err.status}. {err.words[-300:]}"
        ) from None
    if "error" in answer:
        status = answer["status"]
        raise DownloadError(
            f"{address} cannot be fetched{f' (HTTP status {status})' if status else ''}: "
            f"{' '.join(answer['message'].split())[:400]}{HINTS.get(status, '')}",
            status,
        )
    if not COMMIT.fullmatch(str(answer["commit"])):
        raise DownloadError(f"{address}: the hub named the commit {answer['commit']!r}, which is none.")
    return answer


#: What to do about a status.
HINTS = {
    401: " Is the name right? If the model is private, log in with: hf auth login",
    403: " If the model is gated, accept its terms on its page and log in with: hf auth login",
    404: " Is the name right? Look at its files on its page.",
    429: " The hub asks for patience; try again later.",
}


def _verified(path: Path, name: str, facts: Mapping[str, Any]) -> str:
    """Compare a file with what the hub announced, and give its SHA-256."""
    digest = sha256(path)
    content = path.read_bytes() if "blob" in facts else b""
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    if digest != facts.get("sha256", digest) or blob != facts.get("blob", blob) or path.stat().st_size != facts["size"]:
        raise IntegrityError(
            f"{name!r} arrived with the SHA-256 {digest} and {path.stat().st_size} bytes, the hub announced "
            f"{facts.get('sha256') or facts.get('blob')} and {facts['size']}; it was thrown away. Try again."
        )
    return digest


def _keep(arrived: Path, digest: str, place: Path) -> None:
    """Put a verified file into the store, and a link to it where graphs look for it; mend what is damaged."""
    kept = store_folder() / "files" / digest
    kept.parent.mkdir(parents=True, exist_ok=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    if not kept.is_file() or sha256(kept) != digest:
        arrived.chmod(0o444)
        os.replace(arrived, kept)
    link = arrived.with_name(f"{arrived.name}.link")
    try:
        os.link(kept, link)
    except OSError:  # no hard links here
        shutil.copyfile(kept, link)
    os.replace(link, place)
    link.unlink(missing_ok=True)  # two links to one file are not replaced but left, both


def _sweep() -> None:
    """Remove what processes that were killed left half done."""
    for folder in store_folder().glob("arriving-*"):
        if time.time() - folder.stat().st_mtime > STALE:
            shutil.rmtree(folder, ignore_errors=True)
