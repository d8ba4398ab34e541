"""`skltransfer doctor`: what it finds and says."""

import importlib.metadata

import pytest

from skltransfer import cli
from skltransfer._engine import runtime
from skltransfer.errors import DeviceError
from tests.cli.support import lines


def test_doctor_prints_versions_threads_and_device(capsys):
    assert cli.main(["doctor"]) == 0
    out = lines(capsys)
    assert f"scikit-learn {importlib.metadata.version('scikit-learn')}" in out[0]
    assert out[1] == f"Threads this process may use: {runtime.cpu_share()}"
    assert out[-1] == f"device='auto' runs on {runtime.resolve('auto')}."


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "tensorrt"])
def test_doctor_ends_with_status_1_if_the_named_device_cannot_run(device, monkeypatch, capsys):
    def refuse(name):
        raise DeviceError(f"device={name!r} cannot run here: no driver.")

    monkeypatch.setattr(cli._doctor.runtime, "resolve", refuse)
    assert cli.main(["doctor", "--device", device]) == 1
    assert lines(capsys)[-1] == f"device={device!r} cannot run here: no driver."


def test_doctor_prints_what_to_type_below_what_is_not_well(monkeypatch, capsys):
    findings = [runtime.Finding("driver", True, "fine"), runtime.Finding("GPUs", False, "none", "buy one")]
    monkeypatch.setattr(cli._doctor.runtime, "diagnose", lambda device: findings)
    cli.main(["doctor", "--device", "cuda"])
    assert [line.split() for line in lines(capsys)[5:8]] == [
        ["driver", "yes", "fine"],
        ["GPUs", "no", "none"],
        ["type:", "buy", "one"],
    ]


def test_doctor_finds_a_machine_without_a_gpu_fine(monkeypatch, capsys):
    monkeypatch.setattr(cli._doctor.runtime, "has_gpu", lambda: False)
    assert cli.main(["doctor"]) == 0
    shown = lines(capsys)
    assert any(
        line.split() == ["GPU", "yes", "no", "GPU", "here,", "the", "CPU", "is", "used:", "fine"] for line in shown
    )
    assert not any("type:" in line for line in shown)


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "cpu:1", "CUDA"])
def test_a_device_of_another_form_is_refused(device, capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(["doctor", "--device", device])
    assert f"'{device}' is not one of auto, cpu, cuda" in capsys.readouterr().err
