"""State of the process: everything is registered, forgotten on demand, and set aside in the child of a fork."""

import functools
import importlib
import os
import pkgutil
import subprocess
import sys
import threading
import weakref
from collections import OrderedDict
from pathlib import Path

import pytest

import skltransfer
from skltransfer import PretrainedEmbedder, load_card, rows_run, testing
from skltransfer._engine import process, trial
from skltransfer.errors import ModelError
from tests.graphs import save_images

MODULES = sorted(
    m.name for m in pkgutil.walk_packages(skltransfer.__path__, "skltransfer.") if "__main__" not in m.name
)
LOCKS = (type(threading.Lock()), type(threading.RLock()), threading.Condition, threading.Semaphore)
#: Tables that never change after import, or hold nothing between calls.
CONSTANT = {"skltransfer._engine.process._registry", "skltransfer._engine.modalities"}
resource = pytest.importorskip("resource", reason="limits as POSIX has them")
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")


def state_of(name: str) -> list[str]:
    """List what a module keeps between calls, and is not registered: locks, memos, tables with a private name."""
    found = []
    for attribute, value in vars(importlib.import_module(name)).items():
        many = value if isinstance(value, (list, tuple)) else [value]
        kept = [one for one in many if isinstance(one, (*LOCKS, functools._lru_cache_wrapper))]
        table = isinstance(value, (dict, list, set, OrderedDict)) and not attribute.isupper() and attribute != "__all__"
        table = table and not attribute.startswith("__")
        kept += [value] if table and not isinstance(value, weakref.WeakKeyDictionary) else []
        found += [f"{name}.{attribute}" for one in kept if not process.is_registered(one)]
    return found


@pytest.mark.parametrize("name", [name for name in MODULES if name not in CONSTANT])
def test_every_lock_memo_and_table_of_a_module_is_registered(name):
    assert state_of(name) == []


def test_a_lock_that_is_not_registered_would_be_noticed(monkeypatch):
    monkeypatch.setattr("skltransfer._engine.samples.held", threading.Lock(), raising=False)
    monkeypatch.setattr("skltransfer._engine.samples.kept", {}, raising=False)
    assert state_of("skltransfer._engine.samples") == [
        "skltransfer._engine.samples.held",
        "skltransfer._engine.samples.kept",
    ]


def test_one_fork_hook_serves_all():
    sources = [Path(importlib.import_module(name).__file__) for name in MODULES]
    assert [path.name for path in sources if "register_at_fork" in path.read_text("utf8")] == ["_registry.py"]


def test_reset_forgets_sessions_and_rows(tmp_path):
    embedder, pictures = PretrainedEmbedder(save_images(tmp_path)), testing.noise_images(3)
    embedder.fit_transform(pictures)
    skltransfer.reset()
    assert rows_run() == 0
    embedder.transform(pictures)
    assert rows_run() == 3


def test_table_drops_what_was_unused_for_longest():
    table = process.Table(2)
    for key in "aba":
        table.keep(key, key)
    table.keep("c", "c")
    assert list(table) == ["a", "c"]
    assert table.get_recent("b") is None


def test_table_closes_its_values():
    closed = []
    table = process.Table(close=closed.append)
    table.keep("a", 1)
    process.reset()
    assert (closed, list(table)) == ([1], [])


def child_says(work) -> int:
    """Fork, and return the number the child's work returns; a child that hangs is ended."""
    child = os.fork()
    if child == 0:
        threading.Timer(10, os._exit, [99]).start()
        os._exit(work())
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@needs_fork
@pytest.mark.parametrize("name", ["runtime._providers._preload", "modalities.text._tokens._opening"])
def test_lock_that_a_thread_of_the_parent_holds_is_open_in_the_child(name):
    module, _, attribute = f"skltransfer._engine.{name}".rpartition(".")
    lock = getattr(importlib.import_module(module), attribute)
    with lock:
        assert child_says(lambda: 7 if lock.acquire(timeout=0) else 1) == 7


@needs_fork
def test_child_neither_uses_nor_drops_what_is_not_for_it():
    kept, set_aside = process.Table(), process.Table(survives_fork=False)
    value = object()
    for table in (kept, set_aside):
        table.keep("a", value)

    def work() -> int:
        return 7 if (list(kept), list(set_aside)) == (["a"], []) and [value] in process._registry._inherited else 1

    assert child_says(work) == 7


# ---------------------------------------------------------------------------------------------------------------------
# Children


def test_child_answers_json_with_json(tmp_path, monkeypatch):
    (tmp_path / "echo_module.py").write_text(
        "from skltransfer._engine import process\nprocess.answer(lambda **request: {'got': request})\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert process.run_child("echo_module", {"a": [1, "ü"]}, seconds=60) == {"got": {"a": [1, "ü"]}}


def test_child_that_does_not_end_is_ended(tmp_path, monkeypatch):
    (tmp_path / "endless_module.py").write_text(
        "import sys, time\nprint('waiting', file=sys.stderr, flush=True)\ntime.sleep(60)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(process.ChildFailure) as caught:
        process.run_child("endless_module", {}, seconds=1.5)
    assert (caught.value.status, caught.value.words.strip()) == (None, "waiting")


CANARIES = ("json", "onnx", "numpy", "os", "logging", "subprocess", "resource", "huggingface_hub")


@pytest.mark.parametrize("pythonpath", ["", "."], ids=["by default", "with the folder in PYTHONPATH"])
@pytest.mark.parametrize("module", ["skltransfer._engine.trial", "skltransfer._engine.hub._child"])
def test_child_runs_no_python_file_of_the_current_folder(tmp_path, monkeypatch, module, pythonpath):
    for name in CANARIES:
        (tmp_path / f"{name}.py").write_text(
            f"open({str(tmp_path / 'ran')!r}, 'a').write('{name} ')\nraise SystemExit\n"
        )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", pythonpath)
    monkeypatch.setattr(sys, "path", ["", *sys.path, str(tmp_path)])
    answer = process.run_child(module, REQUESTS[module], seconds=60)
    assert "error" in answer
    assert not (tmp_path / "ran").exists()


REQUESTS = {
    "skltransfer._engine.trial": {
        "limit": 2**36,
        "seconds": 10.0,
        "path": "no-such-file.onnx",
        "manifest": [],
        "sha256": None,
        "tokenizer": None,
    },
    "skltransfer._engine.hub._child": {"no": "such argument"},
}


def test_child_that_decodes_runs_no_python_file_of_the_current_folder(tmp_path, monkeypatch):
    for name in CANARIES:
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'a').write('{name} ')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    with pytest.raises(process.ChildFailure, match="KeyError"):
        process.pipe_child("skltransfer._engine.modalities.image._apart", "{}", b"", seconds=60)
    assert not (tmp_path / "ran").exists()


# ---------------------------------------------------------------------------------------------------------------------
# Machines on which children do not start


def test_program_that_embeds_python_is_not_started_as_python(tmp_path, monkeypatch):
    for program in ("", None, str(tmp_path / "uwsgi")):
        monkeypatch.setattr(sys, "executable", program)
        assert Path(process.interpreter()).name.startswith("python")
        assert process.run_child(*ECHO, seconds=60)["got"] == {}


ECHO = ("tests.process.echo", {})


def test_chosen_interpreter_is_used(monkeypatch):
    monkeypatch.setenv("SKLTRANSFER_PYTHON", "/no/such/python")
    with pytest.raises(process.ChildFailure) as caught:
        process.run_child(*ECHO, seconds=60)
    assert not caught.value.started
    assert "No child process can be started here" in caught.value.machine
    assert "Their Python is '/no/such/python'; to name another: SKLTRANSFER_PYTHON=" in caught.value.machine


@pytest.mark.usefixtures("nothing_tried")
def test_interpreter_that_is_no_python_does_not_accuse_the_model(tmp_path, monkeypatch):
    path = testing.save_backbone(testing.array_backbone(), tmp_path, pin=False)
    monkeypatch.setenv("SKLTRANSFER_PYTHON", "/bin/false")
    with pytest.raises(ModelError, match=r"has to be tried in a child process first\. No child process can be started"):
        load_card(path)
    assert PretrainedEmbedder("text-mini", cache=None).transform(["a bundled model needs no child"]).shape == (1, 384)


OPEN = "import sys; from skltransfer import load_card; print(load_card(sys.argv[1]).layer)"


def test_hard_limit_of_the_machine_does_not_stop_own_graphs(tmp_path):
    path = testing.save_backbone(testing.array_backbone(), tmp_path, pin=False)
    line = f"ulimit -v 6000000; exec {sys.executable} -c '{OPEN}' {path}"
    child = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=120)
    assert (child.stdout, child.stderr) == ("rows\n", "")


def test_memory_that_the_machine_lacks_is_no_fault_of_the_model(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda name: (2**30, 2**30))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert trial._set_limits(2**34, 10) == (2**30, "the machine's")
    monkeypatch.setattr(trial.graph, "load", lambda *arguments: (_ for _ in ()).throw(MemoryError()))
    answer = trial.try_model(2**34, 10, "a.onnx", [], None, None)
    assert answer["error"] == "ModelError"
    assert (
        answer["message"]
        == "'a.onnx' takes more memory than the 1,073,741,824 bytes this machine lets it use (ulimit -v)."
    )


def refuse(*arguments):
    """Do as macOS does with a limit of the address space."""
    raise ValueError("current limit exceeds maximum limit")


def test_limit_that_cannot_be_set_is_left(monkeypatch):
    monkeypatch.setattr(resource, "setrlimit", refuse)
    monkeypatch.setattr(resource, "getrlimit", lambda name: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert trial._set_limits(2**34, 10) == (2**34, "ours")


def test_free_memory_is_less_than_the_machine_has():
    assert 0 < process.free_memory() < 2**50


@pytest.mark.skipif(sys.platform != "linux", reason="Linux says of what kind a file system is")
def test_folder_whose_files_take_memory_is_found():
    assert not process.is_in_memory(Path(__file__).parent)
    if Path("/dev/shm").is_dir():
        assert process.is_in_memory("/dev/shm")


def test_memory_is_given_back_where_the_system_knows_how(monkeypatch):
    process.give_back()
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())  # a C library without the function
    process.give_back()
