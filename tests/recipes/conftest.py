"""The recipes are packages of ``models/recipes``, which nothing installs."""

import sys

from tests.paths import ROOT

sys.path.append(str(ROOT / "models" / "recipes"))
