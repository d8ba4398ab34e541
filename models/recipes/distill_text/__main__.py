"""Run the recipe: ``python distill_text COMMAND``."""

import sys
from pathlib import Path

if not __package__:  # run as a folder, which is then the first entry of the path; the package is found in its parent
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from distill_text.commands import main

main()
