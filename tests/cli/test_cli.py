"""The command line itself: statuses, errors on one line, closed pipes."""

import importlib.metadata
import logging
import re
import subprocess
import sys
import types
import warnings

import pytest

from skltransfer import cli
from skltransfer.errors import SklTransferError
from tests.cli.support import lines


def test_version_is_printed(capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--version"])
    assert lines(capsys) == [f"skltransfer {importlib.metadata.version('skltransfer')}"]


@pytest.mark.parametrize("argv", [[], ["models"], ["nonsense"], ["demo", "--devic", "cpu"]])
def test_a_wrong_command_ends_with_status_2_and_the_usage(argv, capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(argv)
    assert capsys.readouterr().err.startswith("usage: skltransfer")


def test_an_error_is_one_line_without_traceback(capsys):
    assert cli.main(["models", "show", "vision-mni"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"skltransfer: There is no model 'vision-mni'.*\n", err)


RAISED = [(SklTransferError("a\nb"), 2), (FileNotFoundError("gone"), 2), (KeyboardInterrupt(), 130)]


@pytest.mark.parametrize(("error", "status"), RAISED)
def test_errors_become_exit_statuses(error, status, monkeypatch, capsys):
    def fail(name):
        raise error

    monkeypatch.setattr(cli._doctor.runtime, "resolve", fail)
    assert cli.main(["doctor"]) == status
    assert capsys.readouterr().err.count("\n") == (status == 2)


def test_a_mistake_of_ours_is_one_line_that_says_how_to_see_its_traceback(monkeypatch, capsys):
    monkeypatch.setattr(cli._doctor.runtime, "cpu_share", lambda: {}["bug"])
    assert cli.main(["doctor"]) == 2
    assert re.fullmatch(r"skltransfer: KeyError: 'bug'\. .*python -X dev.*\n", capsys.readouterr().err)


def test_a_mistake_of_ours_keeps_its_traceback_in_development_mode(monkeypatch):
    monkeypatch.setattr(cli._doctor.runtime, "cpu_share", lambda: {}["bug"])
    monkeypatch.setattr(cli.sys, "flags", types.SimpleNamespace(dev_mode=True))
    with pytest.raises(KeyError, match="bug"):
        cli.main(["doctor"])


def test_a_closed_pipe_is_quiet(model):
    code = f"import sys; from skltransfer import cli; sys.exit(cli.main(['models', 'layers', {str(model)!r}]))"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    child.stdout.close()
    assert child.stderr.read() == b""
    child.stderr.close()
    assert child.wait() == 141


def test_warnings_are_one_line(capsys):
    with cli.quiet_libraries():
        warnings.simplefilter("always")
        warnings.warn("look\nout\x1b[1m", UserWarning, stacklevel=1)
    assert capsys.readouterr().err == "skltransfer: warning: look out\\x1b[1m\n"


def test_what_libraries_log_is_not_shown(capsys):
    with cli.quiet_libraries():
        logging.getLogger("some.library").error("look out")
    assert capsys.readouterr().err == ""
    assert logging.root.manager.disable == logging.NOTSET
