"""Modules of ours in processes of their own, which never import from the current folder."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

#: Variable that names the Python interpreter of child processes.
VARIABLE = "SKLTRANSFER_PYTHON"
#: First line of a child that has imported what it needs: from then on the fault is not the machine's.
READY = b"skltransfer child is ready\n"


class ChildFailure(Exception):
    """A child process gave no answer.

    Parameters
    ----------
    status : int or None
        Its exit status; None if it was ended at the deadline.
    words : str
        The end of what it wrote to stderr.
    started : bool
        Whether it had begun its work. If not, the reason lies in the machine.
    """

    def __init__(self, status: int | None, words: str, started: bool = True) -> None:
        super().__init__(status, words)
        self.status, self.words, self.started = status, words, started

    @property
    def machine(self) -> str:
        """The sentence for the user where the child had not begun."""
        last = self.words.strip().splitlines()[-1:] or [f"exit status {self.status}"]
        return (
            f"No child process can be started here ({last[0][:200]}). Their Python is {interpreter()!r}; to name "
            f"another: {VARIABLE}=/path/to/python"
        )


def interpreter() -> str:
    """Return the Python to start children with: ``sys.executable`` may be a program that embeds Python, or nothing."""
    if chosen := os.environ.get(VARIABLE):
        return chosen
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    folders = (sysconfig.get_path("scripts"), sys.exec_prefix, os.path.join(sys.exec_prefix, "bin"))
    places = [sys.executable, getattr(sys, "_base_executable", None)]
    places += [os.path.join(folder, name) for folder in folders for name in (version, "python3", "python.exe")]
    named = (path for path in places if path and re.match("python|pypy", os.path.basename(path), re.IGNORECASE))
    return next((path for path in named if os.access(path, os.X_OK)), None) or shutil.which(version) or version


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
    child = _run([module], json.dumps(request).encode(), seconds, environment or {})
    try:
        return dict(json.loads(child.stdout.splitlines()[-1]))
    except (IndexError, ValueError, TypeError):
        raise _failure(child) from None


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
    child = _run([module, request], data, seconds, {"OPENBLAS_NUM_THREADS": "1"})
    words, found, rest = child.stdout.removeprefix(READY).partition(b"\n")
    if child.returncode or not found:
        raise _failure(child)
    return str(json.loads(words)), rest


def _run(
    arguments: Sequence[str], data: bytes, seconds: float, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[bytes]:
    """Run ``python -m`` without the current folder on its path, and end it at the deadline."""
    try:
        return subprocess.run(
            [interpreter(), "-P", "-W", "ignore", "-m", *arguments],
            input=data,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(_import_path()), **environment},
            capture_output=True,
            timeout=max(seconds, 0),
        )
    except subprocess.TimeoutExpired as err:
        raise ChildFailure(None, _end(err.stderr or b"")) from None
    except OSError as err:
        raise ChildFailure(None, str(err), started=False) from None


def start_child(module: str, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start a module of ours in a process of its own that shares stdout and stderr with this one.

    Its stdin is a pipe that closes when this process ends. Ctrl-C of a terminal does not reach it: hand signals on.

    Parameters
    ----------
    module : str
        Dotted name; run as ``python -P -m module``.
    arguments : sequence of str
        Of the module.
    """
    return subprocess.Popen(
        [interpreter(), "-P", "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stderr=_descriptor(sys.stderr),  # descriptor 2 may be closed to libraries in C, see the command line
        env={**os.environ, "PYTHONPATH": os.pathsep.join(_import_path())},
        start_new_session=True,
    )


def _descriptor(stream: Any) -> int | None:
    try:
        return int(stream.fileno())
    except (AttributeError, OSError, ValueError):
        return None


def _failure(child: subprocess.CompletedProcess[bytes]) -> ChildFailure:
    return ChildFailure(child.returncode, _end(child.stderr), child.stdout.startswith(READY))


def _end(words: bytes) -> str:
    return words.decode("utf8", "replace")[-2000:]


def answer_pipe(handle: Callable[[str, bytes], tuple[str, bytes]]) -> None:
    """Answer one request of `pipe_child`, in the child."""
    _get_ready()
    words, rest = handle(sys.argv[1], sys.stdin.buffer.read())
    sys.stdout.buffer.write(json.dumps(words).encode() + b"\n" + rest)


def _get_ready() -> None:
    sys.stdout.buffer.write(READY)
    sys.stdout.buffer.flush()


def _import_path() -> list[str]:
    """Return the absolute entries of ``sys.path``; the current folder only if this package lies in it."""
    here, home = os.path.realpath(os.curdir), os.path.realpath(Path(__file__).parents[3])
    return [p for p in sys.path if os.path.isabs(p) and (os.path.realpath(p) != here or here == home)]


def answer(handle: Callable[..., Mapping[str, Any]]) -> None:
    """Answer one request, in the child: call a function with what stdin holds, print what it returns."""
    _get_ready()
    print(json.dumps(handle(**json.loads(sys.stdin.read()))))  # noqa: T201 - the parent reads it
