"""One tokenizer for all threads, and none that outlives a fork."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from sklearn.base import clone

from skltransfer import PretrainedEmbedder, load_card
from skltransfer._engine import hub
from skltransfer._engine.modalities import File
from skltransfer._engine.modalities import text as texts
from skltransfer._engine.modalities.text import _tokens
from skltransfer.cards import TextSpec
from skltransfer.testing import VOCABULARY, text_rows
from tests.modalities.text.support import MIXED


def test_threads_share_one_tokenizer_and_agree(embedder):
    want, orders = text_rows(MIXED), [np.random.default_rng(i).permutation(len(MIXED)) for i in range(8)]
    alone = [clone(embedder).set_params(cache=None) for _ in orders]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda one, order: one.transform([MIXED[i] for i in order]), alone, orders))
    np.testing.assert_allclose(found, [want[order] for order in orders], rtol=1e-5)


def test_tokenizer_is_opened_once_per_spec(folder, monkeypatch):
    spec = TextSpec(max_length=11)
    path = load_card(folder).folder / "tokenizer.json"
    file = File(path, hub.sha256(path))
    assert texts.open_tokenizer(file, spec) is texts.open_tokenizer(file, spec)
    assert texts.open_tokenizer(file, spec) is not texts.open_tokenizer(file, TextSpec(max_length=12))


FORK = """
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
import numpy as np
from skltransfer import PretrainedEmbedder

embedder = PretrainedEmbedder(sys.argv[1], n_jobs=2, cache=None)
samples = ["one two", "three"] * 200
rows = embedder.transform(samples)
with ProcessPoolExecutor(2, mp_context=get_context("fork")) as pool:
    found = list(pool.map(embedder.transform, [samples] * 4))
print(all(np.array_equal(rows, other) for other in found))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_child_of_a_fork_embeds_without_a_warning(folder):
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORK, folder]
    child = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (child.stdout.strip(), child.stderr, child.returncode) == ("True", "", 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_fork_while_a_tokenizer_is_being_opened_leaves_no_lock_behind(folder):
    path = load_card(folder).folder / "tokenizer.json"
    file = File(path, hub.sha256(path))
    with _tokens._opening:
        child = os.fork()
        if child == 0:
            free = _tokens._opening.acquire(timeout=0)
            os._exit(0 if free else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert texts.open_tokenizer(file, TextSpec()).get_vocab_size() == len(VOCABULARY)


def test_details_say_how_much_was_padding(capsys):
    embedder = PretrainedEmbedder("text-mini", cache=None, verbose=2)
    embedder.transform(["one two three four", "one"])
    assert "5 tokens were run; 37.5% of what went through the graph was padding." in capsys.readouterr().out
