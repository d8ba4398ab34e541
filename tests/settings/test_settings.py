"""Settings: where they are looked up, what they take, who sees them."""

import contextlib
import threading

import numpy as np
import pytest

import skltransfer
from skltransfer._engine import settings
from skltransfer.errors import SettingError


@pytest.fixture(autouse=True)
def settings_of_the_test(monkeypatch):
    """Leave no setting behind, and take none of the environment."""
    monkeypatch.setattr(settings._Process, "settings", {})
    for variable in settings.VARIABLES.values():
        monkeypatch.delenv(variable, raising=False)


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (0, 0),
        (10**12, 10**12),
        (np.int64(5), 5),
        ("7", 7),
        ("2GB", 2 * 10**9),
        ("2 gb", 2 * 10**9),
        ("1.5KB", 1500),
        ("512MiB", 512 * 2**20),
        (" 3 GiB ", 3 * 2**30),
        ("1TB", 10**12),
        ("9B", 9),
        (None, None),
    ],
)
def test_size_is_a_number_of_bytes_or_a_text(value, size):
    skltransfer.set_config(cache_memory=value)
    assert settings.size("cache_memory") == size
    assert skltransfer.get_config()["cache_memory"] == value


@pytest.mark.parametrize("value", [-1, 1.5, True, "", "2XB", "GB", "-2GB", "2GB or so", "1e9", "iB", [1], {}, "٣"])
def test_what_is_no_size_is_refused_and_changes_nothing(value):
    skltransfer.set_config(cache_spill="1GB")
    with pytest.raises(SettingError, match=r"cache_spill=.* is no size. Write a number of bytes, a text such as '2GB'"):
        skltransfer.set_config(cache_memory=5, cache_spill=value)
    assert skltransfer.get_config() == {"cache_memory": None, "cache_spill": "1GB", "cache_folder": None}


@pytest.mark.parametrize("name", settings.VARIABLES)
def test_environment_counts_where_nothing_is_set(monkeypatch, name):
    monkeypatch.setenv(settings.VARIABLES[name], "3MB")
    assert (settings.size(name), skltransfer.get_config()[name]) == (3 * 10**6, "3MB")
    skltransfer.set_config(**{name: None})
    assert settings.size(name) is None


def test_wrong_variable_is_an_error_that_names_it(monkeypatch):
    monkeypatch.setenv("SKLTRANSFER_CACHE_FOLDER", "much")
    with pytest.raises(SettingError, match="SKLTRANSFER_CACHE_FOLDER='much' is no size"):
        settings.size("cache_folder")


def test_context_ends_with_its_settings_also_by_an_error():
    skltransfer.set_config(cache_memory=1, cache_spill=1)
    with skltransfer.config_context(cache_memory=2):
        skltransfer.set_config(cache_spill=3)
        assert skltransfer.get_config() == {"cache_memory": 2, "cache_spill": 3, "cache_folder": None}
        with contextlib.suppress(ZeroDivisionError), skltransfer.config_context(cache_memory=7):
            raise ZeroDivisionError
        assert settings.size("cache_memory") == 2
    assert skltransfer.get_config() == {"cache_memory": 1, "cache_spill": 1, "cache_folder": None}


def test_context_is_of_its_thread_and_set_config_of_all():
    seen = []
    with skltransfer.config_context(cache_memory=2):
        thread = threading.Thread(target=lambda: seen.append(settings.size("cache_memory")))
        thread.start(), thread.join()
    skltransfer.set_config(cache_memory=4)
    thread = threading.Thread(target=lambda: seen.append(settings.size("cache_memory")))
    thread.start(), thread.join()
    assert seen == [None, 4]


def test_unknown_setting_is_a_type_error():
    with pytest.raises(TypeError, match="cache_disk"):
        skltransfer.set_config(cache_disk=1)
