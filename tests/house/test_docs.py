"""The documentation runs: snippets of the README in order, doctests of every module, the commands it names."""

import doctest
import importlib
import pkgutil
import re
import shlex
from pathlib import Path

import pytest

import skltransfer
from skltransfer import cli
from skltransfer.datasets import load_emoji
from tests.paths import ROOT

README = (ROOT / "README.md").read_text("utf8")
MODULES = sorted(module.name for module in pkgutil.walk_packages(skltransfer.__path__, "skltransfer."))


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


@pytest.fixture
def photos(tmp_path, monkeypatch) -> Path:
    """A folder of labelled pictures, as the README has it, in the current folder."""
    emoji = load_emoji()
    for group in range(3):
        folder = tmp_path / "photos" / emoji.target_names[group].replace(" & ", "_")
        folder.mkdir(parents=True)
        for i in (emoji.target == group).nonzero()[0][:8]:
            (folder / f"{i}.png").write_bytes(emoji.images[i])
    monkeypatch.chdir(tmp_path)
    return tmp_path / "photos"


def test_the_readme_snippets_run_in_order(photos, capsys):
    exec("\n".join(blocks("python")), {"__name__": "readme"})
    assert "no-such-file.jpg" in capsys.readouterr().out


@pytest.mark.parametrize("name", MODULES)
def test_doctests_of_every_module_pass(name):
    assert doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS).failed == 0


def test_the_readme_names_only_commands_that_exist():
    lines = [line for block in blocks("bash") for line in block.splitlines() if line.startswith("skltransfer ")]
    parser = cli.make_parser()
    for line in lines:
        assert parser.parse_args(shlex.split(line, comments=True)[1:])


def test_continuous_integration_runs_the_test_command_of_the_readme():
    assert re.search(r"^pip install .* && python -m pytest$", README, re.MULTILINE)
    assert "-m pytest$" in (ROOT / ".ci" / "run").read_text("utf8")
