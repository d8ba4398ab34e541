"""Files of the Hugging Face Hub: fetched once, verified, and kept in a store in which files never change.

::

    STORE/files/SHA256                           files, named by their hash
    STORE/models/OWNER--REPO/COMMIT/PATH         the same files (hard links) where a graph expects them
    STORE/engines/KEY                            TensorRT's engines of a recipe
    STORE/variants/SHA256/NAME.int8              quantized models whose originals are not the user's own files
    STORE/records/SHA256.json                    JSON: address, its commit when first fetched, hashes of the files

A record is written last: the files it lists are in the store and verified. It also fixes the commit of a branch: the
hub is asked again only by `pull` with ``refresh=True``. Its name is the hash of the address; 0.1 called it
``OWNER--REPO@REVISION--PATH``, which may stand for several addresses and is read only where it stands for one.
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
from skltransfer.errors import DownloadError, IntegrityError, ModelWarning, UnknownModelError, need, shorten, warn

SCHEME = "hf://"
#: Seconds that fetching all files of a model may take.
DEADLINE = 900.0
#: Age in seconds, a day, after which the unfinished folder of a killed process is removed.
STALE = 86_400.0
COMMIT = re.compile("[0-9a-f]{40}")
PATTERN = re.compile(r"hf://(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w.-]+))?/(?P<path>[^\\@]+\.onnx)")


class Address(NamedTuple):
    """A graph of the hub: ``hf://OWNER/REPO[@REVISION]/PATH.onnx``.

    Attributes
    ----------
    repo, revision, path : str
        Owner and name of the repository; a commit, branch or tag, ``"main"`` by default; path of the graph.
    """

    repo: str
    revision: str
    path: str

    @classmethod
    def parse(cls, text: str) -> Address:
        """Parse an address.

        Raises
        ------
        UnknownModelError
            If the text is not an address.
        """
        found = PATTERN.fullmatch(text)
        if not found or {"", ".", ".."} & {*found["repo"].split("/"), *found["path"].split("/")}:
            raise UnknownModelError(
                f"{shorten(repr(text))} is not an address of the hub; write hf://owner/repo@revision/path/model.onnx."
            )
        return cls(found["repo"], found["revision"] or "main", found["path"])

    @property
    def pinned(self) -> bool:
        """Whether the revision is a commit, whose files never change."""
        return COMMIT.fullmatch(self.revision) is not None

    def __str__(self) -> str:
        return f"{SCHEME}{self.repo}@{self.revision}/{self.path}"


class Pulled(NamedTuple):
    """A model in the store.

    Attributes
    ----------
    folder : Path
        Folder of its files, with the paths of the repository.
    commit : str
        Commit of the files.
    files : mapping of str to str
        SHA-256 of each path.
    """

    folder: Path
    commit: str
    files: Mapping[str, str]


def store_folder() -> Path:
    """Return the folder of the store: ``SKLTRANSFER_MODELS``, or one in the user's cache folder."""
    if chosen := os.environ.get("SKLTRANSFER_MODELS"):
        return process.expand(chosen).absolute()
    return (process.user_folder() / "models").absolute()


def engine_folder(key: str) -> Path:
    """Return the folder of the store for TensorRT's engines of a recipe, creating it if needed.

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
    """Return a model of the hub, fetching it if it is not in the store.

    Parameters
    ----------
    address : Address
        Address of the graph.
    check : callable
        Called with a newly fetched model before it is recorded; if it raises, the model is not recorded.
    refresh : bool
        Whether to ask the hub again, because a branch may have changed or a file in the store be damaged.
    deadline : float
        Seconds for all files.

    Raises
    ------
    DownloadError
        If it cannot be fetched in time. With ``HF_HUB_OFFLINE=1`` it is raised without opening a socket.
    IntegrityError
        If a file differs from what the hub announced.
    """
    if not refresh and (known := kept(address)):
        return known
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        raise DownloadError(f"{address} is not in {str(store_folder())!r}, and HF_HUB_OFFLINE forbids to fetch it.")
    need("huggingface_hub", extra="hub")
    with _store_errors(address):
        pulled = _download(address, time.monotonic() + deadline)
    check(pulled)
    with _store_errors(address):
        record = _record(address)
        record.parent.mkdir(parents=True, exist_ok=True)
        content = {"address": str(address), "commit": pulled.commit, "files": dict(pulled.files)}
        write(record, json.dumps(content, indent=1) + "\n")
    if not address.pinned:
        warn(
            f"{address.revision!r} of {address.repo} is commit {pulled.commit} today, and stays so on this machine. To "
            f"have the same model everywhere, name it {str(address._replace(revision=pulled.commit))!r}.",
            ModelWarning,
        )
    return pulled


@contextmanager
def _store_errors(address: Address) -> Iterator[None]:
    """Raise errors of the disk as `DownloadError` with the folder of the store."""
    try:
        yield
    except OSError as err:
        if isinstance(err, DownloadError):
            raise
        raise DownloadError(
            f"{address} cannot be written to {str(store_folder())!r}: {err}. Free space there, or set "
            "SKLTRANSFER_MODELS to another folder."
        ) from err


def _home(address: Address, commit: str) -> Path:
    return store_folder() / "models" / address.repo.replace("/", "--") / commit


def kept(address: Address) -> Pulled | None:
    """Return a model of the hub if all its files are in the store, else None."""
    for record in (_record(address), _record_of_0_1(address)):
        try:
            pulled = _recorded(address, json.loads(record.read_text("utf8")))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue
        if pulled is not None and all((pulled.folder / path).is_file() for path in pulled.files):
            return pulled
    return None


def _recorded(address: Address, data: Mapping[str, Any]) -> Pulled | None:
    """Return what a record says of an address; None if it is another's."""
    commit, files = data["commit"], dict(data["files"])
    if data.get("address", str(address)) != str(address) or address.path not in files or not COMMIT.fullmatch(commit):
        return None
    inside = all(".." not in Path(path).parts and not Path(path).is_absolute() for path in files)
    return Pulled(_home(address, commit), commit, files) if inside else None


def _record(address: Address) -> Path:
    digest = hashlib.sha256(str(address).encode("utf8", "surrogatepass")).hexdigest()
    return store_folder() / "records" / f"{digest}.json"


def _record_of_0_1(address: Address) -> Path:
    """Return the record's path in 0.1; without a file where the name may stand for another address.

    It does not where every ``--`` is a slash: other addresses of the same name have another path, which the record
    lists, because neither a name of a repository nor a revision has a slash.
    """
    text = f"{address.repo}@{address.revision}/{address.path}"
    name = text.replace("/", "--")
    unique = name.count("--") == text.count("/") and "---" not in name
    return store_folder() / "records" / (name if unique else "unknown")


def _download(address: Address, until: float) -> Pulled:
    """Fetch to a temporary folder in a child process, verify the files, and move them to the store."""
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
        if not err.started:
            raise DownloadError(f"{address} is fetched by a child process. {err.machine}") from None
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
            f"{' '.join(answer['message'].split())[:300].rstrip('.')}.{HINTS.get(status, '')}",
            status,
        )
    if not COMMIT.fullmatch(str(answer["commit"])):
        raise DownloadError(f"{address}: the hub named the commit {answer['commit']!r}, which is not a commit hash.")
    return answer


#: Advice for an HTTP status, None where there was no answer.
HINTS = {
    None: " Without a connection there are three ways on: a proxy (HTTPS_PROXY) or a mirror (HF_ENDPOINT); a store "
    "filled elsewhere by `skltransfer models pull` and copied here (SKLTRANSFER_MODELS); or the bundled vision-mini "
    "and text-mini.",
    401: " Check the name. If the model is private, log in with: hf auth login",
    403: " If the model is gated, accept its terms on its page and log in with: hf auth login",
    404: " Check the name against the files on its page.",
    429: " The hub limits the rate of requests; try again later.",
}


def _verified(path: Path, name: str, facts: Mapping[str, Any]) -> str:
    """Check that a file is the one the hub announced, and return its SHA-256."""
    digest = sha256(path)
    content = path.read_bytes() if "blob" in facts else b""
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    if digest != facts.get("sha256", digest) or blob != facts.get("blob", blob) or path.stat().st_size != facts["size"]:
        raise IntegrityError(
            f"{name!r} has the SHA-256 {digest} and {path.stat().st_size} bytes, the hub announced "
            f"{facts.get('sha256') or facts.get('blob')} and {facts['size']}; it was discarded. Try again."
        )
    return digest


def _keep(arrived: Path, digest: str, place: Path) -> None:
    """Move a verified file to the store, replacing a damaged one, and link it where graphs expect it."""
    kept = store_folder() / "files" / digest
    kept.parent.mkdir(parents=True, exist_ok=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    if not kept.is_file() or sha256(kept) != digest:
        arrived.chmod(0o444)
        os.replace(arrived, kept)
    link = arrived.with_name(f"{arrived.name}.link")
    try:
        os.link(kept, link)
    except OSError:  # the file system has no hard links
        shutil.copyfile(kept, link)
    os.replace(link, place)
    link.unlink(missing_ok=True)  # replacing a link by another to the same file leaves both


def _sweep() -> None:
    """Remove unfinished folders of killed processes."""
    for folder in store_folder().glob("arriving-*"):
        if time.time() - folder.stat().st_mtime > STALE:
            shutil.rmtree(folder, ignore_errors=True)
