"""`skltransfer demo`: what it prints, what it writes, and the status it ends with."""

import re
import runpy
import sys

import pytest

from skltransfer import cli
from skltransfer._engine import demo
from tests.cli.support import lines


def demo_of(photos, model, *options):
    return ["demo", str(photos), "--model", str(model), "--device", "cpu", *options]


@pytest.fixture
def no_matplotlib(monkeypatch):
    for name in ("matplotlib", "matplotlib.style"):
        monkeypatch.setitem(sys.modules, name, None)


def test_demo_draws_a_picture_and_says_where(photos, model, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    picture = tmp_path / "out.png"
    assert cli.main(demo_of(photos, model, "--output", str(picture))) == 0
    assert f"Picture: {picture}" in lines(capsys)
    assert picture.stat().st_size > 10_000


def test_demo_without_matplotlib_prints_the_table_and_what_to_install(photos, model, no_matplotlib, capsys):
    assert cli.main(demo_of(photos, model)) == 0
    out = capsys.readouterr().out
    assert re.search(r"^labels per class +2 +4 \(all\)$", out, re.MULTILINE)
    assert re.search(r"^embedding +\d+ ± \d+ ", out, re.MULTILINE)
    assert "pip install 'skltransfer[plot]'" in out


def test_what_the_demo_says_to_type_runs(photos, model, no_matplotlib, tmp_path, capsys):
    cli.main(demo_of(photos, model))
    script = tmp_path / "next.py"
    script.write_text("\n".join(line[4:] for line in lines(capsys) if line.startswith("    ")))
    assert set(runpy.run_path(str(script))["y"]) == {"bright", "dark"}
    assert lines(capsys) == ["['bright' 'bright' 'bright' 'bright' 'bright']"]


def test_demo_names_images_that_cannot_be_read(photos, model, no_matplotlib, capsys):
    for i in range(12):
        (photos / "dark" / f"bad{i:02}.png").write_bytes(b"<html>")
    assert cli.main(demo_of(photos, model)) == 0
    out = capsys.readouterr().out
    assert "10 of 22 images" in out
    assert re.search(r"^Skipped, fix or remove it: .*bad00\.png: .*a web page$", out, re.MULTILINE)
    assert "Skipped as well: 2 more" in out


def test_what_the_demo_says_to_type_about_emoji_is_python():
    args = cli.make_parser().parse_args(["demo"])
    snippet = cli._demo.snippet(args)
    assert "PretrainedEmbedder()" in snippet
    assert compile(snippet, "snippet", "exec")


@pytest.mark.parametrize(("output", "why"), [("nowhere/a.png", "mkdir"), ("a.txt", "does not end in .pdf, .png")])
def test_demo_refuses_a_bad_output_before_it_works(output, why, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "run", None)
    with pytest.raises(SystemExit, match="2"):
        cli.main(["demo", "--output", output])
    assert why in capsys.readouterr().err
