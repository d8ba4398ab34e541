"""How much memory this process may use, and how much of it is free."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
from pathlib import Path


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


def free_memory() -> int | None:
    """Return the bytes of memory of the machine that no program uses; None where neither Linux nor psutil says it."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        pass
    try:
        return int(importlib.import_module("psutil").virtual_memory().available)
    except (ImportError, OSError):
        return None


def give_back() -> None:
    """Return memory that was freed to the system: glibc keeps that of arrays up to 32 MB, between others."""
    with contextlib.suppress(OSError, AttributeError, TypeError):  # other C libraries have no such function
        ctypes.CDLL(None).malloc_trim(0)
