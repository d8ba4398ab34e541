"""Devices: names, the choice, the diagnosis of what keeps a GPU from running."""

import os
import subprocess
import sys
import warnings

import onnx
import pytest
from onnx import TensorProto, helper

from skltransfer import testing
from skltransfer._engine import hub, runtime
from skltransfer._engine.runtime import Device, _diagnosis, _driver, _providers, _resolve
from skltransfer.errors import DeviceError, DeviceWarning
from tests.paths import PACKAGE

CPU, CUDA = Device(), Device("cuda")


def has_gpu() -> bool:
    return _driver.query().devices > 0


def test_identity_model_is_what_onnx_makes_of_it():
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", value[:1], value[1:])
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 13)])
    assert onnx.load_from_string(_resolve.IDENTITY_MODEL) == model


def test_cpu_is_the_cpu():
    assert (runtime.resolve("cpu"), str(runtime.resolve("cpu"))) == (CPU, "cpu")


@pytest.mark.parametrize(
    ("name", "device", "written"),
    [
        ("cuda", Device("cuda", 0), "cuda:0"),
        ("cuda:3", Device("cuda", 3), "cuda:3"),
        ("tensorrt", Device("tensorrt", 0), "tensorrt:0"),
        ("tensorrt:11", Device("tensorrt", 11), "tensorrt:11"),
        ("cuda:all", Device("cuda", runtime.ALL), "cuda:all"),
    ],
)
def test_name_of_a_device_that_works_is_parsed(monkeypatch, name, device, written):
    monkeypatch.setattr(_resolve, "why_not", lambda device: "")
    assert (runtime.resolve(name), str(device)) == (device, written)


@pytest.mark.parametrize("name", ["gpu", "CUDA", "cpu:0", "cuda:", "cuda:-1", "cuda:x", " cuda", "cuda\n", "", "mps"])
def test_name_of_no_device_is_refused_with_the_names_there_are(name):
    with pytest.raises(
        ValueError, match="is not one of 'auto', 'cpu', 'cuda', 'cuda:1', 'cuda:all' or, likewise, 'tensorrt'"
    ):
        runtime.resolve(name)


def test_all_devices_are_those_the_driver_sees(monkeypatch):
    monkeypatch.setattr(_driver, "query", lambda: _driver.Driver((13, 0), 3, ""))
    assert Device("cuda", runtime.ALL).each() == tuple(Device("cuda", i) for i in range(3))
    assert Device("cuda", 2).each() == (Device("cuda", 2),)


def test_all_devices_run_or_the_one_that_does_not_is_named(monkeypatch):
    monkeypatch.setattr(_driver, "query", lambda: _driver.Driver((13, 0), 3, ""))
    monkeypatch.setattr(_resolve, "why_not", lambda device: "it is on fire." if device.index == 2 else "")
    with pytest.raises(DeviceError, match="device='cuda:all' cannot run here: it is on fire"):
        runtime.resolve("cuda:all")


def cuda_options(**choices):
    return dict(_providers.provider_options(CUDA, **choices))["CUDAExecutionProvider"]


def test_gpu_multiplies_with_all_bits_only_where_it_must():
    assert (cuda_options()["use_tf32"], cuda_options(allow_tf32=False)["use_tf32"]) == ("1", "0")


def test_options_of_the_gpu_may_be_chosen(monkeypatch):
    monkeypatch.setenv(_providers.OPTIONS, "cudnn_conv_algo_search=EXHAUSTIVE, gpu_mem_limit=1000")
    found = cuda_options()
    assert (found["cudnn_conv_algo_search"], found["gpu_mem_limit"], found["device_id"]) == ("EXHAUSTIVE", "1000", "0")


def test_option_without_a_value_is_refused(monkeypatch):
    monkeypatch.setenv(_providers.OPTIONS, "cudnn_conv_algo_search")
    with pytest.raises(DeviceError, match="SKLTRANSFER_CUDA_OPTIONS sets cudnn_conv_algo_search without a value"):
        cuda_options()


def test_engines_of_tensorrt_have_a_folder_for_each_recipe(tmp_path, monkeypatch):
    monkeypatch.setenv("SKLTRANSFER_MODELS", str(tmp_path))
    folders = {hub.engine_folder(key) for key in ("one", "two")}
    assert folders == {tmp_path / "engines" / "one", tmp_path / "engines" / "two"}
    assert all(folder.is_dir() for folder in folders)
    options = dict(_providers.provider_options(Device("tensorrt"), engines=tmp_path))["TensorrtExecutionProvider"]
    assert options["trt_engine_cache_path"] == str(tmp_path)


@pytest.mark.skipif(has_gpu(), reason="a GPU is present")
@pytest.mark.parametrize("name", ["cuda", "cuda:1", "tensorrt"])
def test_gpu_asked_for_where_there_is_none_names_what_is_missing(name):
    with pytest.raises(
        DeviceError, match=rf"device='{name}' cannot run here: NVIDIA driver: no NVIDIA driver \(libcuda"
    ):
        runtime.resolve(name)


@pytest.mark.skipif(has_gpu(), reason="a GPU is present")
def test_auto_is_silently_the_cpu_where_there_is_no_gpu():
    assert runtime.resolve("auto") == CPU


@pytest.fixture
def facts(monkeypatch):
    """Set facts of the machine as they are on one where a GPU works; a test then breaks one of them."""

    def set_facts(
        *, wheels=("onnxruntime-gpu",), available=_providers.PROVIDERS["cuda"], driver=((13, 0), 2, ""), **more
    ):
        monkeypatch.setattr(_diagnosis, "installed_wheels", lambda: dict.fromkeys(wheels, "1.31.1"))
        monkeypatch.setattr(ort, "get_available_providers", lambda: list(available))
        monkeypatch.setattr(ort, "cuda_version", "13.0", raising=False)
        monkeypatch.setattr(_driver, "query", lambda: _driver.Driver(*driver))
        monkeypatch.setattr(_resolve, "_refused", lambda device: "" if more.get("starts") else "no kernel image")
        missing = more.get("missing")
        monkeypatch.setattr(_diagnosis.ctypes, "CDLL", lambda name, **_: _load(name, missing))

    ort = _providers.import_onnxruntime()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for cached in (_resolve.why_not, _resolve._warn_once):
        cached.cache_clear()
    yield set_facts
    for cached in (_resolve.why_not, _resolve._warn_once):
        cached.cache_clear()


def _load(name, missing):
    """Fail on a library as the loader does, which names the file it did not find."""
    wanted, _, absent = (missing or "").partition(" for ")
    if wanted and wanted in name:
        raise OSError(f"{absent or name}: cannot open shared object file, needed by {name}")


EMPTIED = """
import os, sys
from skltransfer._engine import runtime
from skltransfer.errors import MissingDependencyError
try:
    runtime.import_onnxruntime()
except MissingDependencyError as err:
    print(err)
print(*(f"{f.what}: {f.ok} {f.fix}" for f in runtime.diagnose()), sep="\\n")
"""


#: What is imported where pip has left a folder without Python files, in the places where packages are.
NAMESPACE = "import sys, types; sys.modules['onnxruntime'] = types.ModuleType('onnxruntime')"


@pytest.mark.parametrize("content", [None, "", "raise ImportError('no libcudart')", "raise OSError('cut off')"])
def test_emptied_package_of_onnx_runtime_is_named_with_the_command(tmp_path, content):
    (tmp_path / "onnxruntime").mkdir()
    if content is not None:
        (tmp_path / "onnxruntime" / "__init__.py").write_text(content)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(PACKAGE.parent)])}
    code = EMPTIED if content is not None else NAMESPACE + EMPTIED
    shown = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    error, *findings = shown.stdout.splitlines()
    assert error.startswith("ONNX Runtime cannot be imported (")
    assert "pip uninstall -y onnxruntime" in error
    assert "&& pip install 'onnxruntime" in error
    assert findings[-1].startswith("ONNX Runtime: False pip uninstall -y onnxruntime")


def test_both_distributions_of_this_package_overwrite_each_other(monkeypatch):
    monkeypatch.setattr(_diagnosis, "installed", lambda names: dict.fromkeys(names, "0.2.0"))
    finding = next(runtime.diagnose_cpu())
    assert (finding.what, finding.ok) == ("skltransfer", False)
    assert finding.fix == "pip uninstall -y skltransfer skltransfer-cpu && pip install skltransfer"


@pytest.mark.parametrize(
    ("vendor", "kind", "found"),
    [("0x10de", "0x030200", True), ("0x8086", "0x030000", False), ("0x10de", "0x040300", False)],
)
def test_gpu_without_a_driver_is_noticed(tmp_path, vendor, kind, found):
    (tmp_path / "vendor").write_text(f"{vendor}\n")
    (tmp_path / "class").write_text(f"{kind}\n")
    assert _driver._is_gpu(tmp_path) is found
    assert _driver._is_gpu(tmp_path / "gone") is False


BROKEN = [
    (
        {"wheels": ("onnxruntime", "onnxruntime-gpu")},
        r"ONNX Runtime: onnxruntime 1.31.1, onnxruntime-gpu 1.31.1 overwrite each other. "
        r"Type: pip uninstall -y onnxruntime onnxruntime-gpu && pip install 'onnxruntime-gpu>=1.27'",
    ),
    (
        {"available": ["CPUExecutionProvider"], "wheels": ("onnxruntime",)},
        r"CUDA build: providers of this build: CPUExecutionProvider. Type: pip uninstall -y onnxruntime && pip install",
    ),
    ({"driver": ((0, 0), 0, "no NVIDIA driver (x)")}, r"NVIDIA driver: no NVIDIA driver \(x\). Type: nvidia-smi"),
    (
        {"driver": ((12, 8), 1, "")},
        r"supports CUDA up to 12.8, this ONNX Runtime is built for CUDA 13. Type: install or update the NVIDIA driver",
    ),
    ({"driver": ((13, 0), 0, "")}, r"GPUs: 0 visible, number 0 requested. Type: nvidia-smi, to list the GPUs"),
    (
        {"missing": "providers_cuda for libcublas.so.13"},
        r"CUDA libraries: libcublas.so.13: .* onnxruntime/capi.* Type: pip install 'skltransfer\[cuda\]'",
    ),
    (
        {"missing": "providers_cuda for libcuda.so.1"},
        r"CUDA libraries: libcuda.so.1: .* Type: install or update the NVIDIA driver \(CUDA 13 needs 580 or newer\)",
    ),
    ({"missing": "cudnn"}, r"cuDNN: .*cudnn.* Type: pip install 'skltransfer\[cuda\]'"),
    ({"missing": "cudnn", "starts": True}, r"cuDNN: .*cudnn.* Type: pip install 'skltransfer\[cuda\]'"),
    ({}, r"ONNX Runtime refuses it: no kernel image\.$"),
]


@pytest.mark.parametrize(("broken", "message"), BROKEN)
def test_reason_why_a_gpu_cannot_run_is_found(facts, broken, message):
    facts(**broken)
    with pytest.raises(DeviceError, match=rf"device='cuda' cannot run here: .*{message}"):
        runtime.resolve("cuda")


def test_gpu_runs_without_cudnn_where_options_say_so(facts, monkeypatch):
    facts(missing="cudnn", starts=True)
    monkeypatch.setenv(_providers.OPTIONS, "enable_cudnn=0")
    assert runtime.resolve("cuda") == CUDA


REFUSALS = {
    '[ONNXRuntimeError] : 1 : FAIL : Failed to parse provider option "device_id": CUDA failure 36: API call is not '
    "supported in the installed CUDA driver ; GPU=-1 ; expr=cudaGetDeviceCount(&num_devices);": "CUDA failure 36: API "
    "call is not supported in the installed CUDA driver",
    "Something else.\nAnd more": "Something else",
}


@pytest.mark.parametrize("message", REFUSALS)
def test_what_onnx_runtime_says_is_given_in_short_and_nothing_is_printed(message, monkeypatch, capfd):
    def refuse(model, *args, enable_fallback, **kwargs):
        assert enable_fallback == 0
        raise RuntimeError(message)

    ort = _providers.import_onnxruntime()
    monkeypatch.setattr(ort, "get_available_providers", lambda: list(_providers.PROVIDERS["cuda"]))
    monkeypatch.setattr(ort, "InferenceSession", refuse)
    assert _resolve._refused(CUDA) == REFUSALS[message]
    assert capfd.readouterr() == ("", "")


def test_reason_why_tensorrt_cannot_run_is_found(facts):
    facts(missing="providers_tensorrt", available=_providers.PROVIDERS["tensorrt"])
    with pytest.raises(DeviceError, match=r"TensorRT libraries: .* Type: pip install tensorrt-cu13"):
        runtime.resolve("tensorrt")


def test_gpu_number_that_does_not_exist_is_named(facts, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    facts()
    with pytest.raises(
        DeviceError, match=r"GPUs: 2 visible, number 2 requested, CUDA_VISIBLE_DEVICES='0,1'. Type: unset"
    ):
        runtime.resolve("cuda:2")


class Driver:
    """Stands in for the NVIDIA driver, as its library answers on machines of three kinds."""

    def __init__(self, init=0, version=13020, count=2):
        self.cuInit = lambda flags: init
        self.cuDriverGetVersion = lambda out: setattr(out._obj, "value", version)
        self.cuDeviceGetCount = lambda out: None if init else setattr(out._obj, "value", count)


@pytest.mark.parametrize(
    ("library", "found"),
    [
        (Driver(), ((13, 2), 2, "")),
        (Driver(init=100), ((13, 2), 0, "")),
        (Driver(init=999), ((0, 0), 0, "the NVIDIA driver does not start (cuInit returns 999)")),
    ],
    ids=["works", "hidden", "broken"],
)
def test_driver_is_asked_without_a_toolkit(library, found, monkeypatch):
    monkeypatch.setattr(_driver.ctypes, "CDLL", lambda name: library)
    assert _driver.query.__wrapped__() == found


def test_what_is_missing_when_libraries_are_loaded_is_not_printed(monkeypatch, capsys):
    ort = _providers.import_onnxruntime()
    monkeypatch.setattr(_providers, "_cuda_packages", lambda: ["nvidia-cublas"])
    monkeypatch.setattr(ort, "preload_dlls", lambda: print("Failed to load libcublas.so.13"))
    _providers.preload_cuda(ort)
    assert capsys.readouterr().out == ""


def test_diagnosis_of_a_machine_where_all_is_well_finds_all_well(facts):
    facts()
    assert [finding.ok for finding in runtime.diagnose()] == [True] * len(_diagnosis.CHECKS)


def test_auto_takes_a_gpu_that_works(facts):
    facts(starts=True)
    assert runtime.resolve("auto") == CUDA


def test_auto_warns_once_of_a_gpu_that_cannot_be_used(facts):
    facts(missing="providers_cuda")
    with pytest.warns(DeviceWarning, match=r"GPU is present and cannot be used; .*CUDA libraries.*device='cpu'"):
        assert runtime.resolve("auto") == CPU
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert runtime.resolve("auto") == CPU


@pytest.mark.parametrize("hidden", ["", "-1", " "])
def test_auto_is_silently_the_cpu_where_gpus_are_hidden(facts, monkeypatch, hidden):
    facts(missing="providers_cuda")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert runtime.resolve("auto") == CPU


def test_telemetry_is_off_unless_the_user_turns_it_on(monkeypatch):
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    runtime.import_onnxruntime()
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
    runtime.import_onnxruntime()
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "0"


@pytest.mark.skipif(has_gpu(), reason="a GPU is present")
def test_session_that_would_run_elsewhere_than_asked_is_refused(capfd):
    with pytest.raises(
        DeviceError, match=r"ONNX Runtime runs this graph on CPUExecutionProvider, not on device='cuda:0'"
    ):
        runtime.Session(testing.array_backbone().SerializeToString(), CUDA)
