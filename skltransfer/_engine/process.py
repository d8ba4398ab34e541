"""State of the process: registered locks, tables and memos, one fork hook, one reset, child processes, folders, files.

Whatever a room keeps between two calls is made by `lock`, `Table` or `memo`. So the child of a fork finds every lock
open and no session, connection or tokenizer of its parent, and `reset` forgets everything. A test walks the modules
and fails on a lock or a table that was made otherwise.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import subprocess
import sys
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from skltransfer.errors import IntegrityError

K = TypeVar("K")
V = TypeVar("V")
F = TypeVar("F", bound=Callable[..., Any])

# ---------------------------------------------------------------------------------------------------------------------
# The registry

_locks: weakref.WeakSet[Any] = weakref.WeakSet()
_tables: weakref.WeakSet[Table[Any, Any]] = weakref.WeakSet()
_memos: list[Any] = []
#: Other objects, with methods ``after_fork`` and ``reset``.
_others: weakref.WeakSet[Any] = weakref.WeakSet()
#: Memos that a forked child starts anew.
_forgetful: list[Any] = []
#: Values of the parent that a forked child must neither use nor drop: their destructors wait for threads it lacks.
_inherited: list[Any] = []


def lock() -> threading.Lock:
    """Return a lock that is open in the child of a fork, whoever held it in the parent."""
    made = threading.Lock()
    _locks.add(made)
    return made


class Table(OrderedDict[K, V]):
    """A table of the process, the entry used last at its end; `get_recent` and `keep` may be called by any thread.

    Parameters
    ----------
    most : int, optional
        Entries kept; beyond, the one unused for longest goes.
    survives_fork : bool
        Whether a forked child keeps the entries. If not, they stay referenced there and are never used.
    close : callable, optional
        Called with each value by `reset`.
    """

    def __init__(
        self, most: int | None = None, *, survives_fork: bool = True, close: Callable[[V], object] | None = None
    ) -> None:
        super().__init__()
        self.most, self.survives_fork, self.close = most, survives_fork, close
        self.lock = lock()
        _tables.add(self)

    __hash__ = object.__hash__  # type: ignore[assignment]  # by identity, for the registry

    def get_recent(self, key: K) -> V | None:
        """Return a value and mark it as used, or None."""
        with self.lock:
            if key in self:
                self.move_to_end(key)
            return self.get(key)

    def keep(self, key: K, value: V) -> None:
        """Add a value; drop those unused for longest beyond `most`."""
        with self.lock:
            self[key] = value
            self.move_to_end(key)
            while self.most is not None and len(self) > self.most:
                self.popitem(last=False)

    def forget(self) -> None:
        """Close and drop every value."""
        with self.lock:
            for value in self.values() if self.close else ():
                self.close(value)  # type: ignore[misc]
            self.clear()


def memo(most: int | None = 64, *, survives_fork: bool = True) -> Callable[[F], F]:
    """Return a decorator like ``functools.lru_cache`` whose results `reset` forgets.

    Parameters
    ----------
    most : int or None
        Results kept.
    survives_fork : bool
        Whether a forked child keeps them.
    """

    def decorate(function: F) -> F:
        cached = functools.lru_cache(most)(function)
        _memos.append(cached)
        if not survives_fork:
            _forgetful.append(cached)
        return cached  # type: ignore[return-value]

    return decorate


def register(owner: Any) -> None:
    """Add an object whose methods ``after_fork`` and ``reset`` are called then; it is not kept alive."""
    _others.add(owner)


def is_registered(value: object) -> bool:
    """Return whether a lock, table or memo belongs to the registry."""
    return any(value is one for group in (_locks, _tables, _memos, _others) for one in group)


def reset() -> None:
    """Close every session and forget what this process keeps: cached rows in memory, digests, cards, tokenizers.

    Rows in folders stay. Estimators go on working; the next call opens the backbone again.

    Examples
    --------
    >>> import skltransfer
    >>> skltransfer.reset()
    """
    for table in list(_tables):
        table.forget()
    for owner in list(_others):
        owner.reset()
    for cached in _memos:
        cached.cache_clear()


def _after_fork() -> None:
    """In a child: open every lock, set aside what cannot be shared."""
    for one in list(_locks):
        one._at_fork_reinit()  # as the standard library does for its own locks (concurrent/futures/thread.py)
    for table in list(_tables):
        if not table.survives_fork:
            _inherited.append(list(table.values()))
            table.clear()
    for owner in list(_others):
        owner.after_fork()
    for cached in _forgetful:
        cached.cache_clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


# ---------------------------------------------------------------------------------------------------------------------
# Child processes


class ChildFailure(Exception):
    """A child process gave no answer.

    Parameters
    ----------
    status : int or None
        Its exit status; None if it was ended at the deadline.
    words : str
        The end of what it wrote to stderr.
    """

    def __init__(self, status: int | None, words: str) -> None:
        super().__init__(status, words)
        self.status, self.words = status, words


def run_child(
    module: str, request: Mapping[str, Any], *, seconds: float, environment: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Run a module of ours in a process of its own: JSON goes to its stdin, its last line of stdout is the answer.

    The child never imports from the current folder, where a ``json.py`` of a stranger may lie.

    Parameters
    ----------
    module : str
        Dotted name; run as ``python -P -m module``.
    request : mapping
        What JSON holds.
    seconds : float
        Until it is ended.
    environment : mapping, optional
        Variables to set besides those of this process.

    Raises
    ------
    ChildFailure
        If there is no answer.
    """
    try:
        child = subprocess.run(
            [sys.executable, "-P", "-W", "ignore", "-m", module],
            input=json.dumps(request),
            env={**os.environ, "PYTHONPATH": os.pathsep.join(_import_path()), **(environment or {})},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=max(seconds, 0),
        )
    except subprocess.TimeoutExpired as err:
        raise ChildFailure(None, (err.stderr or b"").decode("utf8", "replace")[-2000:]) from None
    try:
        return dict(json.loads(child.stdout.splitlines()[-1]))
    except (IndexError, ValueError, TypeError):
        raise ChildFailure(child.returncode, child.stderr[-2000:]) from None


def pipe_child(module: str, request: str, data: bytes, *, seconds: float) -> tuple[str, bytes]:
    """Run a module of ours in a process of its own on bytes, which go through its stdin; see `run_child`.

    Parameters
    ----------
    module : str
        Dotted name; calls `answer_pipe`.
    request : str
        A few words, given as its argument.
    data : bytes
        What it works on.
    seconds : float
        Until it is ended.

    Returns
    -------
    str, bytes
        What the child's function returned.

    Raises
    ------
    ChildFailure
        If there is no answer.
    """
    try:
        child = subprocess.run(
            [sys.executable, "-P", "-W", "ignore", "-m", module, request],
            input=data,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(_import_path()), "OPENBLAS_NUM_THREADS": "1"},
            capture_output=True,
            timeout=max(seconds, 0),
        )
    except subprocess.TimeoutExpired:
        raise ChildFailure(None, "") from None
    words, found, rest = child.stdout.partition(b"\n")
    if child.returncode or not found:
        raise ChildFailure(child.returncode, child.stderr[-2000:].decode("utf8", "replace"))
    return str(json.loads(words)), rest


def answer_pipe(handle: Callable[[str, bytes], tuple[str, bytes]]) -> None:
    """Answer one request of `pipe_child`, in the child."""
    words, rest = handle(sys.argv[1], sys.stdin.buffer.read())
    sys.stdout.buffer.write(json.dumps(words).encode() + b"\n" + rest)


def _import_path() -> list[str]:
    """Return the absolute entries of ``sys.path``; the current folder only if this package lies in it."""
    here, home = os.path.realpath(os.curdir), os.path.realpath(Path(__file__).parents[2])
    return [p for p in sys.path if os.path.isabs(p) and (os.path.realpath(p) != here or here == home)]


def answer(handle: Callable[..., Mapping[str, Any]]) -> None:
    """Answer one request, in the child: call a function with what stdin holds, print what it returns."""
    print(json.dumps(handle(**json.loads(sys.stdin.read()))))  # noqa: T201 - the parent reads it


def memory_limit() -> int:
    """Return the bytes of memory this process may use: the machine's, or less by a cgroup or ``ulimit -v``."""
    limits = [_physical_memory()]
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            text = Path(file).read_text().strip()
        except OSError:
            continue
        limits += [int(text)] if text.isdigit() else []
    try:
        import resource

        soft, _ = resource.getrlimit(resource.RLIMIT_AS)
        limits += [soft] if soft != resource.RLIM_INFINITY else []
    except ImportError:  # Windows
        pass
    return min(limits)


def _physical_memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows; the smallest machine that is worth naming
        return 4 * 2**30


# ---------------------------------------------------------------------------------------------------------------------
# Folders and files


def user_folder() -> Path:
    """Return ``skltransfer`` in the user's cache folder, by the convention of the system."""
    home = {"win32": "~/AppData/Local", "darwin": "~/Library/Caches"}.get(sys.platform, "~/.cache")
    return expand(os.environ.get("XDG_CACHE_HOME") or home) / "skltransfer"


#: Stands for the home folder of a user who has none, as in ``docker run --user``: nothing is found below it and nothing
#: can be written, and errors of the system, which quote it, say what to do.
NO_HOME = Path(os.devnull, "no home folder, set XDG_CACHE_HOME")


def expand(path: str | os.PathLike[str]) -> Path:
    """Return a path with ``~`` replaced by the user's home folder, or by `NO_HOME`."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return NO_HOME.joinpath(*Path(path).parts[1:])


#: A file that changed less than this many nanoseconds ago may change again without its change time showing it: clocks
#: of file systems tick, some only every two seconds.
SETTLED = 2 * 10**9


class FileState(NamedTuple):
    """Device, inode, length and change time of a file: they change with its content, and no program sets them back."""

    device: int
    inode: int
    size: int
    changed: int

    @classmethod
    def of(cls, status: os.stat_result) -> FileState:
        """Return the state that ``os.stat`` or ``os.fstat`` saw."""
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_ctime_ns)

    @property
    def settled(self) -> bool:
        """Whether another change would show: the last one was not just now, and the system keeps change times."""
        return os.name != "nt" and time.time_ns() - self.changed > SETTLED and not _forgets_changes(self.device)


#: File systems where a file may change and keep its change time: written through a memory map on tmpfs, or by another
#: machine whose clock and caches are its own.
FORGETFUL = {"tmpfs", "ramfs", "hugetlbfs", "nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "fuse.sshfs"}


@memo(256)
def _forgets_changes(device: int) -> bool:
    """Return whether the change times of a device are no proof; Linux says of what kind it is."""
    try:
        mounts = Path("/proc/self/mountinfo").read_text("utf8", "replace").splitlines()
    except OSError:
        return False
    number = f"{os.major(device)}:{os.minor(device)}"
    kinds = {line.partition(" - ")[2].split(" ")[0] for line in mounts if line.split(" ")[2] == number}
    return bool(kinds & FORGETFUL)


def read_once(path: Path, sha256: str | None) -> bytes:
    """Read a file, and check that these very bytes are those that were hashed before.

    Parameters
    ----------
    path : Path
        The file.
    sha256 : str or None
        Of its content as it was planned with; None: any.

    Raises
    ------
    IntegrityError
        If it holds other bytes by now.
    """
    data = path.read_bytes()
    if sha256 is not None and (found := hashlib.sha256(data).hexdigest()) != sha256:
        raise IntegrityError(
            f"{str(path)!r} changed while it was in use: its SHA-256 was {sha256}, now it is {found}. Run again, with "
            "the file you mean."
        )
    return data


#: State of a file that is not there.
MISSING = FileState(0, 0, 0, 0)


def file_states(paths: Iterable[str | os.PathLike[str]]) -> list[FileState]:
    """Return the states of files, each as `file_state` does; written as one loop because every call makes it."""
    states = []
    for path in paths:
        try:
            status = os.stat(path)
        except (OSError, ValueError):
            states.append(MISSING)
        else:
            states.append(FileState(status.st_dev, status.st_ino, status.st_size, status.st_ctime_ns))
    return states


def file_state(path: str | os.PathLike[str]) -> FileState:
    """Return the state of a file, or `MISSING`."""
    try:
        return FileState.of(os.stat(path))
    except (OSError, ValueError):
        return MISSING
