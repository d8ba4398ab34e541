"""What must hold when processes fork, threads race, memory is short and the user presses Ctrl-C."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pytest
from joblib import Parallel, delayed
from PIL import Image

from skltransfer import PretrainedEmbedder
from skltransfer._engine import runtime, stream
from skltransfer.testing import image_rows, noise_images, save_backbone
from tests.graphs import heavy, save_images, slow

PICTURES = noise_images(40)
ROWS = image_rows(PICTURES)

#: How scripts begin: a backbone, pictures, and a function a child may be given.
PRELUDE = """
import multiprocessing, os, resource, signal, sys, threading
import numpy as np
from joblib import Parallel, delayed
from skltransfer import PretrainedEmbedder
from skltransfer._engine import runtime
from skltransfer._engine.modalities import image as images
MODEL = sys.argv[1]
PICTURES = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)

def embed(threads):
    return PretrainedEmbedder(MODEL, n_jobs=threads, cache=None, batch_size=2).transform(PICTURES)

def embed_in_child(threads, rows):
    np.testing.assert_array_equal(embed(threads), rows)
    print("rows agree", flush=True)
"""


@pytest.fixture
def model(tmp_path):
    return save_images(tmp_path)


@pytest.fixture
def script(tmp_path, model):
    """Write a script and give the command that runs it."""

    def script(code: str, *arguments: object) -> list[str]:
        (tmp_path / "script.py").write_text(PRELUDE + code)
        return [sys.executable, str(tmp_path / "script.py"), model, *map(str, arguments)]

    return script


def output(command: list[str], timeout: float = 120, **environment: str) -> str:
    """Run a command; it must end by itself, and well."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, env={**os.environ, **environment})
    assert done.returncode == 0, done.stderr
    return done.stdout


# ---------------------------------------------------------------------------------------------------------------------
# Processes


CHILDREN = {
    "fork": """
if __name__ == "__main__":
    for threads in (1, 2, 4, 8):
        rows = embed(threads)
        child = multiprocessing.get_context("fork").Process(target=embed_in_child, args=(threads, rows))
        child.start(), child.join()
        assert child.exitcode == 0, child.exitcode
""",
    "fork, ended by sys.exit": """
for threads in (1, 2, 4, 8):
    rows = embed(threads)
    child = os.fork()
    if not child:
        embed_in_child(threads, rows)
        sys.exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
""",
    "spawn": """
if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        for threads in (1, 2, 4, 8):
            pool.apply(embed_in_child, (threads, embed(threads)))
""",
    "loky": """
if __name__ == "__main__":
    rows = [embed(threads) for threads in (1, 2, 4, 8)]
    again = Parallel(n_jobs=2)(delayed(embed)(threads) for threads in (1, 2, 4, 8))
    for one, other in zip(rows, again):
        embed_in_child(1, one), np.testing.assert_array_equal(one, other)
""",
}


@pytest.mark.parametrize("how", CHILDREN)
def test_child_of_a_process_that_has_embedded_embeds_the_same(script, how):
    assert output(script(CHILDREN[how])).count("rows agree") == 4


FORKED_AMID_THREADS = """
images.LARGE = 0  # every image is one of those that are decoded one at a time
picture = open(sys.argv[2], "rb").read()
embedder = PretrainedEmbedder(MODEL, n_jobs=2, cache=None)
rows = embedder.transform([picture] * 3)
ended = threading.Event()

def keep_embedding():
    while not ended.is_set():
        embedder.transform([picture] * 20)

threads = [threading.Thread(target=keep_embedding) for _ in range(3)]
for thread in threads: thread.start()
try:
    for _ in range(15):
        child = multiprocessing.get_context("fork").Process(target=embedder.transform, args=([picture] * 3,))
        child.start(), child.join(30)
        assert child.exitcode == 0, child.exitcode or child.kill()
finally:
    ended.set()
"""


def test_child_may_be_forked_while_other_threads_embed(script, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "large.png")
    output(script(FORKED_AMID_THREADS, tmp_path / "large.png"))


def test_worker_processes_share_the_threads_of_the_machine(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    shares = Parallel(n_jobs=2)(delayed(runtime.workers)(None) for _ in range(4))
    assert set(shares) == {max(1, joblib.cpu_count() // 2)}


def test_worker_threads_of_joblib_start_no_more_threads():
    assert Parallel(n_jobs=2, backend="threading")(delayed(runtime.workers)(None) for _ in range(2)) == [1, 1]


def test_threads_follow_the_limit_in_the_environment(script):
    code = "print(runtime.workers(None)); print(runtime.workers(3))"
    assert output(script(code), OMP_NUM_THREADS="1").split() == ["1", "3"]


def test_processes_that_start_cold_on_one_folder_agree(model, tmp_path):
    embedder = PretrainedEmbedder(model, cache=tmp_path / "rows", batch_size=1)
    for rows in Parallel(n_jobs=4)(delayed(embedder.transform)(PICTURES) for _ in range(8)):
        np.testing.assert_allclose(rows, ROWS, rtol=1e-5)


# ---------------------------------------------------------------------------------------------------------------------
# Threads


@pytest.mark.parametrize("kept", ["memory", None])
def test_threads_that_start_cold_on_one_estimator_agree(model, kept, monkeypatch):
    opened = []
    monkeypatch.setattr(
        stream._open, "_open", lambda *args, original=stream._open._open: opened.append(original(*args)) or opened[-1]
    )
    embedder, start = PretrainedEmbedder(model, cache=kept, n_jobs=2, batch_size=3), threading.Barrier(8)

    def embed(_):
        start.wait()
        return embedder.transform(PICTURES)

    with ThreadPoolExecutor(8) as pool:
        for rows in pool.map(embed, range(8)):
            np.testing.assert_allclose(rows, ROWS, rtol=1e-5)
    assert len(opened) == 1


# ---------------------------------------------------------------------------------------------------------------------
# Ctrl-C

INTERRUPTED = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell lets what runs in its background ignore it
line = sys.argv[3]
from skltransfer._engine import stream
stream.LINES["cpu"] = {"fused": stream._line.Fused, "pipelined": stream._line.Pipelined}[line]
embedder = PretrainedEmbedder(sys.argv[2], n_jobs=2, batch_size=64, cache=None)
embedder.transform(PICTURES[:1])
print("ready", flush=True)
try:
    embedder.transform(np.repeat(PICTURES, 50, axis=0))
except KeyboardInterrupt:
    print("interrupted", [thread.name for thread in threading.enumerate()], flush=True)
print(embedder.transform(PICTURES[:1]).shape, flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to a single process")
@pytest.mark.parametrize("line", ["fused", "pipelined"])
def test_ctrl_c_gives_control_back_and_leaves_the_estimator_usable(script, tmp_path, line):
    command = script(INTERRUPTED, save_images(tmp_path, slow(), "slow"), line)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "ready\n"
        time.sleep(1)
        child.send_signal(signal.SIGINT)
        sent = time.monotonic()
        assert child.stdout.readline() == "interrupted ['MainThread']\n"
        assert time.monotonic() - sent < 3
        assert child.stdout.readline() == "(1, 3)\n"
        assert child.wait(timeout=60) == 0


# ---------------------------------------------------------------------------------------------------------------------
# Memory

MANY = """
def samples(start, stop):
    for i in range(start, stop):
        image = np.zeros((224, 224, 3), np.uint8)
        image[:112, :112] = divmod(i, 256) + (0,)
        yield image

embedder = PretrainedEmbedder(MODEL, cache=sys.argv[3] or None)
few, many = (500, 1000), (1000, 1000 + int(sys.argv[2]))
for start, stop in (few, many):
    assert len(np.unique(embedder.transform(samples(start, stop)), axis=0)) == stop - start
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is in other units elsewhere")
@pytest.mark.parametrize("kept", ["memory", ""])
@pytest.mark.parametrize("n", [4_000, pytest.param(20_000, marks=pytest.mark.slow)])
def test_memory_does_not_grow_with_the_number_of_samples(script, n, kept):
    few, many = map(int, output(script(MANY, n, kept)).split())
    assert many - few < 150


OPEN = """
import onnx, onnxruntime

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

before = peak()
PretrainedEmbedder(sys.argv[2], cache=None).transform(np.ones((2, 4)))
print((peak() - before) / 64)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is in other units elsewhere")
def test_opening_takes_a_few_times_the_memory_of_the_weights_at_most(script, tmp_path):
    save_backbone(heavy(64), tmp_path, "heavy")
    assert float(output(script(OPEN, tmp_path / "heavy.onnx"))) < 3.5


# ---------------------------------------------------------------------------------------------------------------------
# Telemetry

WATCH = """
class Watch:
    def find_spec(self, name, *rest):
        if name == "onnxruntime":
            print("telemetry off:", os.environ.get("ORT_DISABLE_TELEMETRY"))
            sys.exit()

sys.meta_path.insert(0, Watch())
embed(1)
"""


def test_telemetry_is_off_before_onnx_runtime_is_imported(script, monkeypatch):
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    assert set(output(script(WATCH)).splitlines()) == {"telemetry off: 1"}  # every worker tries


def test_telemetry_may_be_turned_on(script):
    assert set(output(script(WATCH), ORT_DISABLE_TELEMETRY="0").splitlines()) == {"telemetry off: 0"}
