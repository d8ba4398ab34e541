"""What the parameter `cache` names."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from skltransfer._engine import cache, process
from tests.cache.support import key, rows


@pytest.mark.parametrize("where", [None, False, np.False_])
def test_no_cache_is_asked_for(where):
    assert cache.open_cache(where) is None


def test_memory_is_one_for_the_process():
    assert cache.open_cache("memory") is cache.open_cache("memory") is cache.memory


@pytest.mark.parametrize("where", [True, np.True_])
def test_true_is_the_folder_of_the_user(tmp_path, monkeypatch, where):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.open_cache(where).folder == tmp_path / "skltransfer"


def test_folder_of_the_user_without_an_environment(monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    assert process.user_folder() == Path.home() / ".cache" / "skltransfer"


def test_folder_is_opened_once_by_whatever_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert (
        cache.open_cache("rows")
        is cache.open_cache(tmp_path / "rows")
        is cache.open_cache(tmp_path / "x" / ".." / "rows")
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")  # it is what is tested
def test_forked_child_keeps_rows_in_memory_and_opens_its_own_connection(tmp_path):
    parent = cache.open_cache(tmp_path)
    parent.put(rows(1))
    cache.memory.put(rows(2))
    if not (child := os.fork()):
        own = cache.open_cache(tmp_path)
        fine = own is not parent and len(own.get([key(1)])) == len(cache.memory.get([key(2)])) == 1
        os._exit(0 if fine else 1)
    assert os.waitpid(child, 0)[1] == 0
