"""Sessions one by one and in the table they are kept in; threads and forks."""

import multiprocessing
import os
import threading
import warnings

import numpy as np
import onnx
import pytest

from skltransfer._engine import process, runtime
from skltransfer._engine.runtime import Device, _open, _table, _threads
from skltransfer.errors import ModelError
from tests import graphs, hostile_graphs
from tests.runtime.support import CPU, NUMBERS, doubled


@pytest.mark.parametrize("model", [b"", b"\0" * 9, b"not a model"])
def test_graph_that_cannot_be_opened_is_a_named_error(model):
    with pytest.raises(ModelError, match=r"ONNX Runtime cannot open this graph on device='cpu'"):
        runtime.Session(model, CPU)


@pytest.mark.parametrize("left_out", [True, False])
def test_sum_and_its_normalization_stay_apart(left_out, monkeypatch, tmp_path):
    def options(ort, make=_open._options):
        given = make(ort)
        given.optimized_model_filepath = str(tmp_path / "run.onnx")
        return given

    monkeypatch.setattr(_open, "_options", options)
    if not left_out:
        monkeypatch.setattr(_open, "LEFT_OUT", {})
    runtime.Session(graphs.normalized_sum().SerializeToString(), CPU)
    operators = {node.op_type for node in onnx.load(tmp_path / "run.onnx").graph.node}
    assert ("LayerNormalization" in operators, "SkipLayerNormalization" in operators) == (left_out, not left_out)


def test_error_of_a_run_is_not_printed(capfd):
    session = doubled()
    with pytest.raises(Exception, match=r"Got invalid dimensions"):
        session.run(NUMBERS[:, :3].copy())
    assert capfd.readouterr() == ("", "")


def test_switch_ends_a_run():
    session = runtime.Session(hostile_graphs.endless().SerializeToString(), CPU)
    cancel = runtime.cancel_switch()
    threading.Timer(0.2, lambda: setattr(cancel, "terminate", True)).start()
    with pytest.raises(Exception, match=r"(?i)terminate"):
        session.run(NUMBERS, cancel)


def test_one_session_gives_many_threads_the_right_rows():
    session, wrong = doubled(), []

    def work(seed):
        numbers = np.random.default_rng(seed).standard_normal((3, 4)).astype(np.float32)
        wrong.extend(i for i in range(100) if not np.array_equal(session.run(numbers), 2 * numbers))

    in_threads(8, work)
    assert (wrong, session.rows_run) == ([], 2400)


def in_threads(n, work):
    threads = [threading.Thread(target=work, args=(i,)) for i in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_eight_cold_threads_open_one_session_between_them():
    opened, got, together = [], [], threading.Barrier(8)

    def open_session():
        opened.append(1)
        threading.Event().wait(0.05)
        return doubled()

    def work(i):
        together.wait()
        got.append(runtime.session("key", CPU, open_session))

    in_threads(8, work)
    assert (len(opened), len(set(map(id, got)))) == (1, 1)


def test_sessions_of_other_keys_are_opened_side_by_side():
    together = threading.Barrier(4, timeout=10)
    in_threads(4, lambda i: runtime.session(f"key {i}", CPU, lambda: (together.wait(), doubled())[1]))
    assert len(runtime.open_sessions()) == 4


@pytest.mark.parametrize("other", [("other", CPU), ("key", Device("cuda")), ("key", Device("cuda", 1))])
def test_session_is_one_per_key_and_device(other):
    first = runtime.session("key", CPU, doubled)
    assert runtime.session("key", CPU, doubled) is first
    assert runtime.session(*other, doubled) is not first


def test_session_that_fails_to_open_is_tried_again():
    def fail():
        raise ModelError("no")

    with pytest.raises(ModelError, match="no"):
        runtime.session("key", CPU, fail)
    assert runtime.session("key", CPU, doubled) is runtime.session("key", CPU, fail)


def test_session_unused_for_longest_is_dropped_when_memory_is_short(monkeypatch):
    opened = doubled()
    monkeypatch.setattr(process, "memory_limit", lambda: _table.SHARE * 5 * opened.bytes)
    for i in range(5):
        runtime.session(str(i), CPU, doubled)
    runtime.session("0", CPU, lambda: pytest.fail("opened twice"))
    runtime.session("new", CPU, doubled)
    assert [key for key, _ in runtime.open_sessions()] == ["2", "3", "4", "0", "new"]


def test_many_small_sessions_stay_open():
    for i in range(40):
        runtime.session(str(i), CPU, doubled)
    assert len(runtime.open_sessions()) == 40


def test_session_that_alone_is_too_large_stays(monkeypatch):
    monkeypatch.setattr(process, "memory_limit", lambda: 1)
    runtime.session("huge", CPU, doubled)
    assert [key for key, _ in runtime.open_sessions()] == ["huge"]


def test_clear_lets_go_of_every_session():
    session = runtime.session("key", CPU, doubled)
    runtime.clear()
    assert runtime.open_sessions() == {}
    assert runtime.session("key", CPU, doubled) is not session
    np.testing.assert_array_equal(session.run(NUMBERS), 2 * NUMBERS)  # a run under way is not disturbed


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")  # it is what is tested
def test_forked_child_opens_its_own_session():
    runtime.session("key", CPU, doubled)
    if not (child := os.fork()):
        empty = runtime.open_sessions() == {}
        fine = np.array_equal(runtime.session("key", CPU, doubled).run(NUMBERS), 2 * NUMBERS)
        os._exit(0 if empty and fine else 1)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize(
    ("limit", "share"),
    [("1", 1), ("3", 3), ("99", 8), ("2,1", 2), ("", 8), ("0", 8), ("-1", 8), ("many", 8)],
)
def test_share_is_at_most_what_omp_num_threads_says(monkeypatch, limit, share):
    monkeypatch.setattr("joblib.cpu_count", lambda: 8)
    monkeypatch.setenv("OMP_NUM_THREADS", limit)
    assert runtime.cpu_share() == share


def test_share_is_that_of_the_process_without_a_limit(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert 1 <= runtime.cpu_share() <= len(os.sched_getaffinity(0))


@pytest.mark.parametrize(("n_jobs", "threads"), [(None, 8), (1, 1), (3, 3), (-1, 8), (-2, 7)])
def test_n_jobs_is_taken_as_joblib_takes_it(monkeypatch, n_jobs, threads):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("joblib._parallel_backends.cpu_count", lambda *_, **__: 8)
    monkeypatch.setattr("joblib.cpu_count", lambda: 8)
    assert _threads.workers(n_jobs) == threads


def count_workers(n_jobs):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return runtime.workers(n_jobs)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")  # it is what is tested
@pytest.mark.parametrize("n_jobs", [4, 1, None, -1])
def test_daemonic_process_has_threads_like_any_other(n_jobs):
    with multiprocessing.get_context("fork").Pool(1) as pool:  # its workers are daemons
        assert pool.apply(count_workers, (n_jobs,)) == runtime.workers(n_jobs)


def test_no_threads_at_all_are_refused():
    with pytest.raises(ValueError, match="n_jobs == 0"):
        runtime.workers(0)
