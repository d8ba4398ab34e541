"""Print the lowest version of every requirement in setup.cfg, as constraints for pip."""

import configparser
import re
from pathlib import Path

config = configparser.ConfigParser()
config.read(Path(__file__).parents[1] / "setup.cfg", encoding="utf8")
lines = "\n".join([config["options"]["install_requires"], *config["options.extras_require"].values()])
for name, floor in sorted(set(re.findall(r"^([\w-]+)(?:\[.*\])? >= ([\w.]+)", lines, re.MULTILINE))):
    print(f"{name}=={floor}")
