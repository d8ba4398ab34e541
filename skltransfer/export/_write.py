"""Write the file: under a temporary name, and under its own only once it was opened again and agreed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skltransfer._engine import graph
from skltransfer.errors import ExportError

if TYPE_CHECKING:
    import onnx


@contextmanager
def draft_of(path: Path, model: onnx.ModelProto) -> Iterator[Path]:
    """Write a model beside a path, under a temporary name; what is still there when the context ends is removed.

    Raises
    ------
    ExportError
        If the folder cannot be written to.
    """
    temporary = written(path, graph.pieces(model))
    try:
        yield temporary
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def written(path: Path, content: Iterable[bytes]) -> Path:
    """Write bytes beside a path, to the disk itself, and return the temporary name."""
    try:
        descriptor, name = tempfile.mkstemp(dir=path.absolute().parent, prefix=f".{path.name}.{os.getpid()}.")
    except OSError as err:
        raise ExportError(f"{str(path)!r} cannot be written: {err.strerror or err}. Choose another folder.") from err
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
    except BaseException:
        os.unlink(name)
        raise
    return Path(name)


def append_metadata(path: Path, facts: Mapping[str, str]) -> None:
    """Append metadata to a model's file: protobuf joins messages that follow each other, the rest stays as it is."""
    from onnx import ModelProto, StringStringEntryProto

    entries = [StringStringEntryProto(key=key, value=value) for key, value in facts.items()]
    with path.open("ab") as file:
        file.write(ModelProto(metadata_props=entries).SerializeToString())
        file.flush()
        os.fsync(file.fileno())


def publish(files: Mapping[Path, Path]) -> None:
    """Rename files to their own names, the model last: where it is seen, what belongs to it is there."""
    for path, temporary in files.items():
        os.replace(temporary, path)
    for folder in {path.absolute().parent for path in files}:
        _sync(folder)


def _sync(folder: Path) -> None:
    """Write a folder's new names to the disk, where the system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def beside(files: Mapping[Path, bytes]) -> dict[Path, Path]:
    """Write files under temporary names; return these by the names they are to have."""
    done: dict[Path, Path] = {}
    try:
        for path, content in files.items():
            done[path] = written(path, [content])
    except BaseException:
        discard(done)
        raise
    return done


def discard(files: Mapping[Any, Path]) -> None:
    """Remove temporary files that are still there."""
    for temporary in files.values():
        with suppress(FileNotFoundError):
            temporary.unlink()
