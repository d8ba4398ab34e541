"""Folders of the user, states of files, and files that are read once."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from skltransfer._engine.process._registry import memo
from skltransfer.errors import IntegrityError


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
    """Return whether the change times of a device are no proof."""
    return bool(_kinds(device) & FORGETFUL)


def _kinds(device: int) -> set[str]:
    """Return the kinds of file system a device is mounted as; Linux says it, other systems do not."""
    try:
        mounts = Path("/proc/self/mountinfo").read_text("utf8", "replace").splitlines()
    except OSError:
        return set()
    number = f"{os.major(device)}:{os.minor(device)}"
    return {line.partition(" - ")[2].split(" ")[0] for line in mounts if line.split(" ")[2] == number}


def is_in_memory(folder: str | os.PathLike[str]) -> bool:
    """Return whether the files of a folder take memory, not disk, as those of tmpfs do."""
    return bool(_kinds(os.stat(folder).st_dev) & {"tmpfs", "ramfs"})


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
