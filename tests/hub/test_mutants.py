"""Models with one field changed: each opens and gives finite rows, or is refused with a named error, in time."""

import collections
import multiprocessing
import resource
import shutil
import sys

import pytest

from tests.hub import mutants

SECONDS = 12.0
COUNT = 400
NAMES = {mutants.FINE: "fine", mutants.NAMED: "named"}


def _largest_child() -> int:
    """Return the kilobytes of the largest child that this process ever waited for."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss


@pytest.mark.skipif(sys.platform == "win32", reason="processes are not forked on Windows")
@pytest.mark.parametrize("target", mutants.TARGETS)
@pytest.mark.parametrize("count", [5, pytest.param(COUNT, marks=pytest.mark.slow)])
def test_mutants_are_refused_or_run(tmp_path, monkeypatch, target, count):
    monkeypatch.setenv("SKLTRANSFER_TRIAL_SECONDS", "2")
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(["tests.hub.mutants"])
    ends: dict[str, list[int]] = collections.defaultdict(list)
    before = _largest_child()
    for number in range(count):
        folder = tmp_path / str(number)
        (folder / "model").mkdir(parents=True)
        mutant = forks.Process(target=mutants.attack, args=(target, number, str(folder)))
        mutant.start()
        mutant.join(SECONDS)
        if mutant.exitcode is None:
            mutant.kill()
            mutant.join()
        ends[NAMES.get(mutant.exitcode, f"exit status {mutant.exitcode}")].append(number)
        if mutant.exitcode in (mutants.FINE, mutants.NAMED):
            shutil.rmtree(folder)
    assert set(ends) <= {*NAMES.values()}, {end: which for end, which in ends.items() if end not in NAMES.values()}
    assert ends["named"]
    assert _largest_child() < 3 * 2**20 or _largest_child() == before  # hostile models of other tests may be larger
