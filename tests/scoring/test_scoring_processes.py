"""Jobs at the command line that are killed, told to end, refused, or cannot write; each is finished afterwards."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sklearn.pipeline import make_pipeline

from skltransfer.scoring._sink import TEMPORARY
from tests.scoring.steps import Die, DieOnce, Slow, SlowDisk
from tests.scoring.support import EMOJI, TEXTS, command, environment, failures, left, parts, run, saved

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
FINISHED = {"_job", "_SUCCESS.json", "failures.parquet"}


def behind(step, pipeline):
    """Put a step before a fitted pipeline."""
    return make_pipeline(step, *[one for _, one in pipeline.steps])


@pytest.fixture
def lines(tmp_path):
    path = tmp_path / "in.txt"
    path.write_text("\n".join(TEXTS), "utf8")
    return path


@pytest.fixture
def slow(tmp_path, texts):
    """A pipeline that takes at least 2 s for all texts: each unit of 10 rows waits."""
    return saved(behind(Slow(seconds=0.05), texts), tmp_path / "slow.pickle")


def start(*arguments, **more):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command(*arguments), env=environment(**more), **pipes)


def wait_for_parts(sink, count, seconds=60):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if sink.is_dir() and sum(name.startswith("part-") for name in os.listdir(sink)) >= count:
            return
        time.sleep(0.02)
    raise AssertionError(f"fewer than {count} parts after {seconds} s")


def temporary(sink):
    return [name for _, _, names in os.walk(sink) for name in names if TEMPORARY.fullmatch(name)]


def check_whole(sink, texts):
    """Check that every row is there once, is right, and that nothing else is left."""
    found = parts(sink)
    assert found["id"].to_pylist() == list(range(len(TEXTS)))
    assert found["prediction"].to_pylist() == texts.predict(TEXTS).tolist()
    assert (left(sink), temporary(sink)) == (FINISHED, [])


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_a_job_that_is_killed_again_and_again_has_every_row_once(tmp_path, texts, lines, slow, kills):
    sink, chosen = tmp_path / "out", random.Random(0)
    arguments = (slow, lines, "--output", sink, "--rows-per-part", 10)
    for _ in range(kills):
        job = start(*arguments)
        time.sleep(chosen.uniform(1.0, 6.0))
        job.kill()
        job.communicate()
    both = [start(*arguments) for _ in range(2)]
    assert [one.wait(300) for one in both] == [0, 0]
    for one in both:
        one.communicate()
    check_whole(sink, texts)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_job_at_once_with_whole_parts(tmp_path, texts, lines, slow, number, status):
    sink = tmp_path / "out"
    arguments = (slow, lines, "--output", sink, "--rows-per-part", 10)
    job = start(*arguments)
    wait_for_parts(sink, 2)
    told = time.monotonic()
    job.send_signal(number)
    assert job.wait(30) == status
    took = time.monotonic() - told
    assert took < 5  # 2 s are promised, and a busy machine needs some to be told
    assert "Run the same again to go on" in job.communicate()[1]
    assert temporary(sink) == []
    done = run(*arguments)
    assert done.returncode == 0, done.stderr
    check_whole(sink, texts)


def test_a_signal_ends_a_job_at_once_whatever_the_disk_does(tmp_path, texts, lines):
    sink = tmp_path / "out"
    pipeline = saved(behind(SlowDisk("number 200,"), texts), tmp_path / "stuck.pickle")
    job = start(pipeline, lines, "--output", sink, "--rows-per-part", 10)
    until = time.monotonic() + 60
    while not temporary(sink) and time.monotonic() < until:
        time.sleep(0.05)
    assert temporary(sink) != []
    told = time.monotonic()
    job.send_signal(signal.SIGINT)
    assert job.wait(30) == 130
    assert time.monotonic() - told < 5
    assert "Run the same again to go on" in job.communicate()[1]
    assert temporary(sink) == []


@pytest.mark.slow
def test_the_row_on_which_the_process_dies_is_named_and_all_others_are_right(tmp_path, texts, lines):
    pipeline = saved(behind(Die("number 123,"), texts), tmp_path / "deadly.pickle")
    sink = tmp_path / "out"
    done = run(pipeline, lines, "--output", sink, "--rows-per-part", 100)
    assert done.returncode == 1, done.stderr
    assert failures(sink) == [{"id": 123, "error": "the process died on it"}]
    found, expected = parts(sink)["prediction"].to_pylist(), texts.predict(TEXTS).tolist()
    expected[123] = None
    assert found == expected
    assert left(sink) == FINISHED
    assert [*(sink / "_job" / "pieces").iterdir(), *(sink / "_job" / "begun").iterdir()] == []


def test_a_death_by_chance_costs_nothing_but_time(tmp_path, texts, lines):
    pipeline = saved(behind(DieOnce("number 123,", str(tmp_path / "died")), texts), tmp_path / "once.pickle")
    done = run(pipeline, lines, "--output", tmp_path / "out", "--rows-per-part", 50)
    assert (done.returncode, (tmp_path / "died").exists()) == (0, True), done.stderr
    check_whole(tmp_path / "out", texts)


def test_unreadable_images_and_one_that_kills_the_process_are_each_named_once(tmp_path, images):
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(200):
        (folder / f"{i:03d}.webp").write_bytes(EMOJI.images[i][: 40 if i % 100 == 7 else None])
    pipeline = saved(behind(Die("055.webp"), images), tmp_path / "deadly.pickle")
    done = run(pipeline, folder, "--output", tmp_path / "out", "--rows-per-part", 40)
    assert done.returncode == 1, done.stderr
    assert [row["id"] for row in failures(tmp_path / "out")] == ["007.webp", "055.webp", "107.webp"]
    expected = images.predict(EMOJI.images[:200]).tolist()
    for i in (7, 55, 107):
        expected[i] = None
    assert parts(tmp_path / "out")["prediction"].to_pylist() == expected


def test_a_finished_job_is_answered_and_another_one_refused(tmp_path, texts, lines):
    pipeline = saved(texts, tmp_path / "p.pickle")
    arguments = (pipeline, lines, "--output", tmp_path / "out")
    assert run(*arguments).stdout == f"400 rows, 0 failed, 1 parts in {tmp_path / 'out'}\n"
    assert run(*arguments).returncode == 0
    refused = run(*arguments, "--embeddings", "float16")
    assert refused.returncode == 2
    assert "embeddings was None, now 'float16'" in refused.stderr


def test_a_pipeline_that_cannot_be_loaded_is_refused(tmp_path, lines):
    (tmp_path / "p.pickle").write_bytes(b"not a pickle")
    refused = run(tmp_path / "p.pickle", lines, "--output", tmp_path / "out")
    assert (refused.returncode, (tmp_path / "out").exists()) == (2, False)
    assert "cannot be loaded" in refused.stderr


def test_a_file_of_skops_is_a_pipeline(tmp_path, texts, lines):
    sio = pytest.importorskip("skops.io")
    sio.dump(texts, tmp_path / "p.skops")
    done = run(tmp_path / "p.skops", lines, "--output", tmp_path / "out", "--format", "csv", "--compact")
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "out").glob("part-*.csv"))) == 1


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    made = mount and subprocess.run([mount, "-t", "tmpfs", "-o", "size=512k", "tmpfs", folder], capture_output=True)
    if not made or made.returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_is_named_and_the_job_goes_on_when_there_is_room(tmp_path, texts, lines, small_disk):
    pipeline, sink = saved(texts, tmp_path / "p.pickle"), small_disk / "out"
    arguments = (pipeline, lines, "--output", sink, "--embeddings", "float32", "--rows-per-part", 20)
    done = run(*arguments)
    assert done.returncode == 3, done.stderr
    assert "No space left on device" in done.stderr
    whole = parts(sink)
    assert 0 < whole.num_rows < 400
    assert whole.num_rows % 20 == 0
    assert temporary(sink) == []
    subprocess.run(["mount", "-o", "remount,size=16m", small_disk], check=True)
    assert run(*arguments).returncode == 0
    check_whole(sink, texts)


def test_a_sink_that_cannot_be_written_is_named(tmp_path, texts, lines):
    pipeline = saved(texts, tmp_path / "p.pickle")
    done = run(pipeline, lines, "--output", "/proc/skltransfer")
    assert done.returncode == 3, done.stderr
    assert "cannot be written to '/proc/skltransfer'" in done.stderr


def test_the_job_ends_when_the_process_above_it_is_killed(tmp_path, texts, lines, slow):
    psutil = pytest.importorskip("psutil")
    job = start(slow, lines, "--output", tmp_path / "out", "--rows-per-part", 10)
    wait_for_parts(tmp_path / "out", 1)
    (child,) = psutil.Process(job.pid).children()
    job.kill()
    job.communicate()
    assert psutil.wait_procs([child], timeout=10)[1] == []


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted where Linux shows them")
def test_bytes_of_parquet_are_read_without_another_thread():
    """A thread of Arrow that lets go of them while Python ends aborts the process (seen once in ten ends)."""
    count = (
        "import os, pyarrow as pa; from skltransfer.scoring._formats import of_parquet, to_parquet;"
        "data = to_parquet(pa.table({'a': ['x', 'y'] * 5000, 'b': range(10000)}));"
        "before = len(os.listdir('/proc/self/task')); table = of_parquet(data);"
        "print(table.num_rows, len(os.listdir('/proc/self/task')) - before)"
    )
    command = [sys.executable, "-P", "-c", count]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "10000 0\n"
