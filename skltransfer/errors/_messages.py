"""Values and names in messages: shortened, without control characters, with what may have been meant."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str], *, most: int = 3) -> str:
    """Return a suggestion of names, such as ``" Did you mean 'a' or 'b'?"``; empty if none is similar.

    Parameters
    ----------
    name, known : str, iterable of str
        The wrong name, and the right ones.
    most : int
        Most names to suggest.
    """
    from difflib import get_close_matches

    lower: dict[str, str] = {}
    for one in known:
        lower.setdefault(one.lower(), one)
    wrong = str(name).lower()
    parts = sorted((one for one in lower if wrong and (wrong in one or one in wrong)), key=len)
    similar = get_close_matches(wrong, list(lower), n=most, cutoff=0.5)
    close = [lower[one] for one in list(dict.fromkeys([*parts, *similar]))[:most]]
    return f" Did you mean {' or '.join(map(repr, close))}?" if close else ""


def visible(text: object, *, keep: str = "") -> str:
    """Return a text with everything that is not printable escaped, except spaces and the characters of `keep`."""
    text = str(text)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep or unicodedata.category(c) == "Zs" else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def shorten(text: str, most: int = 300) -> str:
    """Cut the middle out of a text that is too long for a message; its end often says what to type."""
    if len(text) <= most:
        return text
    end = most // 4
    return f"{text[: most - end - 5]} ... {text[-end:]}"
