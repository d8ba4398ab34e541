"""Ctrl-C gives control back within three seconds wherever a call happens to be, and lets the interpreter exit."""

import signal
import subprocess
import sys
import time

import pytest

from skltransfer import testing
from tests import hostile_graphs
from tests.graphs import save_images

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to send")

HEAD = """
import signal, subprocess, sys, threading, time
signal.signal(signal.SIGINT, signal.default_int_handler)   # a shell lets what runs in its background ignore it
import numpy as np
from skltransfer import PretrainedEmbedder, load_card, testing
from skltransfer._engine import hub, plan, process, runtime, stream
from skltransfer._engine.modalities.image import _prepare
from skltransfer._engine.modalities.text import _prepare as _texts

def stuck(*_, **__):
    print("stuck", flush=True)
    time.sleep(60)   # in C, and deaf to Ctrl-C: a thread cannot be stopped

pictures = testing.noise_images(8)
model = sys.argv[1]
"""
TAIL = """
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
#: What is stuck when Ctrl-C comes.
PLACES = {
    "decoding": "_prepare.prepare = stuck; work = lambda: PretrainedEmbedder(model).transform(pictures)",
    "reading": "_prepare.ImagePreparer.read = staticmethod(stuck)\n"
    "work = lambda: PretrainedEmbedder(model).transform(pictures * 9)",
    "tokenizing": "_texts.prepare = stuck; work = lambda: PretrainedEmbedder('text-mini').transform(['a'] * 9)",
    "opening a session": "runtime.Session = stuck; work = lambda: PretrainedEmbedder(model).transform(pictures)",
    "opening a session in fit": "runtime.Session = stuck\n"
    "work = lambda: stream.row_shape(plan.make(load_card(model), runtime.Device()), None)",
    "running": "runtime.Session._run_piece = stuck; work = lambda: PretrainedEmbedder(model).transform(pictures)",
    "running on a device": "stream.LINES['cpu'] = stream._line.Pipelined; runtime.Session._run_piece = stuck\n"
    "work = lambda: PretrainedEmbedder(model).transform(pictures)",
    "waiting for another's claim": "from skltransfer._engine import cache\n"
    "cache.memory.claim = lambda keys: print('stuck', flush=True) or set()\n"
    "work = lambda: PretrainedEmbedder(model).transform(pictures)",
    "another thread's session": "lock = threading.Lock(); lock.acquire()\n"
    "runtime._table._opening.setdefault = lambda *_: print('stuck', flush=True) or lock\n"
    "work = lambda: PretrainedEmbedder(model).transform(pictures)",
}


def interrupted(script: str, *arguments: str) -> tuple[float, str]:
    """Run a script, press Ctrl-C once it says that it is stuck; return the seconds until its exit, and its words."""
    child = subprocess.Popen([sys.executable, "-c", script, *arguments], stdout=subprocess.PIPE, text=True)
    try:
        for line in child.stdout:
            if line.strip() == "stuck":
                break
        time.sleep(0.3)
        start = time.monotonic()
        child.send_signal(signal.SIGINT)
        words, _ = child.communicate(timeout=30)
    finally:
        child.kill()
    return time.monotonic() - start, words


@pytest.mark.parametrize("place", PLACES)
def test_control_comes_back_from(tmp_path, place):
    script = f"{HEAD}\n{PLACES[place]}\ntry:\n    work(){TAIL}"
    seconds, words = interrupted(script, save_images(tmp_path))
    assert words.splitlines()[-1:] == ["interrupted"]
    assert seconds < 5  # three, and the exit of an interpreter on a loaded machine


def test_control_comes_back_from_the_trial_of_a_graph(tmp_path):
    path = testing.save_backbone(hostile_graphs.endless(), tmp_path, pin=False)
    script = f"{HEAD}\nreal = subprocess.Popen\n" + (
        "subprocess.Popen = lambda *a, **k: (real(*a, **k), print('stuck', flush=True))[0]\n"
        f"try:\n    load_card(model){TAIL}"
    )
    seconds, words = interrupted(script, str(path))
    assert words.splitlines()[-1:] == ["interrupted"]
    assert seconds < 5


def test_control_comes_back_from_the_probe(tmp_path):
    path = testing.save_backbone(hostile_graphs.endless(), tmp_path)
    script = f"{HEAD}\nfrom skltransfer._engine.stream import _probe\nreal = runtime.Session.run\n" + (
        "runtime.Session.run = lambda *a, **k: print('stuck', flush=True) or real(*a, **k)\n"
        f"try:\n    PretrainedEmbedder(model).transform(np.ones((2, 4)) * 50){TAIL}"
    )
    seconds, words = interrupted(script, str(path))
    assert words.splitlines()[-1:] == ["interrupted"]
    assert seconds < 5


def test_probe_of_a_graph_that_does_not_end_is_stopped(tmp_path, monkeypatch):
    from skltransfer import PretrainedEmbedder
    from skltransfer.errors import ProbeError

    monkeypatch.setenv("SKLTRANSFER_TRIAL_SECONDS", "0.2")
    path = testing.save_backbone(hostile_graphs.endless(), tmp_path)
    with pytest.raises(ProbeError, match=r"not through with three probe samples after 1\.2 s. To allow more: SKLTR"):
        PretrainedEmbedder(path).transform([[1.0, 2.0, 3.0, 4.0]])
