"""`load_folder`: a folder with one subfolder of images per class."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from skltransfer._engine import process
from skltransfer._engine.listing import ADVICE, SUFFIXES, check_is_folder, list_classes
from skltransfer.errors import FolderError, shorten

if TYPE_CHECKING:
    import numpy as np
    from sklearn.utils import Bunch


def load_folder(folder: str | os.PathLike[str], *, return_X_y: bool = False) -> Bunch | tuple[list[str], np.ndarray]:
    """List the images of a folder with one subfolder per class (classification).

    Nothing is opened or decoded. Left out are files that systems and tools leave, such as ``.DS_Store``, ``Thumbs.db``,
    ``._1.jpg`` and ``.ipynb_checkpoints``.

    Parameters
    ----------
    folder : path
        The folder; ``~`` is the home folder.

    return_X_y : bool, default=False
        If True, return ``(paths, target)`` instead of a Bunch.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        Dictionary-like object, with the attributes:

        paths : list of str
            The images, sorted by class, then by path. Those in subfolders of a class are of the class.
        target : ndarray of shape (n,), dtype int64
            The class, as an index into `target_names`.
        target_names : list of str
            The names of the subfolders, sorted.
        skipped : list of str
            Files that are no images by their names, or lie in no subfolder.

    (paths, target) : tuple, if ``return_X_y`` is True
        The `paths` and the `target` described above.

    Raises
    ------
    FolderError
        If it is no folder or has no subfolders, or one of them has no images.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from skltransfer.datasets import load_emoji, load_folder
    >>> photos = Path(tempfile.mkdtemp())
    >>> for name, image in zip(["cat", "dog"], load_emoji().images):
    ...     (photos / name).mkdir()
    ...     _ = (photos / name / "1.webp").write_bytes(image)
    >>> _ = (photos / "notes.txt").write_text("by Ann")
    >>> data = load_folder(photos)
    >>> [Path(path).name for path in data.paths], data.target.tolist(), data.target_names
    (['1.webp', '1.webp'], [0, 1], ['cat', 'dog'])
    >>> [Path(path).name for path in data.skipped]
    ['notes.txt']
    """
    import numpy as np

    place = process.expand(folder)
    check_is_folder(place)
    classes, skipped = list_classes(place)
    _check(place, classes, skipped)
    paths = [path for images in classes.values() for path in images]
    target = np.repeat(np.arange(len(classes), dtype=np.int64), [len(images) for images in classes.values()])
    if return_X_y:
        return paths, target

    from sklearn.utils import Bunch

    return Bunch(paths=paths, target=target, target_names=list(classes), skipped=skipped)


def _check(folder: Path, classes: dict[str, list[str]], skipped: list[str]) -> None:
    """Refuse a folder without classes, or with one that is empty."""
    shown = shorten(repr(str(folder)))
    if not classes:
        images = sum(path.lower().endswith(SUFFIXES) for path in skipped)
        raise FolderError(
            f"The folder {shown} has no subfolders, and {images} images. {ADVICE} Images without labels are listed by "
            f"sorted(Path({shown}).glob('*.jpg'))."
        )
    if empty := [name for name, images in classes.items() if not images]:
        raise FolderError(
            f"No images in {shorten(', '.join(map(repr, empty)))} of {shown}. Add some ({', '.join(SUFFIXES)}), or "
            "move the subfolder away."
        )
