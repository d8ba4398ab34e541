"""Every recipe is a folder that runs as a command."""

import subprocess
import sys

import pytest

from tests.paths import ROOT

RECIPES = sorted(path.parent for path in (ROOT / "models" / "recipes").glob("*/__main__.py"))
NEEDS = {"distill_vision": ("torch",), "distill_text": ("tokenizers",)}


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.name)
def test_folder_runs_as_a_command(recipe, tmp_path):
    for library in NEEDS[recipe.name]:
        pytest.importorskip(library, reason=f"the recipe needs {library}")
    words = [sys.executable, str(recipe), "--help"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.startswith(f"usage: {recipe.name} "), done.stderr
