"""Seconds and memory that files take which are built to cost much, and whether they are named or embedded.

Usage: ``python tests/bench/bombs.py [--large] [--only WORD] [--seconds 2] [--megabytes 300]``

Each file is prepared in a process of its own. Seconds are processor time, which other programs do not
change. Memory is the peak beyond what that process had before, the file itself not counted, children of it counted. The
exit status is the number of files beyond the bounds.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bombs import BOMBS

#: Seconds after which a file is given up.
PATIENCE = 30


def status(field: str) -> float:
    """Read a field of the process in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / 1024


def measure(path: Path) -> dict[str, object]:
    """Prepare one file; return seconds, MB and what came of it."""
    import resource

    from PIL import Image

    from skltransfer._engine.modalities import image as images
    from skltransfer.cards import ImageSpec
    from skltransfer.errors import Unreadable

    warnings.simplefilter("ignore")
    spec, data = ImageSpec((224, 224), "shorter", 256), path.read_bytes()
    Image.init()
    images.prepare(images.read(images.photographs([(300, 300)])[0]), spec)
    before, start = status("VmRSS"), sum(os.times()[:4])
    try:
        images.prepare(images.read(data), spec)
        verdict = "embedded"
    except Unreadable as err:
        verdict = f"named: {err}"
    seconds, children = sum(os.times()[:4]) - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return {"seconds": seconds, "megabytes": status("VmHWM") - before + children, "verdict": verdict}


def apart(path: Path) -> dict[str, object]:
    """Measure a file in a process of its own."""
    command = [sys.executable, __file__, "--measure", str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return {"seconds": PATIENCE, "megabytes": 0, "verdict": "given up"}
    if done.returncode:
        return {"seconds": 0, "megabytes": 0, "verdict": f"died with {done.returncode}: {done.stderr[-200:]!r}"}
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", action="store_true", help="build the largest variants")
    parser.add_argument("--only", default="", help="kinds whose name holds this word")
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--megabytes", type=float, default=300)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure(args.measure)))
        return 0
    beyond = 0
    print("| kind | bytes | seconds | MB | verdict |\n|---|---|---|---|---|")
    for kind, bomb in BOMBS.items():
        if args.only not in kind:
            continue
        with tempfile.NamedTemporaryFile() as file:
            file.write(bomb.build(bomb.sizes[-1 if args.large else 0]))
            file.flush()
            size, found = Path(file.name).stat().st_size, apart(Path(file.name))
        ok = found["seconds"] <= args.seconds and found["megabytes"] <= args.megabytes
        ok = ok and found["verdict"].startswith(("embedded", "named"))
        beyond += not ok
        mark = "" if ok else " **beyond the bounds**"
        print(
            f"| {kind} | {size:,} | {found['seconds']:.2f} | {found['megabytes']:.0f} | {found['verdict']}{mark} |",
            flush=True,
        )
    print(f"\n{beyond} beyond {args.seconds} s or {args.megabytes} MB.")
    return beyond


if __name__ == "__main__":
    raise SystemExit(main())
