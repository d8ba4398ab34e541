"""Files of folders, by one rule for all readers and commands: what systems and tools leave there is not listed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from skltransfer.errors import FolderError, shorten

#: How files of images end that are read.
SUFFIXES = (".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
#: Names, in lower case, that are nobody's samples, beside those that begin with a dot (``.DS_Store``, ``._1.jpg``,
#: ``.ipynb_checkpoints``): of Windows, of macOS' archives, of Synology's and QNAP's thumbnails.
JUNK = {"thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "__macosx", "@eadir", ".@__thumb", "__pycache__"}
ADVICE = "Pass a folder with one subfolder of images per class, such as photos/cat/1.jpg and photos/dog/1.jpg."


def is_junk(name: str) -> bool:
    """Return whether a file or a folder is one that systems and tools leave."""
    return name.startswith(".") or name.lower() in JUNK


def list_files(folder: str | os.PathLike[str]) -> list[str]:
    """List the regular files of a folder and its subfolders, sorted; links to folders are not followed.

    Raises
    ------
    FolderError
        If a folder cannot be read: its files would be missing without a word.
    """
    return sorted(_walk(os.fspath(folder)))


def _walk(folder: str) -> Iterator[str]:
    for entry in _entries(folder):
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path)
        elif entry.is_file():
            yield entry.path


def _entries(folder: str) -> list[os.DirEntry[str]]:
    """Return what lies in a folder, sorted by name, without junk."""
    try:
        with os.scandir(folder) as found:
            return sorted((entry for entry in found if not is_junk(entry.name)), key=lambda entry: entry.name)
    except OSError as err:
        raise FolderError(f"The folder {folder!r} cannot be read ({err.strerror}).") from err


def list_classes(folder: str | os.PathLike[str]) -> tuple[dict[str, list[str]], list[str]]:
    """List the images of every subfolder, which is a class.

    Parameters
    ----------
    folder : path
        The folder.

    Returns
    -------
    classes : dict of str to list of str
        Paths of images by the name of the subfolder, both sorted; those of its own subfolders are of the class, too.
    skipped : list of str
        Other files, sorted: of other suffixes than `SUFFIXES`, or in no subfolder.
    """
    entries = _entries(os.fspath(folder))
    files = {entry.name: list_files(entry.path) for entry in entries if entry.is_dir()}
    classes = {name: [path for path in paths if path.lower().endswith(SUFFIXES)] for name, paths in files.items()}
    outside = [entry.path for entry in entries if entry.is_file()]
    others = [path for paths in files.values() for path in paths if not path.lower().endswith(SUFFIXES)]
    return classes, sorted(outside + others)


def check_is_folder(folder: Path) -> None:
    """Refuse what is no folder.

    Raises
    ------
    FolderError
        If it is a file, or is not there.
    """
    if not os.path.isdir(folder):
        what = "is a file" if os.path.exists(folder) else "does not exist"
        raise FolderError(f"The folder {shorten(repr(str(folder)))} {what}. {ADVICE}")
