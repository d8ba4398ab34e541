"""What holds for every recipe: short files, and a command line that explains itself."""

import subprocess
import sys

import pytest

from tests.paths import ROOT

RECIPES = sorted(path.parent for path in (ROOT / "models" / "recipes").glob("*/__main__.py"))
FILES = sorted((ROOT / "models" / "recipes").rglob("*.py"))
NEEDS = {"distill_vision": ("torch",), "distill_text": ("tokenizers",)}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_no_file_is_longer_than_400_lines(path):
    assert len(path.read_text("utf8").splitlines()) <= 400


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.name)
def test_folder_runs_as_a_command(recipe, tmp_path):
    for library in NEEDS[recipe.name]:
        pytest.importorskip(library, reason=f"the recipe needs {library}")
    words = [sys.executable, str(recipe), "--help"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.startswith(f"usage: {recipe.name} "), done.stderr
