"""What reaches a terminal: escaped, shortened, on one line."""

import subprocess
import sys

import pytest

from skltransfer import cli
from skltransfer.cli import _output
from skltransfer.errors import shorten

RAW = ["\x1b[31m", "\x07", "\x00", "\x9b", "\r", "\x7f", "\u202e", "\u200b", "\ud800", "\u2028", "\x85", "\ufeff"]


@pytest.mark.parametrize("raw", RAW)
def test_what_is_not_printable_is_escaped(raw):
    shown = _output.visible(f"a{raw}b")
    assert shown.isprintable()
    assert shown.encode("unicode_escape").decode().replace("\\\\", "\\") == f"a{raw}b".encode("unicode_escape").decode()


@pytest.mark.parametrize("text", ["plain", "é ± 😀 漢字", "1\u202f000", "a\u00a0b", ""])
def test_text_of_any_language_stays(text):
    assert _output.visible(text) == text


@pytest.mark.parametrize("field", ["name", "license", "description", "source", "revision"])
def test_escape_sequences_of_a_card_do_not_reach_the_terminal(model, capsys, field):
    card = model.with_suffix(".card.json")
    card.write_text(
        card.read_text().replace('"schema": 2,', f'"schema": 2, "{field}": "\\u001b[2J\\nforged  line",', 1)
    )
    for command in ("show", "layers", "verify"):
        cli.main(["models", command, str(model)])
        out, err = capsys.readouterr()
        assert "\x1b" not in out + err
        assert not any(line.startswith("forged") for line in (out + err).splitlines())


def test_long_value_is_shortened_and_the_advice_stays(capsys):
    assert cli.main(["models", "show", "x" * 10_000]) == 2
    err = capsys.readouterr().err
    assert len(err) < 800
    assert err.endswith("skltransfer models list\n")


def test_cell_of_a_table_is_one_line():
    assert _output.table([("a\nb\x1b", "c")]) == "a\\nb\\x1b  c"


@pytest.mark.parametrize("most", [20, 300])
def test_text_is_shortened_in_its_middle(most):
    assert shorten("a" * most, most) == "a" * most
    short = shorten("a" * most + "z" * most, most)
    assert (len(short), short[0], short[-1]) == (most, "a", "z")


@pytest.mark.parametrize(
    "argument", ["--name=", "--name= ", "--layer=", "--external=", "--external=../x", "--external=/x"]
)
def test_empty_and_outer_names_are_refused(model, capsys, argument):
    with pytest.raises(SystemExit, match="2"):
        cli.main(["models", "card", str(model), argument])
    assert "is not" in capsys.readouterr().err


def test_card_is_not_written_to_a_device(model, capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(["models", "card", str(model), "--output", "/dev/null"])
    assert "is not a file in an existing folder" in capsys.readouterr().err


#: A command beside which a library in C writes, and which ends as it is told.
LOUD = """
import os, sys, warnings
from skltransfer import cli
from skltransfer.cli._arguments import Command

def run(args):
    os.write(2, b"from C\\n")
    os.system("echo from a child >&2")
    warnings.warn("from Python")
    print("ours", file=sys.stderr)
    {end}

cli.COMMANDS = [Command("loud", "", run)]
status = cli.main(["loud"])
os.write(2, b"after\\n")
print("and Python", file=sys.stderr)
sys.exit(status)
"""


@pytest.mark.parametrize(
    ("end", "status", "error"),
    [
        ("return 1", 1, []),
        ("raise OSError('no disk')", 2, ["skltransfer: no disk"]),
        ("raise KeyboardInterrupt", 130, []),
    ],
)
def test_libraries_in_c_do_not_write_to_the_terminal(end, status, error):
    child = subprocess.run([sys.executable, "-c", LOUD.format(end=end)], stderr=subprocess.PIPE, text=True, timeout=60)
    assert child.stderr.splitlines() == ["skltransfer: warning: from Python", "ours", *error, "after", "and Python"]
    assert child.returncode == status


def test_command_without_stderr_works():
    code = LOUD.format(end="return 0").replace('os.write(2, b"after\\n")', "")
    assert subprocess.run(["/bin/sh", "-c", f"exec {sys.executable} -c '{code}' 2>&-"], timeout=60).returncode == 0


def test_stack_of_a_crash_is_shown_in_development_mode():
    code = LOUD.format(end="os.abort()")
    child = subprocess.run([sys.executable, "-X", "dev", "-c", code], stderr=subprocess.PIPE, timeout=60)
    assert b"from C" in child.stderr
    assert b"Fatal Python error: Aborted" in child.stderr
