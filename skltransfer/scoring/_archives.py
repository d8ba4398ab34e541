"""Folders of images, and archives of them: tar (webdataset) and zip; samples are called by their names."""

from __future__ import annotations

import os
import tarfile
import weakref
import zipfile
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from skltransfer._engine import listing, sources
from skltransfer.errors import FolderError, shorten
from skltransfer.scoring._files import File, is_address, open_binary
from skltransfer.scoring._source import Source
from skltransfer.scoring._units import BLOCK, Block, Unit, cut, numbered


class Folder(Source):
    """The images of a folder and its subfolders; the listing is the source."""

    kind: ClassVar = "folder"

    def units(self, size: int) -> list[Unit]:
        """Cut the listing."""
        return numbered(cut(0, [len(self.files)], size))

    def blocks(self, unit: Unit) -> Iterator[Block]:
        """Return the paths of a unit."""
        for first in range(unit.first, unit.first + unit.rows, BLOCK):
            paths = [file.path for file in self.files[first : min(first + BLOCK, unit.first + unit.rows)]]
            yield Block([self._name(path) for path in paths], paths)

    def _name(self, path: str) -> str:
        if is_address(path):
            return path.removeprefix(self.folder.rstrip("/") + "/")
        return os.path.relpath(path, self.folder).replace(os.sep, "/")


class Archive(Source):
    """Files in archives. `column` is the suffix of those that are wanted, such as ``"jpg"``."""

    def __init__(self, files: Sequence[File] = (), folder: str = "") -> None:
        super().__init__(files, folder)
        self._reading: tuple[int, int, Iterator[tuple[str, Any]]] | None = None

    def units(self, size: int) -> list[Unit]:
        """Read the table of contents of every archive."""
        found = [unit for file in range(len(self.files)) for unit in cut(file, [self._count(file)], size)]
        if not found:
            raise FolderError(f"{shorten(repr(self.files[0].path))} holds no file that ends in {self._suffixes()}.")
        return numbered(found)

    def _count(self, file: int) -> int:
        path = self.files[file].path
        try:
            return sum(1 for _ in self.members(file, contents=False))
        except (tarfile.TarError, zipfile.BadZipFile, OSError, EOFError) as err:
            raise FolderError(f"{shorten(repr(path))} cannot be read as an archive ({shorten(str(err))}).") from err

    def blocks(self, unit: Unit) -> Iterator[Block]:
        """Read the files of a unit, where the one before ended if it was the one before."""
        if self._reading is None or self._reading[:2] != (unit.file, unit.first):
            members = self.members(unit.file, contents=True, first=unit.first)
        else:
            members = self._reading[2]
        self._reading = None
        archive, left = os.path.basename(self.files[unit.file].path), unit.rows
        while left:
            block = [pair for _, pair in zip(range(min(BLOCK, left)), members, strict=False)]
            if not block:
                return
            left -= len(block)
            yield Block([f"{archive}/{name}" for name, _ in block], [sample for _, sample in block])
        self._reading = unit.file, unit.first + unit.rows, members

    @abstractmethod
    def members(self, file: int, *, contents: bool, first: int = 0) -> Iterator[tuple[str, Any]]:
        """Yield names and samples from one on; without `contents`, names only."""

    def _suffixes(self) -> tuple[str, ...]:
        column = self.selection.column
        if isinstance(column, str):
            return (f".{column.lstrip('.').lower()}",)
        return listing.SUFFIXES if self.selection.root is not None else (".txt",)

    def _wanted(self, name: str) -> bool:
        parts = name.split("/")
        return name.lower().endswith(self._suffixes()) and not any(map(listing.is_junk, parts))

    def _sample(self, data: bytes, name: str) -> Any:
        """Return what the pipeline is given: an image that knows its name, or a text."""
        return {"bytes": data, "path": name} if self.selection.root is not None else data.decode("utf8", "replace")


class Tar(Archive):
    """Tar files, read in sequence."""

    kind: ClassVar = "tar"

    def members(self, file: int, *, contents: bool, first: int = 0) -> Iterator[tuple[str, Any]]:
        """Yield names and samples."""
        seen = 0
        with open_binary(self.files[file].path) as opened, tarfile.open(fileobj=opened, mode="r:*") as archive:
            for member in archive:
                archive.members = []  # type: ignore[attr-defined]  # which would hold every header that was read
                if not member.isfile() or not self._wanted(member.name):
                    continue
                seen += 1
                if seen > first:
                    yield member.name, self._read(archive, member) if contents else None

    def _read(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> Any:
        extracted = archive.extractfile(member)
        assert extracted is not None  # it is a regular file
        return self._sample(extracted.read(sources.MAX_BYTES + 1), member.name)


class Zip(Archive):
    """Zip files; their images are decompressed by the threads that decode them."""

    kind: ClassVar = "zip"

    def members(self, file: int, *, contents: bool, first: int = 0) -> Iterator[tuple[str, Any]]:
        """Yield names and samples."""
        opened = open_binary(self.files[file].path)
        archive = zipfile.ZipFile(opened)
        # Closed when the last sample is let go: those that wait in the line are read from it.
        weakref.finalize(archive, opened.close)
        wanted = [info.filename for info in archive.infolist() if not info.is_dir() and self._wanted(info.filename)]
        for name in wanted[first:]:
            yield name, self._member(archive, name) if contents else None

    def _member(self, archive: zipfile.ZipFile, name: str) -> Any:
        if self.selection.root is not None:
            return zipfile.Path(archive, name)
        return self._sample(archive.read(name), name)
