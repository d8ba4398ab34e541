"""Addresses, opened by fsspec within limits of size and time, where the extra ``remote`` is installed.

fsspec itself comes with many libraries. So that a string in a table opens no connection just because one of them is
there, universal_pathlib has to be there too, which little else needs than the extra.
"""

from __future__ import annotations

import importlib.util
import os
import re
from typing import Any

from skltransfer._engine import process
from skltransfer._engine.sources._addresses import REMOTE, describe
from skltransfer._engine.sources._content import read_open
from skltransfer.errors import Unreadable, need, shorten

#: Seconds for one address, and for each answer that is waited for.
SECONDS, ANSWER = 120.0, 20.0
_PROTOCOL = re.compile(r"([a-z0-9]+)://", re.IGNORECASE)


@process.memo(1)
def _is_installed() -> bool:
    return all(importlib.util.find_spec(module) is not None for module in ("fsspec", "upath"))


def _is_offline() -> bool:
    """Return whether the user forbids to open sockets."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def opens(name: str) -> bool:
    """Return whether a string is an address that is opened: of known protocols only, each link of a chain."""
    first, *others = name.split("::")
    return (
        len(name) < 4096
        and _protocol(first) in REMOTE
        and (_protocol(first) == "zip") == bool(others)
        and all(_protocol(link) in REMOTE or _is_local(link) for link in others)
        and _is_installed()
    )


def _protocol(link: str) -> str:
    found = _PROTOCOL.match(link)
    return found[1].lower() if found else ""


def _is_local(link: str) -> bool:
    """Return whether a link is a regular file of this machine: a FIFO could block for ever."""
    return "://" not in link and os.path.isfile(link)


def fetch(address: str) -> bytes:
    """Read what an address stands for.

    Raises
    ------
    Unreadable
        If it cannot be opened or read, or not within the limits, or offline.
    """
    if _is_offline() and any(_protocol(link) not in ("", "zip") for link in address.split("::")):
        raise Unreadable("is an address, and HF_HUB_OFFLINE forbids to fetch it")
    try:
        with need("fsspec", extra="remote").open(address, "rb", **_options(address)) as file:
            return read_open(file, SECONDS)
    except Unreadable:
        raise
    except ImportError as err:  # the library of one protocol
        raise Unreadable(f"{describe(address)} ({shorten(str(err))})") from err
    except Exception as err:  # each protocol has its own
        raise Unreadable(f"cannot be fetched ({type(err).__name__}: {shorten(str(err))})") from err


def _options(address: str) -> dict[str, dict[str, Any]]:
    """Return how long each protocol of an address waits for an answer; each has its own words for it."""
    used = {_protocol(link) for link in address.split("::")}
    options: dict[str, dict[str, Any]] = {}
    for protocol in used & {"http", "https"}:
        timeout = need("aiohttp", extra="remote").ClientTimeout(total=SECONDS, connect=ANSWER, sock_read=ANSWER)
        options[protocol] = {"client_kwargs": {"timeout": timeout}}
    for protocol in used & {"s3"}:
        options[protocol] = {"config_kwargs": {"connect_timeout": ANSWER, "read_timeout": ANSWER}}
    for protocol in used & {"gs", "gcs"}:
        options[protocol] = {"timeout": ANSWER}
    return options
