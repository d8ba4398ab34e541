"""Build `skltransfer-cpu`: the same package, which requires the plain ONNX Runtime instead of the GPU build.

Usage: python .ci/build_cpu.py FOLDER

pip cannot choose a dependency by whether there is a GPU. The GPU build runs everywhere and is 256 MB larger; this
distribution is for machines that will never have one. It is built from a copy of the tracked files, whose setup.cfg
has another name, one other requirement, and no extra `cuda`.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: What is replaced in setup.cfg, exactly once each.
CHANGES = {
    r"^name = skltransfer$": "name = skltransfer-cpu",
    r"^    # The GPU build where.*\n    onnxruntime-gpu (>= [\d.]+);.*\n    onnxruntime .*$": r"    onnxruntime \1",
    r"^# CUDA \d+ and cuDNN.*\ncuda = .*\n": "",
}


def main(folder: Path) -> None:
    """Build the wheel into a folder."""
    with tempfile.TemporaryDirectory() as copy:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout
        for name in filter(None, listed.decode().split("\0")):
            target = Path(copy, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
        config = Path(copy, "setup.cfg")
        text = config.read_text("utf8")
        for pattern, new in CHANGES.items():
            text, count = re.subn(pattern, new, text, flags=re.MULTILINE)
            assert count == 1, (pattern, count)
        config.write_text(text, "utf8")
        subprocess.run([sys.executable, "-m", "build", "--quiet", "--wheel", "--outdir", folder, copy], check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
