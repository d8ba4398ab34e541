"""Every command with hostile values: an exit status it knows and one line of error, never a traceback or a wait."""

import json
import os
import pwd
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from skltransfer import cli
from tests import paths
from tests.cli import hostile

STATUSES = {0, 1, 2, 130, 141}
#: Longest line of an error: values are cut.
LONGEST = 2500

pytestmark = pytest.mark.skipif(os.name != "posix", reason="links, pipes and devices as POSIX has them")


@pytest.fixture(scope="module")
def place(tmp_path_factory, baked):
    """A current folder with hostile files, caches and cards, and a good model."""
    root = tmp_path_factory.mktemp("fuzz")
    (root / "files").mkdir()
    for path in baked.iterdir():
        (root / path.name).write_bytes(path.read_bytes())
    files, caches = hostile.make_files(root / "files"), hostile.make_caches(root / "caches")
    hostile.make_caches(root / "untouched")  # by calls that empty caches
    good = json.loads((root / "tiny.card.json").read_text())
    for name, text in hostile.cards(good):
        (root / "cards" / name).mkdir(parents=True)
        (root / "cards" / name / "tiny.onnx").write_bytes((root / "tiny.onnx").read_bytes())
        (root / "cards" / name / "card.json").write_text(text)
    return root, files, caches, sorted(str(path) for path in (root / "cards").iterdir())


@pytest.fixture(autouse=True)
def apart(place, tmp_path, monkeypatch):
    monkeypatch.chdir(place[0])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def words(place) -> dict[str, list[list[str]]]:
    """Return for each kind of argument the calls that give it a hostile value."""
    _, files, caches, cards = place
    values, paths = hostile.WORDS, [*hostile.WORDS, *files]
    samples = [value for value in paths if value not in (".", "..")]  # those hold thousands of files
    return {
        "command": [[value] for value in values] + [["models", value] for value in values],
        "model": [["models", "show", value] for value in paths]
        + [["models", command, value] for command in ("layers", "verify") for value in values],
        "pull": [["models", "pull", value] for value in values],
        "cards": [["models", command, card] for command in ("show", "layers", "verify") for card in cards],
        "cache": [["cache", command, value] for command in ("info", "verify", "clear") for value in [*paths, *caches]],
        "device": [[*command, "--device", value] for command in (["demo"], ["doctor"]) for value in values],
        "demo": [["demo", value] for value in paths if value != "/"],
        "output": [["demo", "void", "--output", value] for value in paths],
        "bench": [["doctor", "--model", "missing", "--bench", value] for value in samples],
        "samples": [["models", "quantize", "missing", "int8", "--samples", value] for value in samples],
        "quantize": [["models", "quantize", value, "int8"] for value in values],
        "precision": [["models", "quantize", "tiny.onnx", value] for value in values],
        "convert": [["convert", value, "x", "--output", "y"] for value in values]
        + [["convert", "transformers", "x", "--output", "y", "--part", value] for value in values],
        "card": [["models", "card", value] for value in paths if value != "tiny.onnx"],
        "flags": [
            [
                "models",
                "card",
                "free.onnx",
                "--output",
                "written.json",
                "--range=255",
                "--size=8,8",
                f"--{flag}={value}",
            ]
            for flag in FLAGS
            for value in values
        ],
    }


FLAGS = ["preset", "range", "mean", "std", "color", "size", "resize", "resize-to", "interpolation", "layer", "pool"]
FLAGS += ["name", "description", "license", "source", "external", "output"]
KINDS = ["bench", "cache", "card", "cards", "command", "convert", "demo", "device", "flags", "model", "output"]
KINDS += ["precision", "pull", "quantize", "samples"]


def run(argv: list[str]) -> int:
    try:
        return cli.main(argv)
    except SystemExit as end:
        return 0 if end.code is None else end.code


def assert_quiet(argv, status, out: str, err: str) -> None:
    """Check the status, that nothing raw is printed, and that an error is one line after the usage."""
    shown = [word[:80] for word in argv]
    assert status in STATUSES, shown
    assert "Traceback" not in err, (shown, err[-2000:])
    assert "mistake of skltransfer" not in err, (shown, err[-2000:])
    assert not set(re.findall(r"[^\n -~]", out + err)) & {"\x1b", "\x07", "\0", "\u202e", "\r"}, (shown, err)
    assert "TOP-SECRET" not in out + err, shown
    usage = re.match(r"usage: (.|\n)*?\n(?=skltransfer|$)", err)
    lines = [line for line in err[usage.end() if usage else 0 :].splitlines() if ": warning: " not in line]
    assert all(line.startswith("skltransfer") and len(line) < LONGEST for line in lines), (shown, err)
    errors = [line for line in lines if not line.endswith(" ...")]
    assert len(errors) <= 1, (shown, err)
    assert (status == 2) <= (len(errors) == 1 or "usage:" in out + err), (shown, status, err)


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_values_are_one_line_and_a_known_status(kind, place, capsys):
    calls = words(place)[kind]
    assert sorted(words(place)) == KINDS
    for argv in calls:
        start = time.monotonic()
        status = run(argv)
        out, err = capsys.readouterr()
        assert_quiet(argv, status, out, err)
        assert time.monotonic() - start < 10, argv
    assert not os.path.exists("owned")


def test_user_without_a_home_folder(place, monkeypatch, capsys):
    def absent(user):
        raise KeyError(user)

    monkeypatch.setattr(pwd, "getpwuid", absent)
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name)
    for argv, status in {
        ("models", "list"): 0,
        ("models", "show", "vision-mini"): 0,
        ("cache", "info"): 2,
        ("cache", "clear"): 0,
        ("models", "pull", "hf://a/b/c.onnx"): 2,
    }.items():
        assert run([*argv]) == status, argv
        assert_quiet(argv, status, *capsys.readouterr())


CLOSED = (">&-", "2>&-", "<&-", ">&- 2>&- <&-")
#: Calls of a shell where something is closed, full or odd, and their statuses.
CALLS = [
    *((f"models show tiny.onnx {closed}", 0) for closed in CLOSED),
    *((f"models shw {closed}", 2) for closed in CLOSED),
    *((f"--help {closed}", 0) for closed in CLOSED),
    *((f"models show tiny.onnx {full}", 2) for full in (">/dev/full", ">/dev/full 2>&1")),
    *((f"--help {full}", 2) for full in (">/dev/full", ">/dev/full 2>&1")),
    *((f"{command} 2>/dev/full", 2) for command in ("models show x", "models shw", "cache info x")),
    *((f"{command} | true; exit ${{PIPESTATUS[0]}}", 141) for command in ("models layers tiny.onnx", "--help")),
    *((f"models show $'{name}'", 2) for name in ("\\xff\\xfe", "\\e[2J", "a\\nb", "")),
    *((f"doctor --bench {path} --model missing", 2) for path in ("files/fifo.npy", "/dev/zero", "files/pickle.npy")),
    ("models show linked", 2),
    ("cache info untouched/null", 0),
]
ENVIRONMENTS = [
    {"PYTHONIOENCODING": "ascii:strict"},
    {"LC_ALL": "C", "COLUMNS": "-7"},
    {"COLUMNS": "x", "HOME": "/dev/null"},
]


@pytest.mark.parametrize("calls", [CALLS[::5], pytest.param(CALLS, marks=pytest.mark.slow)], ids=["some", "all"])
def test_calls_of_a_shell(place, calls):
    def call(number: int) -> tuple[int, str, str]:
        environment = {**os.environ, **ENVIRONMENTS[number % 3], "PYTHONPATH": str(paths.PACKAGE.parent)}
        line = f"{sys.executable} -P -m skltransfer {calls[number][0]}"
        child = subprocess.run(["bash", "-c", line], env=environment, capture_output=True, timeout=60, cwd=place[0])
        return child.returncode, child.stdout.decode("utf8"), child.stderr.decode("utf8")

    with ThreadPoolExecutor(4) as pool:
        for (words, expected), (status, out, err) in zip(calls, pool.map(call, range(len(calls))), strict=True):
            assert status == expected, (words, out, err)
            assert "Exception ignored" not in err
            assert_quiet([words], 0 if "2>" in words else status, out, err)
