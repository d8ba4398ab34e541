"""`load_emoji`: labeled images and texts bundled with the package, for examples, doctests and first tries."""

from __future__ import annotations

import csv
import io
import zipfile
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from importlib.resources.abc import Traversable

    import numpy as np
    from sklearn.utils import Bunch

#: Suffix of the files of each domain in emoji.zip; the domain is the name of their folder.
_EMOJI_SUFFIXES = {"noto": "webp", "mono": "png"}


def load_emoji(domain: str = "noto", *, return_X_y: bool = False) -> Bunch | tuple[list[bytes], np.ndarray]:
    """Load 785 emoji with their names, keywords, groups and subgroups (classification).

    The same emoji are drawn in two styles, and sample i is the same emoji in both, so that a
    model trained on one style can be tested on the other. Groups are those of Unicode:
    seven of 100 emoji and one of 85, each divided into subgroups of 5 to 27.

    ============== ==========================================
    Classes        8 (group), 85 (subgroup)
    Samples total  785
    Images         72 x 72 x 3, uint8, RGB, when decoded
    Texts          English, one line each
    ============== ==========================================

    Parameters
    ----------
    domain : {"noto", "mono"}, default="noto"
        Style of the images: ``"noto"`` is Noto Color Emoji, in color; ``"mono"`` is Noto
        Emoji, black outlines on white. Choose ``"mono"`` as the target of domain
        adaptation, or for a harder task.

    return_X_y : bool, default=False
        If True, return ``(images, target)`` instead of a Bunch.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        Dictionary-like object, with the attributes:

        images : list of bytes, length 785
            Encoded files, WebP (``"noto"``) or PNG (``"mono"``), on a white background.
        texts : list of str, length 785
            The name, a colon, and comma-separated keywords; the same in both domains.
        target : ndarray of shape (785,), dtype int64
            The group, as an index into `target_names`.
        target_names : list of str, length 8
            The names of the groups, sorted.
        subgroup : ndarray of shape (785,), dtype int64
            The subgroup, as an index into `subgroup_names`.
        subgroup_names : list of str, length 85
            The names of the subgroups, sorted.
        names : list of str, length 785
            The name of each emoji in Unicode.
        codepoints : list of str, length 785
            Its code point in hexadecimal: ``chr(int(codepoints[i], 16))`` is the emoji.
        DESCR : str
            Description, sources and licenses of the data.

    (images, target) : tuple, if ``return_X_y`` is True
        The `images` and the `target` described above.

    Raises
    ------
    ValueError
        If `domain` is neither of these.

    Examples
    --------
    >>> from skltransfer.datasets import load_emoji
    >>> emoji = load_emoji()
    >>> len(emoji.images), emoji.names[0], emoji.target_names[emoji.target[0]]
    (785, 'grinning face', 'Smileys & Emotion')
    >>> emoji.texts[100]
    'waving hand: bye, cya, g2g, greetings, gtg, hand, hello, hey, hi, later, outtie, ttfn, ttyl, wave, yo, you'
    >>> outlines, target = load_emoji("mono", return_X_y=True)
    >>> bool((target == emoji.target).all())
    True
    """
    if domain not in _EMOJI_SUFFIXES:
        raise ValueError(f"domain={domain!r} must be one of {sorted(_EMOJI_SUFFIXES)}.")
    rows, images = _read_emoji(domain)
    target, target_names = _encode(row["group"] for row in rows)
    if return_X_y:
        return images, target

    from sklearn.utils import Bunch

    subgroup, subgroup_names = _encode(row["subgroup"] for row in rows)
    return Bunch(
        images=images,
        texts=[f"{row['name']}: {row['keywords']}" for row in rows],
        target=target,
        target_names=target_names,
        subgroup=subgroup,
        subgroup_names=subgroup_names,
        names=[row["name"] for row in rows],
        codepoints=[row["codepoints"] for row in rows],
        DESCR=_data().joinpath("README.md").read_text(encoding="utf-8"),
    )


def _data() -> Traversable:
    return files("skltransfer").joinpath("data")


def _read_emoji(domain: str) -> tuple[list[dict[str, str]], list[bytes]]:
    suffix = _EMOJI_SUFFIXES[domain]
    with _data().joinpath("emoji.zip").open("rb") as stream, zipfile.ZipFile(stream) as archive:
        rows = list(csv.DictReader(io.StringIO(archive.read("emoji.csv").decode("utf-8"))))
        images = [archive.read(f"{domain}/{row['codepoints']}.{suffix}") for row in rows]
    return rows, images


def _encode(labels: Iterable[str]) -> tuple[np.ndarray, list[str]]:
    """Return the labels as indices into their sorted names, and the names."""
    import numpy as np

    names, codes = np.unique(list(labels), return_inverse=True)
    return codes.astype(np.int64, copy=False), names.tolist()
